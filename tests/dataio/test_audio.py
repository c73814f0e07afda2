"""Audio: files for training and for inference, waveforms, and the word in a long clip."""

import numpy as np
import pytest
import soundfile
import torch

from vofp_plugin.dataio.audio import load_audio, loudest_start, read_audio

RATE = 16000


def noise(num_samples=RATE, scale=0.1):
    return scale * np.random.default_rng(0).uniform(-1, 1, num_samples)


@pytest.mark.parametrize("scale", [2**7, 2**15, 2**31])
@pytest.mark.parametrize("read", [read_audio, load_audio])
def test_floats_in_the_scale_of_integers_are_told(tmp_path, read, scale):
    soundfile.write(tmp_path / "a.wav", noise(scale=scale), RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match="a.wav has samples of .* full scale at 1: divide"):
        read(tmp_path / "a.wav")


def test_floats_a_little_above_full_scale_are_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(scale=1.5), RATE, subtype="FLOAT")
    assert read_audio(tmp_path / "a.wav").max() > 1.4


def test_training_refuses_other_rates_and_names_the_option(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(), 44100)
    with pytest.raises(ValueError, match="44100 Hz; expected 16000 Hz.*--sample_rate=44100"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [8000, 44100])
def test_inference_resamples_and_mixes_down(tmp_path, rate):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, 0 * tone], axis=1), rate)
    wav = load_audio(tmp_path / "a.wav", RATE)
    expected = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(RATE) / RATE)
    assert wav.shape == (RATE,)
    torch.testing.assert_close(wav[500:-500], expected[500:-500], atol=0.01, rtol=0)


def word_at(start, length=3 * RATE):
    """A word of 0.5 s in a quiet room."""
    wav = 0.001 * torch.randn(length)
    wav[start : start + RATE // 2] += 0.1 * torch.randn(RATE // 2)
    return wav


@pytest.mark.parametrize("place", [0, 5000, 20000, 40000])
def test_word_is_found_wherever_it_is(place):
    start = loudest_start(word_at(place), RATE, RATE)
    assert start <= place and place + RATE // 2 <= start + RATE


def test_click_and_offset_do_not_hide_the_word():
    wav = word_at(30000) + 0.2
    wav[5000:5050] += 1.0
    assert 22000 <= loudest_start(wav, RATE, RATE) <= 30000


def test_place_of_the_word_does_not_depend_on_level():
    wav = word_at(20000)
    assert loudest_start(wav, RATE, RATE) == loudest_start(0.001 * wav, RATE, RATE)


@pytest.mark.parametrize("length, start", [(RATE, 0), (RATE + 50, 25), (2 * RATE, RATE // 2)])
def test_clip_without_a_loudest_place_is_read_in_its_middle(length, start):
    assert loudest_start(torch.zeros(length), RATE, RATE) == start
