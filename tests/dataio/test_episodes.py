"""Episodes: who is enrolled with what and asked what in training."""

import logging
from collections import Counter

import pytest
import torch

from vofp_plugin.dataio.episodes import EpisodeBatchSampler, EpisodeShape, Item
from vofp_plugin.dataio.manifests import SILENCE

SHAPE = EpisodeShape(num_speakers=3, max_shots=4, num_queries=5)
SIZES = {"anna": 20, "ben": 12, "cleo": 9, "dora": 30, "emil": 10}  # utterances of each speaker


def speakers_of(sizes):
    """Speaker of every item, speakers interleaved."""
    names = [name for name, size in sizes.items() for _ in range(size)]
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(0))
    return [names[i] for i in order]


def rows_of(speakers):
    return [{"spk_id": speaker} for speaker in speakers]


def make_sampler(sizes=SIZES, shape=SHAPE, num_episodes=40, **settings):
    return EpisodeBatchSampler(rows_of(speakers_of(sizes)), shape, num_episodes, **settings)


def parts(batch, shape=SHAPE):
    """(enrollment without empty places, queries) of every speaker in a batch, as indices."""
    for start in range(0, len(batch), shape.per_speaker):
        places = batch[start : start + shape.per_speaker]
        enrolled = [item.index for item in places[: shape.max_shots] if item.filled]
        yield enrolled, [item.index for item in places[shape.max_shots :]]


def all_parts(sampler, shape=SHAPE):
    return [part for batch in sampler for part in parts(batch, shape)]


def test_every_batch_has_the_shape_asked_for():
    sampler = make_sampler()
    batches = list(sampler)
    assert len(batches) == len(sampler) == 40
    assert {len(batch) for batch in batches} == {3 * (4 + 5)}


def test_items_of_a_part_belong_to_one_speaker_and_speakers_differ():
    speakers = speakers_of(SIZES)
    for batch in make_sampler():
        chosen = [{speakers[i] for i in enrolled + asked} for enrolled, asked in parts(batch)]
        assert all(len(names) == 1 for names in chosen)
        assert len(set().union(*chosen)) == SHAPE.num_speakers


@pytest.mark.parametrize("sizes", [SIZES, {"anna": 2, "ben": 3, "cleo": 1, "dora": 7}])
def test_no_utterance_is_on_both_sides(sizes):
    for enrolled, asked in all_parts(make_sampler(sizes)):
        assert not set(enrolled) & set(asked)
        assert len(set(enrolled)) == len(enrolled), "an utterance enrolls once"


def test_shots_are_drawn_for_the_whole_episode_from_one_to_the_largest():
    sampler = make_sampler(none_fraction=0.0, num_episodes=200)
    per_episode = [{len(enrolled) for enrolled, _ in parts(batch)} for batch in sampler]
    assert all(len(shots) == 1 for shots in per_episode)
    counts = Counter(shots for episode in per_episode for shots in episode)
    assert set(counts) == {1, 2, 3, 4}
    assert all(abs(count / 200 - 1 / 4) < 0.1 for count in counts.values())


def test_smallest_number_of_shots():
    sampler = make_sampler(min_shots=4, none_fraction=0.0)
    assert {len(enrolled) for enrolled, _ in all_parts(sampler)} == {4}


def test_every_speaker_and_utterance_has_its_turn_on_both_sides():
    sampler = make_sampler(num_episodes=300)
    enrolled = {i for part in all_parts(sampler) for i in part[0]}
    asked = {i for part in all_parts(sampler) for i in part[1]}
    assert enrolled == asked == set(range(sum(SIZES.values())))


def test_enrollment_and_queries_vary_from_draw_to_draw():
    draws = Counter(tuple(enrolled) for enrolled, _ in all_parts(make_sampler(min_shots=4)))
    assert max(count for enrolled, count in draws.items() if enrolled) <= 2


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_share_of_speakers_without_enrollment(fraction):
    sampler = make_sampler(none_fraction=fraction, num_episodes=500)
    without = [not enrolled for enrolled, _ in all_parts(sampler)]
    assert sum(without) / len(without) == pytest.approx(fraction, abs=0.04)


def test_small_speakers_enroll_with_at_most_half_and_are_asked_twice():
    sizes = {"anna": 1, "ben": 2, "cleo": 5}
    speakers = speakers_of(sizes)
    sampler = make_sampler(sizes, min_shots=4, none_fraction=0.0)
    seen = {name: set() for name in sizes}
    for enrolled, asked in all_parts(sampler):
        assert len(asked) == SHAPE.num_queries
        seen[speakers[asked[0]]].add((len(enrolled), len(set(asked))))
    assert seen == {"anna": {(0, 1)}, "ben": {(1, 1)}, "cleo": {(2, 3)}}


def test_small_speakers_are_counted_in_the_log(caplog):
    with caplog.at_level(logging.INFO):
        make_sampler({"anna": 1, "ben": 2, "cleo": 9, "dora": 10})
    assert "Episodes of 4 speakers: 2 have the 9 utterances of a full episode" in caplog.text
    assert "2 fewer" in caplog.text and "1 just one (never enrolled)" in caplog.text


def test_silence_is_asked_in_its_share_and_never_enrolls():
    sizes = {**SIZES, SILENCE: 20}
    speakers = speakers_of(sizes)
    pairs = all_parts(make_sampler(sizes, num_episodes=300))
    assert all(speakers[i] != SILENCE for enrolled, _ in pairs for i in enrolled)
    asked = [speakers[i] == SILENCE for _, queries in pairs for i in queries]
    assert sum(asked) / len(asked) == pytest.approx(20 / sum(sizes.values()), abs=0.03)


def test_same_seed_and_epoch_give_the_same_episodes():
    first, second = make_sampler(seed=1), make_sampler(seed=1)
    first.set_epoch(3)
    second.set_epoch(3)
    batches = list(first)
    assert list(second) == batches
    assert list(first) == batches, "iterating does not change what an epoch holds"
    second.set_epoch(2)
    list(second)
    second.set_epoch(3)
    assert list(second) == batches, "epochs before do not matter, so that a run can resume"


def test_other_seeds_give_other_episodes():
    batches = [list(make_sampler(seed=number)) for number in (0, 1)]
    assert not any(batch in batches[1] for batch in batches[0])


def test_processes_share_the_episodes_of_one():
    alone = list(make_sampler(num_episodes=6))
    for rank in (0, 1):
        own = list(make_sampler(num_episodes=3, rank=rank, num_processes=2))
        assert own == alone[rank::2]


def test_other_epochs_give_other_episodes():
    sampler = make_sampler()
    first = list(sampler)
    sampler.set_epoch(1)
    assert not any(batch in first for batch in sampler)


def test_episodes_do_not_touch_the_global_random_state():
    state = torch.get_rng_state()
    list(make_sampler())
    assert torch.equal(torch.get_rng_state(), state)


def test_without_enrollment_places_there_are_only_queries():
    shape = EpisodeShape(num_speakers=3, max_shots=0, num_queries=5)
    batches = list(make_sampler(shape=shape))
    assert {len(batch) for batch in batches} == {15}


def test_too_few_speakers_are_refused():
    with pytest.raises(ValueError, match="Got 1 speakers to train on; expected at least 2"):
        make_sampler({"anna": 9, SILENCE: 9})


@pytest.mark.parametrize("name", ["none_fraction", "elsewhere"])
@pytest.mark.parametrize("fraction", [-0.1, 20])
def test_share_that_is_none_is_refused(name, fraction):
    with pytest.raises(ValueError, match=f"Got {name} {fraction}; expected a share, from 0"):
        make_sampler(**{name: fraction})


def test_items_of_a_speaker_have_one_voice_and_other_speakers_another():
    for batch in make_sampler(num_episodes=5):
        voices = torch.tensor([item.voice for item in batch]).view(3, SHAPE.per_speaker)
        assert torch.equal(voices, torch.arange(3).unsqueeze(1).expand_as(voices))


def test_share_of_speakers_who_enroll_in_another_room():
    moved = []
    for batch in make_sampler(num_episodes=300, elsewhere=0.4):
        rooms = torch.tensor([item.room for item in batch]).view(3, SHAPE.per_speaker)
        enrolled, asked = rooms[:, :4], rooms[:, 4:]
        assert (enrolled == enrolled[:, :1]).all() and (asked == asked[:, :1]).all()
        assert len({*enrolled[:, 0].tolist(), *asked[:, 0].tolist()}) >= 3, "rooms are not shared"
        moved += (enrolled[:, 0] != asked[:, 0]).tolist()
    assert sum(moved) / len(moved) == pytest.approx(0.4, abs=0.06)


def test_where_speakers_enroll_changes_nothing_else():
    """And so what a shared model, without enrollment places, is trained on."""
    here, there = make_sampler(elsewhere=0.0), make_sampler(elsewhere=1.0)
    for one, other in zip(here, there, strict=True):
        assert [item[:2] + item[3:] for item in one] == [item[:2] + item[3:] for item in other]


def test_few_speakers_are_drawn_more_than_once():
    sizes = {"anna": 9, "ben": 9}
    speakers = speakers_of(sizes)
    for batch in make_sampler(sizes, num_episodes=10):
        drawn = [speakers[asked[-1]] for _, asked in parts(batch)]
        assert set(drawn) == {"anna", "ben"}, "both, and one of them twice"


def batch_of(items):
    """A batch whose features, lengths and labels tell the utterance."""
    numbers = torch.tensor([float(item.index) for item in items])
    feats = numbers.view(-1, 1, 1).expand(-1, 6, 2)
    filled = torch.tensor([item.filled for item in items])
    voices = torch.tensor([item.voice for item in items])
    return feats, 1 / (1 + numbers), numbers.long(), filled, numbers % 2 == 0, voices


def test_split_gives_back_what_was_drawn():
    for batch in make_sampler(num_episodes=10, none_fraction=0.3):
        enrollment, queries, spoken, voices = SHAPE.split(*batch_of(batch))
        assert voices.tolist() == [0, 1, 2]
        assert enrollment.feats.shape == (3, 4, 6, 2) and queries.feats.shape == (3, 5, 6, 2)
        assert enrollment.lens.shape == enrollment.labels.shape == (3, 4)
        assert torch.equal(queries.feats[:, :, 0, 0].long(), queries.labels)
        assert torch.equal(spoken, queries.labels % 2 == 0)
        torch.testing.assert_close(queries.lens, 1 / (1.0 + queries.labels))
        for n, (enrolled, asked) in enumerate(parts(batch)):
            assert queries.labels[n].tolist() == asked
            present = enrollment.lens[n] > 0
            assert enrollment.labels[n, present].tolist() == enrolled
            assert enrollment.feats[n, present, 0, 0].tolist() == enrolled
            torch.testing.assert_close(
                enrollment.lens[n, present], 1 / (1.0 + torch.tensor(enrolled))
            )


def test_split_of_a_shape_without_enrollment():
    shape = EpisodeShape(num_speakers=3, max_shots=0, num_queries=5)
    batch = [Item(index, index // 5, index // 5) for index in range(15)]
    enrollment, queries, *_ = shape.split(*batch_of(batch))
    assert enrollment.feats.shape == (3, 0, 6, 2) and enrollment.lens.shape == (3, 0)
    assert not enrollment.present.any()
    assert queries.feats.shape == (3, 5, 6, 2)
    assert queries.labels.flatten().tolist() == list(range(15))


def test_twins_are_drawn_as_another_voice():
    speakers = [name for name in "abcdef" for _ in range(4)]
    shape = EpisodeShape(num_speakers=5, max_shots=1, num_queries=2)
    (episode,) = EpisodeBatchSampler(rows_of(speakers), shape, num_episodes=1, twins=2)
    names = {item.voice: speakers[item.index] for item in episode}
    assert [names[3], names[4]] == [names[0], names[1]] and len(set(names.values())) == 3
    with pytest.raises(ValueError, match="Got 3 twins"):
        EpisodeBatchSampler(rows_of(speakers), shape, num_episodes=1, twins=3)


def test_every_utterance_may_have_a_room_of_its_own():
    for episode in make_sampler(num_episodes=2, own_rooms=True):
        assert len({item.room for item in episode}) == len(episode)
