"""Streams of an episode: reproducible, labelled by target, in one room each."""

import torch

from vofp_plugin.tasks.streams import NOBODY, StreamMaker, Streams

FEATS = torch.randn(3, 2, 50, 8)  # 3 speakers, 2 queries each
SPEECH = torch.ones(3, 2, 50).long()
SPEECH[:, :, :10] = 0


def drawn(maker, seed):
    return maker(FEATS, SPEECH, torch.Generator().manual_seed(seed))


def test_the_same_seed_makes_the_same_streams():
    maker = StreamMaker(per_speaker=2, segments=4)
    one, again, other = drawn(maker, 0), drawn(maker, 0), drawn(maker, 1)
    assert torch.equal(one.feats, again.feats) and torch.equal(one.speakers, again.speakers)
    assert not torch.equal(one.feats, other.feats)


def test_labels_say_whose_frames_are_heard():
    streams = drawn(StreamMaker(per_speaker=4, segments=5), 0)
    assert (
        streams.feats.shape == (12, 200, 8)
        and streams.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    )
    labels, every = streams.labels(), FEATS.flatten(0, 2)
    for feats, speakers, target, row in zip(*streams, labels, strict=True):
        place = (feats.unsqueeze(1) == every).all(dim=2).int().argmax(dim=1)
        who = torch.where(place % 50 < 10, NOBODY, place // 100)
        assert torch.equal(speakers, who)
        assert torch.equal(row == 1, who == target)
        assert torch.equal(row == 0, who == NOBODY)


def test_all_targets_are_heard_about_as_often_as_asked():
    labels = drawn(StreamMaker(per_speaker=300, segments=4, target_share=0.4), 0).labels()
    share = (labels == 1).sum() / (labels > 0).sum()
    assert 0.55 < share < 0.65, "0.4, and a third of the rest"


def test_a_stream_is_in_one_room():
    heard = []

    def augment(feats, voices, rooms, generator):
        heard.append(rooms)
        return feats + rooms.view(-1, 1, 1)

    streams = drawn(StreamMaker(per_speaker=1, segments=3, augmentations=[augment]), 0)
    plain = drawn(StreamMaker(per_speaker=1, segments=3), 0)
    assert heard[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    difference = (streams.feats - plain.feats).mean(dim=(1, 2))
    torch.testing.assert_close(difference, torch.arange(3.0))


def test_who_speaks_is_an_other_for_every_other_target():
    streams = Streams(torch.zeros(2, 3, 8), torch.tensor([[0, 1, -1]] * 2), torch.tensor([0, 1]))
    assert streams.labels().tolist() == [[1, 2, 0], [2, 1, 0]]
