"""Splits: speaker folds, disjoint manifests, and the record of what they were prepared from."""

import pytest
from made_up_rows import row

from vofp_plugin.dataio.manifests import SILENCE, read_manifest, write_manifest
from vofp_plugin.dataio.splits import (
    SPLITS,
    check_disjoint,
    is_prepared,
    mark_prepared,
    speaker_folds,
    stable_shuffle,
    write_splits,
)


def test_check_disjoint_names_the_speaker_and_both_splits(tmp_path):
    paths = {split: tmp_path / f"{split}.csv" for split in SPLITS}
    write_manifest([row("a", "ann"), row("n", SILENCE)], paths["train"])
    write_manifest([row("b", "bob"), row("n", SILENCE)], paths["valid"])
    write_manifest([row("c", "cleo")], paths["test"])
    check_disjoint(paths)
    write_manifest([row("c", "cleo"), row("d", "ann")], paths["test"])
    with pytest.raises(ValueError, match=r"train and test share 1 speakers \(ann\)"):
        check_disjoint(paths)


def test_stable_shuffle_is_the_same_on_every_machine():
    names = ["ann", "bob", "cleo", "dan", "eve"]
    assert stable_shuffle(names) == ["cleo", "ann", "dan", "bob", "eve"]
    assert stable_shuffle(reversed(names * 2)) == stable_shuffle(names)
    assert stable_shuffle(names, salt="1") != stable_shuffle(names)


@pytest.mark.parametrize("num_speakers, num_folds", [(441, 5), (24, 5), (5, 5), (4, 2), (4, 3)])
def test_speaker_folds_test_every_speaker_once(num_speakers, num_folds):
    speakers = [f"s{number}" for number in range(num_speakers)]
    tested = []
    for fold in range(num_folds):
        splits = speaker_folds(speakers, fold, num_folds)
        assert all(splits[split] for split in SPLITS)
        assert sorted(sum(splits.values(), [])) == sorted(speakers)
        tested += splits["test"]
    assert sorted(tested) == sorted(speakers)


def test_speaker_folds_have_the_sizes_asked_for_and_validate_on_other_speakers():
    speakers = [f"s{number}" for number in range(100)]
    folds = [speaker_folds(speakers, fold, 5, valid_fraction=0.25) for fold in range(5)]
    assert [[len(fold[split]) for split in SPLITS] for fold in folds] == [[60, 20, 20]] * 5
    assert len({name for fold in folds for name in fold["valid"]}) > 40
    assert speaker_folds(speakers[::-1], 0, 5, valid_fraction=0.25) == folds[0]


def test_speaker_folds_always_leave_a_speaker_to_train():
    assert len(speaker_folds("abcde", fold=0, valid_fraction=0.9)["train"]) == 1


@pytest.mark.parametrize(
    "num_speakers, options, message",
    [
        (4, {"fold": 0}, "Got 4 speakers .* expected at least 5"),
        (3, {"fold": 0, "num_folds": 2}, "expected at least 4"),
        (9, {"fold": 5}, "0 <= fold < num_folds"),
        (9, {"fold": -1}, "0 <= fold < num_folds"),
        (9, {"fold": None}, "0 <= fold < num_folds"),
        (9, {"fold": 0, "num_folds": 1}, "num_folds >= 2"),
        (9, {"fold": 0, "valid_fraction": 1.0}, "a fraction"),
    ],
)
def test_speaker_folds_refuse(num_speakers, options, message):
    with pytest.raises(ValueError, match=message):
        speaker_folds([f"s{number}" for number in range(num_speakers)], **options)


def spoken_rows(num_speakers=10, takes=2):
    return [
        row(f"s{speaker}_{take}", spk_id=f"s{speaker}")
        for speaker in range(num_speakers)
        for take in range(takes)
    ]


def ids(folder, split):
    return set(read_manifest(folder / f"{split}.csv"))


def test_write_splits_loses_no_row_and_shares_no_speaker(tmp_path):
    rows = spoken_rows()
    write_splits(rows, tmp_path, fold=1)
    check_disjoint({split: tmp_path / f"{split}.csv" for split in SPLITS})
    assert set().union(*(ids(tmp_path, split) for split in SPLITS)) == {r["ID"] for r in rows}
    expected = speaker_folds({r["spk_id"] for r in rows}, fold=1)["test"]
    assert {r["spk_id"] for r in read_manifest(tmp_path / "test.csv").values()} == set(expected)


def test_write_splits_puts_silence_where_it_belongs_and_moves_no_speaker(tmp_path):
    spoken = spoken_rows()
    silence = [row(f"noise_{split}", SILENCE, SILENCE) | {"split": split} for split in SPLITS]
    write_splits(spoken, tmp_path / "without", fold=0)
    write_splits(spoken + silence, tmp_path / "with", fold=0)
    check_disjoint({split: tmp_path / "with" / f"{split}.csv" for split in SPLITS})
    for split in SPLITS:
        added = ids(tmp_path / "with", split) ^ ids(tmp_path / "without", split)
        assert added == {f"noise_{split}"}


def test_write_splits_follows_an_official_division(tmp_path):
    official = {"train": ["s0", "s1", "unused"], "valid": ["s2"], "test": ["s3"]}
    write_splits(spoken_rows(4), tmp_path, fold=0, speakers=official)
    assert ids(tmp_path, "test") == {"s3_0", "s3_1"}
    assert len(ids(tmp_path, "train")) == 4


@pytest.mark.parametrize(
    "official, message",
    [
        ({"train": ["s0", "s1"], "valid": ["s2"], "test": ["s0", "s3"]}, "train and test share"),
        ({"train": ["s0", "s1"], "valid": ["s2"], "test": []}, "s3 is in no split"),
        ({"train": ["s0", "s1", "s3"], "valid": ["s2"], "test": []}, "test.csv.* empty split"),
    ],
)
def test_write_splits_refuses_a_bad_division_and_writes_nothing(tmp_path, official, message):
    with pytest.raises(ValueError, match=message):
        write_splits(spoken_rows(4), tmp_path, fold=0, speakers=official)
    assert list(tmp_path.iterdir()) == []


def test_prepared_means_same_options_and_all_manifests(tmp_path):
    options = {"fold": 0, "classes": "all"}
    write_splits(spoken_rows(), tmp_path, fold=0)
    assert not is_prepared(tmp_path, options)
    mark_prepared(tmp_path, options)
    assert is_prepared(tmp_path, {"classes": "all", "fold": 0})
    assert not is_prepared(tmp_path, {**options, "fold": 1})
    (tmp_path / "valid.csv").unlink()
    assert not is_prepared(tmp_path, options)


def test_new_splits_end_what_was_prepared_before(tmp_path):
    write_splits(spoken_rows(), tmp_path, fold=0)
    mark_prepared(tmp_path, {"fold": 0})
    write_splits(spoken_rows(), tmp_path, fold=1)
    assert not is_prepared(tmp_path, {"fold": 0})
