"""Personal voice activity: frames of whole recordings, and segments in seconds."""

import pytest
import torch
from speechbrain.lobes.features import Fbank
from torch import nn

from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.inference.personal_vad import PersonalVAD


class LoudFrames(nn.Module):
    """A model that takes loud frames for speech."""

    def __init__(self):
        super().__init__()
        self.middle = nn.Parameter(torch.tensor(-40.0))

    def forward(self, feats, lens=None, weights=None):
        level = feats.amax(dim=2) - self.middle
        return torch.stack([-level, level], dim=2).log_softmax(2)


@pytest.fixture
def vad():
    return PersonalVAD({"model": LoudFrames()}, {"front_end": FrontEnd(Fbank(n_mels=40))})


@pytest.fixture
def recording():
    """Three seconds, of which the second one is loud."""
    wav = torch.zeros(48000)
    wav[16000:32000] = 0.1 * torch.randn(16000)
    return wav


def test_segments_are_where_the_speech_is(vad, recording):
    ((start, end),) = vad.segments(recording)
    assert start == pytest.approx(1, abs=0.05) and end == pytest.approx(2, abs=0.05)
    assert vad.segments(0 * recording) == []


def test_recordings_of_any_length_are_answered_whole(vad, recording):
    both = vad.activity([recording, recording[:40000]])
    assert both.shape == (2, 301)
    assert torch.equal(both[0] > 0.5, vad.activity([recording])[0] > 0.5)


def test_bad_recordings_are_told(vad):
    with pytest.raises(ValueError, match="Recording 1 holds NaN"):
        vad.activity([torch.full((16000,), float("nan"))])
