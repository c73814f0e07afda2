"""Manifests: the CSV files that say which utterances exist, who speaks them and in which split.

They have the columns of SpeechBrain's Google-speech-commands recipe. Audio is checked once, when
the manifest is prepared, so that training never meets a broken file. Splits share no speaker.
"""

import csv
import hashlib
import io
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from speechbrain.utils.logger import get_logger

from vofp_plugin.utils.files import whole_file

logger = get_logger(__name__)

MANIFEST_COLUMNS = ("ID", "duration", "start", "stop", "wav", "spk_id", "command", "transcript")
AUDIO_SUFFIXES = (".wav", ".flac")
SPLITS = ("train", "valid", "test")
SILENCE = "silence"  # spk_id and command of rows that nobody speaks: never enrolled nor scored
DATA_ROOT = "$data_root"
RECORD = "prepared.json"  # written after the manifests: what they were prepared from


def check_audio(path, sample_rate=16000):
    """Decodes a mono audio file and refuses what training could not use.

    Arguments
    ---------
    path : str or Path
        File in a format that soundfile reads (wav, flac, ogg).
    sample_rate : int
        The only sampling rate accepted, in Hz.

    Returns
    -------
    int
        Number of samples. Digital silence is allowed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is undecodable or empty, has another rate or more than one channel, or holds
        NaN or infinite samples.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> soundfile.write(path, [0.0] * 8000, 16000)
    >>> check_audio(path)
    8000
    """
    return len(_read_audio(path, sample_rate))


def _read_audio(path, sample_rate):
    """The samples of a file that passes `check_audio`, a float32 array of shape (L,)."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Audio file {path} does not exist; expected a wav or flac file.")
    if path.stat().st_size == 0:
        raise ValueError(f"Audio file {path} is empty (0 bytes). Restore or delete it.")
    try:
        with soundfile.SoundFile(path) as file:
            _check_format(path, file, sample_rate)
            samples = file.read(dtype="float32")
    except soundfile.SoundFileError as error:
        raise ValueError(
            f"Audio file {path} cannot be decoded ({error}). Restore or delete it."
        ) from error
    if not np.isfinite(samples).all():
        raise ValueError(f"Audio file {path} holds NaN or infinite samples. Restore or delete it.")
    return samples


def _check_format(path, file, sample_rate):
    """Refuses an open sound file by what its header says."""
    if file.samplerate != sample_rate:
        raise ValueError(
            f"Audio file {path} has {file.samplerate} Hz; expected {sample_rate} Hz. Resample it."
        )
    if file.channels != 1:
        raise ValueError(
            f"Audio file {path} has {file.channels} channels; expected 1. Mix it down to mono."
        )
    if file.frames == 0:
        raise ValueError(f"Audio file {path} is empty (0 samples). Restore or delete it.")


def utterance_row(path, data_root, spk_id, command, transcript=None, sample_rate=16000):
    """Checks an utterance's audio and makes its manifest row.

    Arguments
    ---------
    path : str or Path
        Audio file below `data_root`.
    data_root : str or Path
        Folder that ``$data_root`` will stand for.
    spk_id : str
        Name of the speaker, or ``SILENCE``.
    command : str
        Class label.
    transcript : str
        Word spoken; the command if left out.
    sample_rate : int
        Sampling rate, in Hz.

    Returns
    -------
    dict
        One value per manifest column (duration in s, start and stop in samples), and
        "audio_hash", which `drop_duplicates` reads and which no manifest stores.

    Raises
    ------
    FileNotFoundError, ValueError
        As `check_audio`.

    Example
    -------
    >>> root = getfixture("tmp_path")
    >>> soundfile.write(root / "yes.wav", [0.0] * 8000, 16000)
    >>> row = utterance_row(root / "yes.wav", root, spk_id="ann", command="yes")
    >>> row["ID"], row["wav"], row["duration"], row["stop"], row["transcript"]
    ('yes', '$data_root/yes.wav', 0.5, 8000, 'yes')
    """
    samples = _read_audio(path, sample_rate)
    relative = Path(path).relative_to(data_root)
    return {
        "ID": relative.with_suffix("").as_posix().replace("/", "_"),
        "duration": len(samples) / sample_rate,
        "start": 0,
        "stop": len(samples),
        "wav": f"{DATA_ROOT}/{relative.as_posix()}",
        "spk_id": spk_id,
        "command": command,
        "transcript": command if transcript is None else transcript,
        "audio_hash": hashlib.sha1(samples.tobytes()).hexdigest(),
    }


def drop_duplicates(rows):
    """Drops rows with the very audio of an earlier row of the same speaker and command.

    Releases hold such copies; kept, one would enroll and the other be the query.

    Arguments
    ---------
    rows : list
        Rows of `utterance_row`.

    Returns
    -------
    list
        The rows kept, in their order.

    Example
    -------
    >>> row = {"spk_id": "ann", "command": "yes", "start": 0, "audio_hash": "e1"}
    >>> len(drop_duplicates([row, row, {**row, "spk_id": "bob"}]))
    2
    """
    first = {}
    for row in rows:
        # start tells apart the cuts of one noise recording
        key = (row["spk_id"], row["command"], row["audio_hash"], row["start"])
        first.setdefault(key, row)
    if len(first) < len(rows):
        logger.info("Dropped %d exact duplicates.", len(rows) - len(first))
    return list(first.values())


def write_manifest(rows, path):
    """Writes a manifest whole or not at all.

    Arguments
    ---------
    rows : list
        Rows of `utterance_row`; IDs must be unique.
    path : str or Path
        CSV file; its folder is made.

    Raises
    ------
    ValueError
        If there are no rows or an ID repeats.

    Example
    -------
    >>> path = getfixture("tmp_path") / "test.csv"
    >>> row = dict(ID="a", duration=1.0, start=0, stop=16000, wav="$data_root/a.wav",
    ...            spk_id="ann", command="yes", transcript="yes")
    >>> write_manifest([row], path)
    >>> read_manifest(path, data_root="corpus")["a"]["wav"]
    'corpus/a.wav'
    """
    _check_rows(rows, path)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(MANIFEST_COLUMNS)
    writer.writerows([row[column] for column in MANIFEST_COLUMNS] for row in rows)
    _write_text(path, text.getvalue())


def _check_rows(rows, path):
    """Refuses rows that make no manifest: none at all, or with repeated IDs."""
    if not rows:
        raise ValueError(
            f"Got no rows for {path}; expected at least one. An empty split is an error."
        )
    repeated = [row_id for row_id, count in Counter(r["ID"] for r in rows).items() if count > 1]
    if repeated:
        raise ValueError(
            f"Got repeated IDs for {path}: {_some(repeated)}. IDs are paths without suffix, "
            "/ as _: rename or delete one of the files."
        )


def read_table(path, columns):
    """Reads a CSV file that must have some columns.

    Arguments
    ---------
    path : str or Path
        CSV file with a header.
    columns : iterable
        Names that the header must hold; others may be there too.

    Returns
    -------
    list
        One dict of strings per row.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no UTF-8 CSV, a column is missing, a row has too few or too many fields, or
        there is no row.

    Example
    -------
    >>> path = getfixture("tmp_path") / "words.csv"
    >>> _ = path.write_text("file,class\\na.wav,yes\\n")
    >>> read_table(path, ["file", "class"])
    [{'file': 'a.wav', 'class': 'yes'}]
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"CSV file {path} does not exist. Prepare the data or fix the path."
        )
    try:
        # utf-8-sig also reads the mark that spreadsheet programs put first
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            found = reader.fieldnames or []
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8 ({error}).") from error
    missing = [column for column in columns if column not in found]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {missing}: got {found}, expected {list(columns)}. "
            "Add them to its first line."
        )
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():  # how csv marks too many and too few fields
            raise ValueError(
                f"Row {number} of {path} has too few or too many fields; expected {len(found)}, "
                "as in its first line."
            )
    if not rows:
        raise ValueError(f"{path} has no rows; expected at least one. An empty split is an error.")
    return rows


def read_manifest(path, data_root=None):
    """Reads a manifest as SpeechBrain's `DynamicItemDataset` wants it.

    Arguments
    ---------
    path : str or Path
        CSV file with ``MANIFEST_COLUMNS``; other columns are ignored.
    data_root : str or Path
        Folder that replaces ``$data_root``; without it paths stay as written.

    Returns
    -------
    dict
        {ID: row} in file order. A row has the other columns, with duration as float (s) and
        start and stop as int (samples).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        As `read_table`, or if an ID repeats, a value is missing or a number makes no sense.

    Example
    -------
    >>> path = getfixture("tmp_path") / "test.csv"
    >>> _ = path.write_text(",".join(MANIFEST_COLUMNS) + "\\n"
    ...                     "a,1.0,0,16000,$data_root/a.wav,ann,yes,yes\\n")
    >>> read_manifest(path)["a"]["stop"]
    16000
    """
    manifest = {}
    for number, row in enumerate(read_table(path, MANIFEST_COLUMNS), start=1):
        place = f"Row {number} of {path}"
        if row["ID"] in manifest:
            raise ValueError(f"{place} repeats the ID {row['ID']!r}; IDs must be unique.")
        manifest[row["ID"]] = _typed_row(row, place, data_root)
    return manifest


def _typed_row(row, place, data_root):
    """Row of strings -> row of a manifest in memory; `place` names it in errors."""
    for column in ("ID", "wav", "spk_id", "command"):
        if not row[column]:
            raise ValueError(
                f"{place} has no {column}. (The spk_id of noise without a speaker is {SILENCE!r}.)"
            )
    try:
        duration, start, stop = float(row["duration"]), int(row["start"]), int(row["stop"])
        valid = 0 < duration < math.inf and 0 <= start < stop
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(
            f"{place} has bad numbers: got duration {row['duration']!r}, start {row['start']!r}, "
            f"stop {row['stop']!r}; expected seconds above 0 and whole samples 0 <= start < stop."
        )
    wav = row["wav"] if data_root is None else row["wav"].replace(DATA_ROOT, str(data_root))
    return {
        "duration": duration,
        "start": start,
        "stop": stop,
        "wav": wav,
        "spk_id": row["spk_id"],
        "command": row["command"],
        "transcript": row["transcript"],
    }


def speakers_of(rows):
    """Names of all who speak in manifest rows; ``SILENCE`` is nobody.

    Example
    -------
    >>> speakers_of([{"spk_id": "ann"}, {"spk_id": SILENCE}, {"spk_id": "ann"}])
    {'ann'}
    """
    return {row["spk_id"] for row in rows} - {SILENCE}


def check_disjoint(manifests):
    """Refuses manifests that share a speaker.

    Arguments
    ---------
    manifests : dict
        {split: path of its manifest}.

    Raises
    ------
    ValueError
        If a speaker is in two splits. ``SILENCE`` is nobody and may be in all.

    Example
    -------
    >>> path = getfixture("tmp_path") / "all.csv"
    >>> _ = path.write_text(",".join(MANIFEST_COLUMNS) + "\\na,1.0,0,16000,a.wav,ann,yes,yes\\n")
    >>> check_disjoint({"train": path})
    >>> check_disjoint({"train": path, "test": path})
    Traceback (most recent call last):
    ...
    ValueError: Splits train and test share 1 speakers (ann); expected none. ...
    """
    _check_no_shared_speaker(
        {
            split: {row["spk_id"] for row in read_manifest(path).values()}
            for split, path in manifests.items()
        }
    )


def _check_no_shared_speaker(speakers):
    """Refuses {split: speakers} in which a speaker is in two splits."""
    split_of = {}
    for split, names in speakers.items():
        for other in dict.fromkeys(split_of.values()):
            shared = sorted(n for n in names if n != SILENCE and split_of.get(n) == other)
            if shared:
                raise ValueError(
                    f"Splits {other} and {split} share {len(shared)} speakers ({_some(shared)}); "
                    "expected none. Move each speaker's rows to one split."
                )
        split_of.update(dict.fromkeys(names, split))


def stable_shuffle(names, salt=""):
    """Shuffles names in an order that depends on the names alone, on every machine.

    Arguments
    ---------
    names : iterable
        Strings; repeated ones count once.
    salt : str
        Another salt gives another order.

    Returns
    -------
    list
        The names. Adding a name never changes the order of the others.

    Example
    -------
    >>> stable_shuffle(["a", "b", "c"]) == stable_shuffle(["c", "b", "a"])
    True
    """
    return sorted(set(names), key=lambda name: hashlib.sha1(f"{salt}/{name}".encode()).digest())


def speaker_folds(speakers, fold, num_folds=5, valid_fraction=0.15):
    """Deals speakers to train, valid and test by their names alone.

    Arguments
    ---------
    speakers : iterable
        Names of the speakers; repeated ones count once.
    fold : int
        Which fold is tested, from 0; over all folds every speaker is tested once.
    num_folds : int
        Number of folds.
    valid_fraction : float
        Share of the speakers not tested that validate, in (0, 1).

    Returns
    -------
    dict
        {"train": names, "valid": names, "test": names}, each sorted and none empty.

    Raises
    ------
    ValueError
        If a number is out of range or there are too few speakers.

    Example
    -------
    >>> folds = speaker_folds(["a", "b", "c", "d", "e"], fold=0)
    >>> [len(folds[split]) for split in ("train", "valid", "test")]
    [3, 1, 1]
    """
    if num_folds < 2 or fold not in range(num_folds) or not 0 < valid_fraction < 1:
        raise ValueError(
            f"Got fold {fold}, num_folds {num_folds}, valid_fraction {valid_fraction}; expected "
            "num_folds >= 2, 0 <= fold < num_folds and a fraction between 0 and 1."
        )
    order = stable_shuffle(speakers)
    fewest = max(num_folds, 4)  # two folds need four: test, train and valid must not be empty
    if len(order) < fewest:
        raise ValueError(
            f"Got {len(order)} speakers ({_some(order)}); expected at least {fewest} for "
            f"{num_folds} folds. Add speakers or lower num_folds."
        )
    test = order[fold::num_folds]
    # the fold as salt: else nearly the same speakers would validate every fold
    rest = stable_shuffle(set(order) - set(test), salt=str(fold))
    num_valid = min(max(1, round(valid_fraction * len(rest))), len(rest) - 1)
    splits = {"train": rest[num_valid:], "valid": rest[:num_valid], "test": test}
    return {split: sorted(names) for split, names in splits.items()}


def write_splits(rows, save_folder, fold, num_folds=5, speakers=None):
    """Writes train.csv, valid.csv and test.csv, disjoint by speaker and free of duplicates.

    Rows of ``SILENCE`` bring their "split": no speaker and no fold says where they belong.

    Arguments
    ---------
    rows : list
        Rows of `utterance_row`, of all splits.
    save_folder : str or Path
        Where the manifests go; made if it is not there.
    fold : int
        Which fold is tested, from 0.
    num_folds : int
        Number of folds.
    speakers : dict
        {split: speakers} of an official division, in place of `speaker_folds`.

    Raises
    ------
    ValueError
        If a split would be empty, a speaker is in two splits or in none, or an ID repeats;
        nothing is written then.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> row = dict(duration=1.0, start=0, stop=16000, wav="$data_root/a.wav", command="yes",
    ...            transcript="yes", audio_hash="e1")
    >>> write_splits([dict(row, ID=name, spk_id=name) for name in "abcde"], folder, fold=0)
    >>> len(read_manifest(folder / "train.csv"))
    3
    """
    rows = drop_duplicates(rows)
    if speakers is None:
        speakers = speaker_folds(speakers_of(rows), fold, num_folds)
    _check_no_shared_speaker(speakers)
    speaker_split = _split_by_name(speakers)

    split_rows = {split: [] for split in SPLITS}
    for row in rows:
        silent = row["spk_id"] == SILENCE
        split = row["split"] if silent else speaker_split.get(row["spk_id"])
        if split is None:
            raise ValueError(f"Speaker {row['spk_id']} is in no split; expected one of {SPLITS}.")
        split_rows[split].append(row)

    paths = {split: Path(save_folder) / f"{split}.csv" for split in SPLITS}
    for split in SPLITS:  # all are checked before the first is written
        _check_rows(split_rows[split], paths[split])
    (Path(save_folder) / RECORD).unlink(missing_ok=True)  # it tells of the files replaced here
    for split in SPLITS:
        write_manifest(split_rows[split], paths[split])
        num_speakers = len(speakers_of(split_rows[split]))
        logger.info(
            "%s: %d speakers, %d utterances", paths[split], num_speakers, len(split_rows[split])
        )


def _split_by_name(splits):
    """{split: names} -> {name: split}."""
    return {name: split for split, names in splits.items() for name in names}


def is_prepared(save_folder, options):
    """Whether the manifests of a folder were prepared from the same options.

    Arguments
    ---------
    save_folder : str or Path
        Folder of the manifests.
    options : dict
        What the manifests depend on (data folder, classes, fold, ...), of JSON values.

    Returns
    -------
    bool
        True if the three manifests are there and `mark_prepared` recorded these options.

    Example
    -------
    >>> is_prepared(getfixture("tmp_path"), {"fold": 0})
    False
    """
    record = Path(save_folder) / RECORD
    paths = [record] + [Path(save_folder) / f"{split}.csv" for split in SPLITS]
    if not all(path.is_file() for path in paths):
        return False
    if record.read_text(encoding="utf-8") != _record_text(options):
        return False
    logger.info("Already prepared: %s (delete %s to prepare again).", save_folder, RECORD)
    return True


def mark_prepared(save_folder, options):
    """Records, after all else, what the manifests of a folder were prepared from.

    Arguments
    ---------
    save_folder : str or Path
        Folder of the manifests.
    options : dict
        As for `is_prepared`.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> for split in SPLITS:
    ...     (folder / f"{split}.csv").touch()
    >>> mark_prepared(folder, {"fold": 0})
    >>> is_prepared(folder, {"fold": 0}), is_prepared(folder, {"fold": 1})
    (True, False)
    """
    _write_text(Path(save_folder) / RECORD, _record_text(options))


def _write_text(path, text):
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _record_text(options):
    """The record's text, equal for equal options."""
    return json.dumps(options, indent=2, sort_keys=True) + "\n"


def _some(names, most=5):
    """A few names for an error message."""
    names = list(names)
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")
