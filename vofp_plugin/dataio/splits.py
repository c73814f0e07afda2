"""Splits: which speakers train, validate and test. No speaker is in two of them.

A folder of splits holds train.csv, valid.csv and test.csv, and a record of what they were prepared
from, so that they are prepared once.
"""

import hashlib
import json
from pathlib import Path

from speechbrain.utils.logger import get_logger

from vofp_plugin.dataio.manifests import (
    SILENCE,
    check_rows,
    drop_duplicates,
    read_manifest,
    some,
    speakers_of,
    write_manifest,
)
from vofp_plugin.utils.files import whole_file

logger = get_logger(__name__)

SPLITS = ("train", "valid", "test")
RECORD = "prepared.json"  # written after the manifests: what they were prepared from


def manifest_paths(folder):
    """Paths of the manifests in a folder of splits, {split: path}.

    Example
    -------
    >>> manifest_paths("results")["valid"].name
    'valid.csv'
    """
    return {split: Path(folder) / f"{split}.csv" for split in SPLITS}


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
    >>> from vofp_plugin.dataio.manifests import MANIFEST_COLUMNS
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
                    f"Splits {other} and {split} share {len(shared)} speakers ({some(shared)}); "
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
            f"Got {len(order)} speakers ({some(order)}); expected at least {fewest} for "
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
    speaker_split = {name: split for split, names in speakers.items() for name in names}

    split_rows = {split: [] for split in SPLITS}
    for row in rows:
        silent = row["spk_id"] == SILENCE
        if silent and "split" not in row:
            raise ValueError(
                f"Got a speaker named {SILENCE!r}, which stands for nobody ({row['wav']}): rename."
            )
        split = row["split"] if silent else speaker_split.get(row["spk_id"])
        if split is None:
            raise ValueError(f"Speaker {row['spk_id']} is in no split; expected one of {SPLITS}.")
        split_rows[split].append(row)

    paths = manifest_paths(save_folder)
    for split in SPLITS:  # all are checked before the first is written
        check_rows(split_rows[split], paths[split])
    (Path(save_folder) / RECORD).unlink(missing_ok=True)  # it tells of the files replaced here
    for split in SPLITS:
        write_manifest(split_rows[split], paths[split])
        num_speakers = len(speakers_of(split_rows[split]))
        logger.info(
            "%s: %d speakers, %d utterances", paths[split], num_speakers, len(split_rows[split])
        )


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
    if not all(path.is_file() for path in (record, *manifest_paths(save_folder).values())):
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
    >>> for path in manifest_paths(folder).values():
    ...     path.touch()
    >>> mark_prepared(folder, {"fold": 0})
    >>> is_prepared(folder, {"fold": 0}), is_prepared(folder, {"fold": 1})
    (True, False)
    """
    with whole_file(Path(save_folder) / RECORD) as partial:
        partial.write_text(_record_text(options), encoding="utf-8")


def _record_text(options):
    """The record's text, equal for equal options."""
    return json.dumps(options, indent=2, sort_keys=True) + "\n"
