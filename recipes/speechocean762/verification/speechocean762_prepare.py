"""Prepares the manifests of speechocean762, complete or partial, with LibriSpeech as impostors.

Layout: ``WAVE/SPEAKERID/ID.flac`` (or .wav) and ``manifest.csv`` with the columns path, speaker and
age; of the impostors ``SUBSET/SPEAKER/CHAPTER/ID.flac``.

Source
------
Zhang et al. speechocean762: An open-source non-native English speech corpus for pronunciation
assessment. Interspeech 2021.
"""

from pathlib import Path

from vofp_plugin.dataio.audio import audio_files
from vofp_plugin.dataio.chunks import in_chunks
from vofp_plugin.dataio.manifests import (
    DATA_ROOT,
    SPEECH,
    read_manifest,
    read_table,
    speakers_of,
    utterance_rows,
    write_manifest,
)
from vofp_plugin.dataio.splits import (
    is_prepared,
    manifest_paths,
    mark_prepared,
    write_splits,
)

LIST = "manifest.csv"
GROWN_UP = 18  # years


def prepare_speechocean762(
    data_folder,
    save_folder,
    impostor_folder=None,
    chunk=3.0,
    fold=0,
    num_folds=5,
    sample_rate=16000,
    skip_prep=False,
):
    """Writes train.csv, valid.csv and test.csv by speaker folds, adults.csv and children.csv.

    The last two hold the test speakers of an age, with the impostors of the test in both.

    Arguments
    ---------
    data_folder : str or Path
        The unpacked data set.
    save_folder : str or Path
        Where the manifests go.
    impostor_folder : str or Path
        LibriSpeech, of few or many utterances of a speaker; None for none.
    chunk : float
        Length that longer impostor utterances are cut into, in s.
    fold : int
        Which speaker fold is tested.
    num_folds : int
        Number of speaker folds.
    sample_rate : int
        Of the files, in Hz.
    skip_prep : bool
        Do nothing: the manifests are there.

    Raises
    ------
    FileNotFoundError
        If a list or a file is missing.
    ValueError
        If a list lacks a column, or a file is refused; no manifest is written then.
    """
    if skip_prep:
        return
    data_folder = Path(data_folder)
    options = {
        "data_folder": str(data_folder.resolve()),
        "impostor_folder": impostor_folder and str(Path(impostor_folder).resolve()),
        "chunk": chunk,
        "fold": fold,
        "num_folds": num_folds,
        "sample_rate": sample_rate,
    }
    if is_prepared(save_folder, options):
        return
    people = read_table(data_folder / LIST, ["path", "speaker", "age"])
    files = [(data_folder / row["path"], row["speaker"], SPEECH) for row in people]
    rows = utterance_rows(files, data_folder, sample_rate)
    if impostor_folder is not None:
        rows += in_chunks(_impostor_rows(Path(impostor_folder), sample_rate), chunk, sample_rate)
    write_splits(rows, save_folder, fold, num_folds)
    _write_ages(save_folder, people)
    mark_prepared(save_folder, options)


def _impostor_rows(folder, sample_rate):
    paths = audio_files(folder)
    if not paths:
        raise FileNotFoundError(
            f"Found no audio in {folder}; give LibriSpeech as --impostor_folder, or null for none."
        )
    files = [(path, f"impostor_{path.parent.parent.name}", SPEECH) for path in paths]
    rows = utterance_rows(files, folder, sample_rate)
    return [{**row, "wav": row["wav"].replace(DATA_ROOT, str(folder.resolve()))} for row in rows]


def _write_ages(save_folder, people):
    """Writes the manifests of adults and of children in the test, where there are any."""
    children = {row["speaker"] for row in people if int(row["age"]) < GROWN_UP}
    adults = {row["speaker"] for row in people} - children
    rows = [{"ID": name, **row} for name, row in read_manifest(_test(save_folder)).items()]
    for name, others in {"adults": children, "children": adults}.items():
        kept = [row for row in rows if row["spk_id"] not in others]
        if speakers_of(kept):
            write_manifest(kept, Path(save_folder) / f"{name}.csv")


def _test(save_folder):
    return manifest_paths(save_folder)["test"]
