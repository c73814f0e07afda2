"""Prepares the manifests of VoxCeleb, or of any folder in its layout.

Layout: ``wav/SPEAKER/VIDEO/N.wav`` (or .flac, .m4a is to be converted). A list of trials has the
lines ``label enroll test`` with paths below ``wav/``.

Source
------
Nagrani, Chung, Zisserman. VoxCeleb: a large-scale speaker identification dataset. Interspeech 2017.
"""

from pathlib import Path

from vofp_plugin.dataio.audio import AUDIO_SUFFIXES
from vofp_plugin.dataio.chunks import in_chunks
from vofp_plugin.dataio.manifests import SPEECH, speakers_of, utterance_rows
from vofp_plugin.dataio.splits import (
    is_prepared,
    mark_prepared,
    speaker_folds,
    write_splits,
)
from vofp_plugin.evaluation.trial_lists import read_trials

WAV_FOLDER = "wav"


def prepare_voxceleb(
    data_folder,
    save_folder,
    test_trials=None,
    chunk=3.0,
    fold=0,
    num_folds=5,
    sample_rate=16000,
    skip_prep=False,
):
    """Writes train.csv, valid.csv and test.csv, disjoint by speaker, with SpeechBrain's columns.

    Arguments
    ---------
    data_folder : str or Path
        Holds the folder ``wav``.
    save_folder : str or Path
        Where the manifests go.
    test_trials : str or Path
        List whose speakers are tested, such as ``veri_test.txt``; None tests those of the fold.
    chunk : float
        Length that longer training utterances are cut into, in s.
    fold : int
        Which speaker fold is tested; with a list, which of the others validate.
    num_folds : int
        Number of speaker folds.
    sample_rate : int
        Of the files, in Hz.
    skip_prep : bool
        Do nothing: the manifests are there.

    Raises
    ------
    FileNotFoundError
        If there is no audio, or no list.
    ValueError
        If a file is refused, or there are too few speakers; no manifest is written then.
    """
    if skip_prep:
        return
    data_folder = Path(data_folder)
    options = {
        "data_folder": str(data_folder.resolve()),
        "test_trials": test_trials and str(Path(test_trials).resolve()),
        "chunk": chunk,
        "fold": fold,
        "num_folds": num_folds,
        "sample_rate": sample_rate,
    }
    if is_prepared(save_folder, options):
        return
    rows = _rows(data_folder, sample_rate)
    speakers = speaker_folds(speakers_of(rows), fold, num_folds)
    if test_trials is not None:
        speakers = _with_tested(speakers, _speakers_asked(test_trials))
    trained = [row for row in rows if row["spk_id"] in speakers["train"]]
    others = [row for row in rows if row["spk_id"] not in speakers["train"]]
    chunks = in_chunks(trained, chunk, sample_rate)
    write_splits(chunks + others, save_folder, fold, num_folds, speakers)
    mark_prepared(save_folder, options)


def _rows(data_folder, sample_rate):
    """Rows of all utterances, whose IDs are paths below ``wav`` without suffix."""
    folder = data_folder / WAV_FOLDER
    paths = sorted(path for path in folder.glob("*/*/*") if path.suffix in AUDIO_SUFFIXES)
    if not paths:
        raise FileNotFoundError(
            f"Found no audio in {folder}/SPEAKER/VIDEO/; expected the layout of VoxCeleb: fix "
            "--data_folder, and convert .m4a to .wav."
        )
    files = [(path, path.parent.parent.name, SPEECH) for path in paths]
    rows = utterance_rows(files, data_folder, sample_rate)
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    return [{**row, "ID": name} for row, name in zip(rows, names, strict=True)]


def _speakers_asked(path):
    trials = read_trials(path)
    return {name.split("/")[0] for trial in trials for name in (trial.enrollment, trial.query)}


def _with_tested(speakers, tested):
    """The division of `speaker_folds` with other speakers in the test; the rest trains."""
    order = [*speakers["valid"], *speakers["test"], *speakers["train"]]
    others, count = [name for name in order if name not in tested], len(speakers["valid"])
    return {"train": others[count:], "valid": others[:count], "test": sorted(tested)}
