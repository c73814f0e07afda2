"""Level: features, and so answers, do not depend on how loud a recording is."""

import pytest
import torch
from speechbrain.lobes.features import Fbank
from voices import RATE, utter

from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.dataio.level import LOUDEST, to_one_level
from vofp_plugin.dataio.noise import coloured_noise, mix


def decibels(power):
    return 10 * power.log10().item()


@pytest.fixture
def front_end():
    return FrontEnd(Fbank(n_mels=40))


@pytest.mark.parametrize("level", [0, -20, -45, -55, -70])
def test_features_do_not_depend_on_level(front_end, level):
    wav = utter() / utter().abs().max()
    faint = wav * 10 ** (level / 20)
    torch.testing.assert_close(front_end(wav[None]), front_end(faint[None]), atol=0.01, rtol=0)


def test_features_of_16_bit_speech_at_minus_55_dbfs_stay_the_same(front_end):
    """But for what rounding to 16 bits took from its quietest moments."""
    wav = utter() / utter().abs().max()
    faint = (wav * 10 ** (-55 / 20) * 32768).round() / 32768
    loud, feats = front_end(wav[None]), front_end(faint[None])
    speech = loud > loud.max() - 30
    assert (feats - loud)[speech].abs().mean() < 0.5


def test_clips_of_a_batch_have_a_level_each(front_end):
    wavs = torch.stack([utter(), 0.01 * utter(take=1)])
    feats = torch.cat([front_end(wav[None]) for wav in wavs])
    torch.testing.assert_close(front_end(wavs), feats)


@pytest.mark.parametrize("length", [RATE, RATE // 20])
def test_loudest_moment_has_the_level(length):
    (wav,) = to_one_level(0.003 * torch.randn(1, length), RATE)
    assert decibels(wav.square().mean()) == pytest.approx(LOUDEST, abs=1.5)


def test_offset_and_noise_change_the_level_of_speech_little():
    wav, noise = utter()[None], coloured_noise(RATE, 1.0)[None]
    (clean,) = to_one_level(wav, RATE)
    (offset,) = to_one_level(wav + 0.3, RATE)
    assert (offset.std() / clean.std()).item() == pytest.approx(1, abs=0.05)
    gain = to_one_level(mix(wav, noise, torch.tensor([5.0])), RATE).abs().max() / clean.abs().max()
    assert 20 * abs(gain.log10().item()) < 2


def test_digital_silence_stays_silent():
    assert torch.equal(to_one_level(torch.zeros(1, RATE), RATE), torch.zeros(1, RATE))
