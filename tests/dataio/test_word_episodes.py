"""Word episodes: every target is a word by a voice, with takes that enroll it and others asked."""

import pytest

from vofp_plugin.dataio.episodes import EpisodeShape
from vofp_plugin.dataio.word_episodes import WordEpisodeBatchSampler

SHAPE = EpisodeShape(num_speakers=12, max_shots=3, num_queries=1)


def rows_of(corpora):
    """Rows of {corpus: (speakers, words, takes)}."""
    return [
        {"spk_id": f"{corpus}:{speaker}", "command": f"{corpus}:{word}"}
        for corpus, (speakers, words, takes) in corpora.items()
        for speaker in speakers
        for word in words
        for _ in range(takes)
    ]


ROWS = rows_of({"many": ("abcde", "uvwxyz", 4), "cut": ("a", "123456", 1)})


def episodes(rows=ROWS, num_episodes=20, **settings):
    return list(WordEpisodeBatchSampler(rows, SHAPE, num_episodes, voices=3, words=2, **settings))


def targets(episode):
    return [episode[start : start + 4] for start in range(0, len(episode), 4)]


def test_a_target_is_one_word_by_one_voice():
    for episode in episodes():
        assert len(episode) == 48 and [item.room for item in episode] == list(range(48))
        for number, target in enumerate(targets(episode)):
            assert len({ROWS[item.index]["command"] for item in target}) == 1
            assert {item.voice for item in target} == {number // 2}
            filled = [item.filled for item in target]
            assert filled in ([True, False, False, True], [True, True, False, True], [True] * 4)


def test_processes_share_the_episodes_of_one():
    alone = episodes(num_episodes=4)
    for rank in (0, 1):
        assert episodes(num_episodes=2, rank=rank, num_processes=2) == alone[rank::2]


def test_a_round_has_words_in_common_and_one_corpus():
    for episode in episodes():
        for first in (0, 24):
            rows = [ROWS[item.index] for item in episode[first : first + 24]]
            assert len({row["spk_id"].partition(":")[0] for row in rows}) == 1
            assert len({row["command"] for row in rows}) == 2


def test_takes_are_different_where_there_are_enough():
    for episode in episodes(rows_of({"many": ("abc", "uvw", 4)})):
        for target in targets(episode):
            assert len({item.index for item in target}) == 4


def test_who_is_alone_stands_in_for_other_voices():
    rows = rows_of({"cut": ("a", "123", 1)})
    for episode in episodes(rows):
        assert {item.voice for item in episode} == set(range(6))


def test_epochs_differ_and_are_repeated_by_seed():
    sampler = WordEpisodeBatchSampler(ROWS, SHAPE, 2, voices=3, words=2)
    first = list(sampler)
    assert first == list(sampler) and first != episodes(num_episodes=2, seed=1)
    sampler.set_epoch(1)
    assert first != list(sampler)


@pytest.mark.parametrize(
    "rows, settings, message",
    [
        (ROWS, {"voices": 5, "words": 2}, "Got 12 targets for 5 voices of 2 words"),
        (ROWS[:4], {"voices": 3, "words": 2}, "Got 1 speakers, none of whom says two words"),
    ],
)
def test_what_makes_no_episode_is_refused(rows, settings, message):
    with pytest.raises(ValueError, match=message):
        WordEpisodeBatchSampler(rows, SHAPE, 1, **settings)
