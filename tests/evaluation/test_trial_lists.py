"""Trial lists: reading, making, and what is refused before anything is computed."""

import pytest

from vofp_plugin.evaluation.trial_lists import (
    Trial,
    check_trials,
    keyword_trials,
    read_enrollments,
    read_trials,
    single_enrollments,
    write_enrollments,
    write_trials,
)


@pytest.fixture
def manifest():
    """Six speakers who say three words twice."""
    return {
        f"{speaker}_{word}_{take}": {"spk_id": speaker, "command": word}
        for speaker in ("ann", "bob", "cy", "dan", "eve", "flo")
        for word in ("down", "left", "up")
        for take in (0, 1)
    }


def make(manifest, shots=(1, 3), **options):
    return keyword_trials(manifest, shots, **{"num_draws": 2, "num_impostors": 4, **options})


def test_what_is_written_is_read(tmp_path, manifest):
    trials, enrollments = make(manifest)
    write_trials(trials, tmp_path / "trials.txt")
    write_enrollments(enrollments, tmp_path / "enrollments.txt")
    assert read_trials(tmp_path / "trials.txt") == trials
    assert read_enrollments(tmp_path / "enrollments.txt") == enrollments


def test_list_of_voxceleb_is_read_as_it_is(tmp_path):
    path = tmp_path / "veri_test.txt"
    path.write_text(
        "1 id10270/x6/00001.wav id10270/8j/00008.wav\n0 id10270/x6/00001.wav id10300/a/1.wav\n\n"
    )
    trials = read_trials(path)
    assert [trial.accepted for trial in trials] == [True, False]
    assert single_enrollments(trials) == {"id10270/x6/00001": ["id10270/x6/00001"]}


def test_made_trials_can_be_answered(manifest):
    trials, enrollments = make(manifest)
    check_trials(trials, enrollments, manifest, [1, 3])


def test_made_trials_are_true_where_speaker_and_word_are_the_targets(manifest):
    trials, enrollments = make(manifest)
    for trial in trials:
        row, target = manifest[trial.query], manifest[enrollments[trial.enrollment][0]]["spk_id"]
        assert trial.accepted == (row["spk_id"] == target and row["command"] == trial.word)


def test_every_query_is_offered_as_its_word_and_as_another(manifest):
    trials, _ = make(manifest)
    for one, other in zip(trials[::2], trials[1::2], strict=True):
        assert one.query == other.query and one.word != other.word and not other.accepted


def test_trials_depend_on_the_seed_alone(manifest):
    assert make(manifest) == make(manifest)
    assert make(manifest) != make(manifest, seed=1)


def test_speakers_of_few_utterances_are_impostors_only(manifest):
    for name in ("ann_up_0", "ann_up_1", "ann_left_0"):
        del manifest[name]
    trials, enrollments = make(manifest, shots=[2], min_queries=2, num_impostors=5)
    assert not any(name.startswith("ann") for name in enrollments)
    assert any(trial.query.startswith("ann") for trial in trials)


@pytest.mark.parametrize("shots, speakers", [([6], "abc"), ([1], "a")])
def test_too_little_data_for_trials_is_refused(shots, speakers):
    manifest = {f"{s}{w}": {"spk_id": s, "command": w} for s in speakers for w in "12345"}
    with pytest.raises(ValueError, match="expected 2 speakers"):
        make(manifest, shots=shots)


def bad(trials=None, enrollments=None):
    good = [Trial(True, "ann", "ann_up_1"), Trial(False, "ann", "bob_up_1")]
    return trials or good, enrollments or {"ann": ["ann_up_0", "ann_down_0"]}


@pytest.mark.parametrize(
    "lists, message",
    [
        (bad([Trial(True, "ann", "ann_up_1")]), "1 trials of one class"),
        (bad(enrollments={"bob": ["bob_up_0"]}), r"1 unknown enrollments \(ann\)"),
        (bad(enrollments={"ann": ["ann_up_0", "gone"]}), r"not in the manifest \(gone\)"),
        (bad([*bad()[0], Trial(False, "ann", "nobody")]), r"not in the manifest \(nobody\)"),
        (bad(enrollments={"ann": ["ann_up_0"]}), "fewer than 2 different utterances"),
        (bad(enrollments={"ann": ["ann_up_0", "ann_up_0"]}), "fewer than 2 different utterances"),
        (bad([*bad()[0], Trial(True, "ann", "ann_up_0")]), "query is an utterance of the enroll"),
    ],
)
def test_trials_that_cannot_be_answered_are_refused(manifest, lists, message):
    with pytest.raises(ValueError, match=message):
        check_trials(*lists, manifest, shots=[1, 2])


@pytest.mark.parametrize("text", ["2 a b\n", "1 a\n", "1 a b c d\n", "yes a b\n"])
def test_lines_that_are_no_trials_are_refused(tmp_path, text):
    (tmp_path / "trials.txt").write_text("1 a b\n" + text)
    with pytest.raises(ValueError, match="Line 2"):
        read_trials(tmp_path / "trials.txt")


@pytest.mark.parametrize("text", ["b\n", "a x\n"])
def test_enrollments_that_are_empty_or_repeated_are_refused(tmp_path, text):
    (tmp_path / "enrollments.txt").write_text("a x y\n" + text)
    with pytest.raises(ValueError, match="Line 2"):
        read_enrollments(tmp_path / "enrollments.txt")


@pytest.mark.parametrize("read", [read_trials, read_enrollments])
def test_missing_and_empty_lists_are_refused(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read(tmp_path / "gone.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="holds no line"):
        read(tmp_path / "empty.txt")
