"""Prepares the manifests of Google Speech Commands, v0.01 or v0.02, complete or partial.

Layout: ``WORD/SPEAKER_nohash_N.wav`` (or .flac) and ``_background_noise_/NAME.wav``.

Source
------
Warden. Speech Commands: a dataset for limited-vocabulary speech recognition. arXiv:1804.03209.
"""

import hashlib
import os
import shutil
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from vofp_plugin.dataio.audio import AUDIO_SUFFIXES, audio_files
from vofp_plugin.dataio.manifests import SILENCE, some, utterance_rows
from vofp_plugin.dataio.splits import is_prepared, mark_prepared, stable_shuffle, write_splits

logger = get_logger(__name__)

ARCHIVE_URL = (
    "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
)
ARCHIVE_SHA256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"

NUM_COMPLETE = (64_727, 105_829)  # utterances of the complete v0.01 and v0.02
NOISE_FOLDER = "_background_noise_"
UNKNOWN = "unknown"
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
OTHER_WORDS = (
    "zero one two three four five six seven eight nine bed bird cat dog happy house marvin "
    "sheila tree wow backward forward follow learn visual"
)
WORDS = (*KEYWORDS, *OTHER_WORDS.split())

# SpeechBrain's recipe for 12 classes: both are 10 % of the number of keyword utterances
UNKNOWN_FRACTION = 0.1
SILENCE_FRACTION = 0.1
CUT = 1.0  # s, of a cut of noise


def prepare_google_speech_commands(
    data_folder,
    save_folder,
    classes="all",
    fold=0,
    num_folds=5,
    sample_rate=16000,
    download=False,
    skip_prep=False,
):
    """Writes train.csv, valid.csv and test.csv, disjoint by speaker.

    With 12 classes the command is one of the ten keywords, "unknown" (other words; the
    transcript says which) or "silence" (cuts of background noise, with spk_id "silence": they
    never enroll and are left out of per-speaker scores). A class without audio in a partial copy
    is left out with a warning.

    Arguments
    ---------
    data_folder : str or Path
        The unpacked data set.
    save_folder : str or Path
        Where the manifests go.
    classes : int or str
        12, 35 or "all" (every word that is there).
    fold : int or None
        Which speaker fold is tested; None takes the official lists, on a complete copy only.
    num_folds : int
        Number of speaker folds.
    sample_rate : int
        Of every file, in Hz.
    download : bool
        Fetch v0.02 (2.4 GB) if the data folder has no utterances.
    skip_prep : bool
        Do nothing: the manifests are there.

    Raises
    ------
    FileNotFoundError
        If the data folder has no utterances.
    ValueError
        If an option is out of range or a file is refused; no manifest is written then.
    """
    if skip_prep:
        return
    if classes not in (12, 35, "all"):
        raise ValueError(f'Got classes {classes!r}; expected 12, 35 or "all".')
    data_folder = Path(data_folder)
    options = {
        "data_folder": str(data_folder.resolve()),
        "classes": classes,
        "fold": fold,
        "num_folds": num_folds,
        "sample_rate": sample_rate,
    }
    if is_prepared(save_folder, options):
        return
    if download and not find_utterances(data_folder):
        download_archive(data_folder)
    utterances = find_utterances(data_folder)
    if not utterances:
        raise FileNotFoundError(
            f"Found no WORD/SPEAKER_nohash_N.wav (or .flac) in the data folder {data_folder}; "
            "expected Google Speech Commands v0.01 or v0.02. Point --data_folder at the unpacked "
            "data set, or add --prepare='{download: True}' to fetch v0.02 into that folder."
        )
    official = official_speakers(data_folder, utterances) if fold is None else None
    chosen = choose_utterances(utterances, classes)
    rows = utterance_rows(
        [(path, speaker_of(path), command, path.parent.name) for path, command in chosen],
        data_folder,
        sample_rate,
    )
    if classes == 12:
        num_keywords = sum(row["command"] != UNKNOWN for row in rows)
        rows += silence_rows(data_folder, num_keywords, sample_rate)
    write_splits(rows, save_folder, fold or 0, num_folds, speakers=official)
    mark_prepared(save_folder, options)


def find_utterances(data_folder):
    """Paths of all utterances, sorted; none if the folder is not there. Says what it leaves out."""
    entries = sorted(Path(data_folder).glob("[!_.]*/[!.]*"))
    utterances = [
        path
        for path in entries
        if "_nohash_" in path.name and path.suffix.lower() in AUDIO_SUFFIXES
    ]
    _tell_of_folders(data_folder, {path.parent for path in utterances})
    others = sorted({*entries} - {*utterances})
    if others:
        logger.warning(
            "Left out, no WORD/SPEAKER_nohash_N.wav (or .flac): %d, such as %s",
            len(others),
            others[0],
        )
    return utterances


def _tell_of_folders(data_folder, words):
    """Says which folders give no utterance; that of noises needs to give none."""
    folders = {path for path in Path(data_folder).glob("[!.]*") if path.is_dir()}
    names = sorted(path.name for path in folders - words if path.name != NOISE_FOLDER)
    if names:
        logger.warning(
            "Left out, folders without utterances or with _ in front: %s. To have one as a word, "
            "give it a name without _, and files SPEAKER_nohash_N.wav (or .flac).",
            some(names),
        )


def speaker_of(path):
    """Speaker of an utterance, from its name or path."""
    return Path(path).name.split("_nohash_")[0]


def choose_utterances(utterances, classes):
    """(path, command) of each utterance that a choice of classes keeps."""
    present = {path.parent.name for path in utterances}
    words = {12: KEYWORDS, 35: WORDS, "all": sorted(present)}[classes]
    missing = [word for word in words if word not in present]
    if missing:
        logger.warning("Left out, no audio in this copy: %s", ", ".join(missing))
    chosen = [(path, path.parent.name) for path in utterances if path.parent.name in words]
    if not chosen:
        raise ValueError(
            f"Got the words {sorted(present)}; expected some of {', '.join(words)}. Set "
            'classes to "all".'
        )
    if classes == 12:
        others = {
            f"{path.parent.name}/{path.stem}": path
            for path in utterances
            if path.parent.name not in words
        }
        if not others:
            logger.warning("Left out, no other words in this copy: %s", UNKNOWN)
        num_unknown = round(UNKNOWN_FRACTION * len(chosen))
        chosen += [(others[name], UNKNOWN) for name in stable_shuffle(others)[:num_unknown]]
    return chosen


def silence_rows(data_folder, num_keywords, sample_rate):
    """Rows of cuts of background noise that never overlap.

    The first half of every noise is for training, the second one for validation and test, as in
    `vofp_plugin.dataio.noise.load_noises`: so no noise is asked that was added in training.
    """
    cuts, length = {"train": {}, "asked": {}}, round(CUT * sample_rate)
    files = [(path, SILENCE, SILENCE) for path in audio_files(data_folder / NOISE_FOLDER)]
    for noise in utterance_rows(files, data_folder, sample_rate):
        middle = (noise["stop"] + 1) // 2
        for part, start, stop in (("train", 0, middle), ("asked", middle, noise["stop"])):
            for begin in range(start, stop - length + 1, length):
                cut = {"ID": f"{noise['ID']}_{begin}", "start": begin, "stop": begin + length}
                cuts[part][cut["ID"]] = {**noise, **cut, "duration": CUT}
    num_rows = round(SILENCE_FRACTION * num_keywords)
    train, asked = (
        stable_shuffle(cuts[part])[: max(fewest, round(share * num_rows))]
        for part, share, fewest in (("train", 0.7, 1), ("asked", 0.3, 2))
    )
    if len(train) < 1 or len(asked) < 2:
        logger.warning("Left out, less than 2 s in half of the noise of this copy: %s", SILENCE)
        return []
    num_valid = len(asked) // 2
    split_of = dict.fromkeys(train, "train")
    split_of |= dict.fromkeys(asked[:num_valid], "valid")
    split_of |= dict.fromkeys(asked[num_valid:], "test")
    rows = cuts["train"] | cuts["asked"]
    return [{**rows[name], "split": split} for name, split in split_of.items()]


def official_speakers(data_folder, utterances):
    """{split: speakers} of the release's lists, which put all of a speaker in one split."""
    if len(utterances) not in NUM_COMPLETE:
        raise ValueError(
            f"Got fold None (the official splits) and {len(utterances)} utterances in "
            f"{data_folder}; expected a complete copy, of {NUM_COMPLETE[0]} (v0.01) or "
            f"{NUM_COMPLETE[1]} (v0.02). Set fold to a number."
        )
    lists = {"valid": "validation_list.txt", "test": "testing_list.txt"}
    speakers = {}
    for split, name in lists.items():
        if not (data_folder / name).is_file():
            raise FileNotFoundError(f"Official list {data_folder / name} does not exist.")
        speakers[split] = {speaker_of(line) for line in (data_folder / name).read_text().split()}
    everyone = {speaker_of(path) for path in utterances}
    return {"train": everyone - speakers["valid"] - speakers["test"], **speakers}


def download_archive(data_folder):
    """Fetches and unpacks v0.02 into a folder that must be new or empty."""
    if data_folder.exists() and any(data_folder.iterdir()):
        raise ValueError(
            f"Got download=True and {data_folder}, which holds other files; expected a new or "
            "empty folder. Set another --data_folder."
        )
    data_folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{data_folder.name}.", dir=data_folder.parent))
    archive, unpacked = work / "archive.tar.gz", work / "unpacked"
    try:
        fetch(ARCHIVE_URL, archive, ARCHIVE_SHA256)
        with tarfile.open(archive) as file:
            file.extractall(unpacked)  # the checksum vouches for the members
        os.replace(unpacked, data_folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def fetch(url, path, sha256):
    """Streams a URL to a file and verifies its checksum."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url) as response, open(path, "wb") as file:
        total = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(total=total, desc="Downloading", unit="B", unit_scale=True, disable=None) as bar:
            while block := response.read(1 << 20):
                file.write(block)
                digest.update(block)
                bar.update(len(block))
    if digest.hexdigest() != sha256:
        raise ValueError(
            f"Got checksum {digest.hexdigest()} from {url}; expected {sha256}. Try again."
        )
