"""Prepares the manifests of Arabic Speech Commands, complete or partial.

Layout: ``train.csv``, ``val.csv`` and (complete copies) ``test.csv`` with the columns file and
class, and ``dataset/WORD/SPEAKER_NO_REP.wav`` (or .flac).

Source
------
Ghandoura, Hjabo, Al Dakkak. Building and benchmarking an Arabic Speech Commands dataset for
small-footprint keyword spotting. Engineering Applications of Artificial Intelligence, 2021.
"""

from pathlib import Path

from vofp_plugin.dataio.audio import AUDIO_SUFFIXES
from vofp_plugin.dataio.manifests import read_table, utterance_rows
from vofp_plugin.dataio.splits import is_prepared, mark_prepared, write_splits

LISTS = ("train.csv", "val.csv", "test.csv")


def prepare_arabic_speech_commands(
    data_folder, save_folder, fold=0, num_folds=5, sample_rate=16000, skip_prep=False
):
    """Writes train.csv, valid.csv and test.csv by speaker folds over all speakers found.

    Arguments
    ---------
    data_folder : str or Path
        The unpacked data set.
    save_folder : str or Path
        Where the manifests go.
    fold : int
        Which speaker fold is tested.
    num_folds : int
        Number of speaker folds.
    sample_rate : int
        Of every file, in Hz.
    skip_prep : bool
        Do nothing: the manifests are there.

    Raises
    ------
    FileNotFoundError
        If the data folder has no lists or a listed file is missing.
    ValueError
        If an option is out of range or a file is refused; no manifest is written then.
    """
    if skip_prep:
        return
    data_folder = Path(data_folder)
    options = {
        "data_folder": str(data_folder.resolve()),
        "fold": fold,
        "num_folds": num_folds,
        "sample_rate": sample_rate,
    }
    if is_prepared(save_folder, options):
        return
    listed = listed_utterances(data_folder)
    utterances = [(path, speaker_of(path), word) for path, word in listed]
    rows = utterance_rows(utterances, data_folder, sample_rate)
    write_splits(rows, save_folder, fold, num_folds)
    mark_prepared(save_folder, options)


def listed_utterances(data_folder):
    """(path, word) of each utterance in the lists that this copy has."""
    lists = [data_folder / name for name in LISTS if (data_folder / name).is_file()]
    if not lists:
        raise FileNotFoundError(
            f"Found none of {', '.join(LISTS)} in the data folder {data_folder}; expected Arabic "
            "Speech Commands. Point --data_folder at the unpacked data set."
        )
    return [
        (find_audio(data_folder / row["file"]), row["class"])
        for path in lists
        for row in read_table(path, ["file", "class"])
    ]


def find_audio(path):
    """The listed file, or the same in another format: copies are re-encoded, their lists not."""
    for candidate in [path] + [path.with_suffix(suffix) for suffix in AUDIO_SUFFIXES]:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"Audio file {path} is listed but does not exist, as .wav or .flac. Restore it, or delete "
        "its line from the list."
    )


def speaker_of(path):
    """Speaker of an utterance, from its file name SPEAKER_NO_REP."""
    fields = path.stem.split("_")
    if len(fields) != 3:
        raise ValueError(f"Got the file name {path}; expected SPEAKER_NO_REP, as 00000030_NO_01.")
    return fields[0]
