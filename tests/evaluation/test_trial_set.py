"""Trial sets: places, labels, words and strangers of a list."""

import pytest
from made_up_trials import ENROLLMENTS, TRIALS, trial_set
from speechbrain.dataio.encoder import CategoricalEncoder

from vofp_plugin.evaluation.trial_lists import Trial, read_enrollments, read_trials


def classes_of(*words):
    classes = CategoricalEncoder()
    classes.update_from_iterable(words)
    return classes


def test_places_are_those_of_the_manifest():
    asked = trial_set()
    assert asked.query.tolist() == [2, 2, 3, 5, 8, 2]
    assert asked.places.tolist() == [[0, 1], [3, 4], [6, 7]]
    assert asked.speakers == ["ann", "bob", "cid"]
    assert asked.words(classes_of("up", "down")).tolist() == [0, 1, 0, 0, 0, 0]


def test_a_written_set_is_read_again(tmp_path):
    trial_set().write(tmp_path, "test")
    assert read_trials(tmp_path / "test_trials.txt") == TRIALS
    assert read_enrollments(tmp_path / "test_enrollments.txt") == ENROLLMENTS


def test_a_stranger_is_another_speaker_whose_utterances_are_not_asked():
    # bob0, of b's enrollment, is asked of a: c stands in for a.
    assert trial_set().strangers().tolist() == [2, 2, 0]


def test_strangers_need_another_speaker():
    asked = trial_set([Trial(True, "a", "ann2", "up"), Trial(False, "a", "bob0", "up")])
    with pytest.raises(ValueError, match="one enrolled speaker; expected two.*enroll more"):
        asked.strangers()


def test_labels_that_contradict_the_manifest_are_refused():
    asked = trial_set()
    asked.check_labels("target_only")
    with pytest.raises(ValueError, match=r"1 trials whose label .* verification \(a ann2\)"):
        asked.check_labels("verification")


def test_labels_of_kinds_that_are_left_open_are_free():
    trial_set([*TRIALS, Trial(True, "c", "bob2", "up")]).check_labels("target_biased")


@pytest.mark.parametrize("word, name", [("left", "left"), (None, "None")])
def test_words_that_no_model_knows_are_refused(word, name):
    asked = trial_set([*TRIALS, Trial(False, "a", "cid2", word)])
    with pytest.raises(ValueError, match=f"claim the words {name}; expected one of up, down"):
        asked.words(classes_of("up", "down"))
