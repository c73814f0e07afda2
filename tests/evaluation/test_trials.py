"""Trials: nested enrollments, honest queries and matched strangers."""

import logging
from collections import Counter, defaultdict

import pytest
import torch

from vofp_plugin.dataio.manifests import SILENCE
from vofp_plugin.evaluation.trials import make_draws

WORDS = ("up", "down", "left", "right")


def make_rows(sizes):
    """Rows of speakers with so many utterances, of the words in turn."""
    return [
        {"spk_id": speaker, "command": WORDS[i % len(WORDS)]}
        for speaker, size in sizes.items()
        for i in range(size)
    ]


ROWS = make_rows({name: 12 for name in "abcdefghijklm"})


def by_speaker(draws):
    groups = defaultdict(list)
    for draw in draws:
        groups[draw.speaker].append(draw)
    return groups


def speakers(places, rows=ROWS):
    return {rows[place]["spk_id"] for place in places}


def words(places, rows=ROWS):
    return [rows[place]["command"] for place in places]


def test_every_speaker_has_all_draws():
    groups = by_speaker(make_draws(ROWS, max_shots=5, num_draws=20))
    assert {speaker: len(draws) for speaker, draws in groups.items()} == {
        speaker: 20 for speaker in "abcdefghijklm"
    }


def test_no_query_is_in_an_enrollment_of_the_draw():
    for draw in make_draws(ROWS, max_shots=5):
        assert not set(draw.queries) & set(draw.enrollment)
        assert len(set(draw.queries + draw.enrollment)) == 12
        assert speakers(draw.queries + draw.enrollment) == {draw.speaker}


def test_enrollment_of_fewer_shots_is_the_beginning_of_that_of_more():
    """Draws for K = 1 and K = 5 have the same order, whose first K utterances enroll."""
    for few, many in zip(make_draws(ROWS, 1), make_draws(ROWS, 5), strict=True):
        assert few.enrollment == many.enrollment[:1]
        assert len(many.enrollment) == len(many.stranger) == 5


def test_draws_of_a_speaker_differ():
    for draws in by_speaker(make_draws(ROWS, max_shots=5)).values():
        assert len({tuple(draw.enrollment) for draw in draws}) == 20


def test_stranger_is_one_other_speaker_who_changes_from_draw_to_draw():
    for speaker, draws in by_speaker(make_draws(ROWS, max_shots=5)).items():
        strangers = [speakers(draw.stranger) for draw in draws]
        assert all(len(names) == 1 and speaker not in names for names in strangers)
        counts = Counter(name for names in strangers for name in names)
        assert len(counts) == 12, "everybody else has a turn before anybody has a second one"
        assert max(counts.values()) == 2


def test_utterances_of_a_stranger_are_taken_once():
    for draw in make_draws(ROWS, max_shots=5):
        assert len(set(draw.stranger)) == 5


def test_stranger_says_the_same_words_where_possible():
    for draw in make_draws(ROWS, max_shots=5):  # each speaker says each word three times
        own, stranger = words(draw.enrollment), words(draw.stranger)
        matched = [a == b for a, b in zip(own, stranger, strict=True)]
        assert sum(matched) == sum(min(3, count) for count in Counter(own).values())


def test_missing_word_does_not_take_the_utterance_another_word_needs():
    rows = [{"spk_id": "a", "command": word} for word in ("up", "down", "left", "right")]
    rows += [{"spk_id": "b", "command": word} for word in ("up", "down", "stop", "stop")]
    for draw in make_draws(rows, max_shots=3, min_queries=1):
        own, stranger = words(draw.enrollment, rows), words(draw.stranger, rows)
        shared = {"up", "down"} & set(own)
        assert {a for a, b in zip(own, stranger, strict=True) if a == b} == shared
        assert len(set(draw.stranger)) == 3


def test_queries_are_capped():
    assert {len(draw.queries) for draw in make_draws(ROWS, 5, max_queries=4)} == {4}


def test_draws_depend_on_the_seed_alone():
    draws = make_draws(ROWS, 5, seed=1)
    torch.manual_seed(5)
    assert make_draws(ROWS, 5, seed=1) == draws
    assert make_draws(ROWS, 5, seed=2) != draws
    state = torch.get_rng_state()
    make_draws(ROWS, 5)
    assert torch.equal(torch.get_rng_state(), state)


def test_small_speakers_are_left_out_and_counted(caplog):
    rows = make_rows({"a": 8, "b": 9, "c": 7, "d": 20, "e": 1})
    with caplog.at_level(logging.INFO):
        draws = make_draws(rows, max_shots=5, min_queries=3)
    assert set(by_speaker(draws)) == {"a", "b", "d"}
    assert "e" not in speakers([place for draw in draws for place in draw.stranger], rows)
    assert "3 speakers with at least 5 + 3 utterances; 2 with fewer are left out" in caplog.text


def test_silence_is_nobody():
    rows = make_rows({"a": 8, "b": 8, SILENCE: 30})
    draws = make_draws(rows, max_shots=5)
    used = [i for d in draws for i in d.enrollment + d.stranger + d.queries]
    assert SILENCE not in speakers(used, rows)


@pytest.mark.parametrize("sizes", [{"a": 20, "b": 7}, {"a": 7, "b": 7}, {"a": 20, SILENCE: 20}])
def test_fewer_than_two_speakers_are_refused(sizes):
    longest = max(size for name, size in sizes.items() if name != SILENCE)
    message = rf"Got . speakers with at least 5 \+ 3 .* is {longest}\); expected at least 2"
    with pytest.raises(ValueError, match=message):
        make_draws(make_rows(sizes), max_shots=5)
