"""Audio: files for training and for inference, and waveforms."""

import numpy as np
import pytest
import soundfile
import torch

from vofp_plugin.dataio.audio import load_audio, read_audio

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
def test_inference_resamples_and_mixes_down(tmp_path, rate, caplog):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, 0 * tone], axis=1), rate)
    wav = load_audio(tmp_path / "a.wav", RATE)
    assert f"a.wav has 2 channels of {rate} Hz; it is read as one of 16000 Hz" in caplog.text
    expected = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(RATE) / RATE)
    assert wav.shape == (RATE,)
    torch.testing.assert_close(wav[500:-500], expected[500:-500], atol=0.01, rtol=0)
