"""Noise folders: found as utterances are, and refused as a whole before any work is done."""

import shutil

import numpy as np
import pytest
import soundfile
from tiny_runs import GOOGLE, load_prepare

from vofp_plugin.dataio.noise import check_noises, load_noises, noise_names
from vofp_plugin.runs.runner import run

RATE = 16000


def write(path, samples=None, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    default = 0.1 * np.random.default_rng(0).normal(size=4 * RATE)
    soundfile.write(path, default if samples is None else samples, rate, format="WAV")


def test_noises_are_found_as_utterances_are(tmp_path):
    for name in ("b.wav", "A.WAV", "indoors/fan.Wav"):
        write(tmp_path / name)
    for name in ("._b.wav", ".trash/c.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
    assert noise_names(tmp_path) == ["A.WAV", "b.wav", "indoors/fan.Wav"]
    assert len(load_noises(tmp_path, "train")) == 3
    check_noises(tmp_path, RATE, 2 * RATE)


def spoil(folder):
    """Bad noises of every kind; returns the names."""
    noise = 0.1 * np.random.default_rng(0).normal(size=4 * RATE)
    pause = noise.copy()
    pause[RATE : 3 * RATE] = 0
    write(folder / "pause.wav", pause)
    write(folder / "fast.wav", noise, 44100)
    write(folder / "stereo.wav", np.stack([noise, noise], 1))
    write(folder / "short.wav", noise[:RATE])
    (folder / "text.wav").write_text("no audio")
    write(folder / "sub" / "silent.wav", 0 * noise)
    return ("pause.wav", "fast.wav", "stereo.wav", "short.wav", "text.wav", "silent.wav")


def test_bad_noises_are_told_all_at_once(tmp_path):
    names = spoil(tmp_path)
    write(tmp_path / "good.wav")
    with pytest.raises(ValueError, match="Got 6 noises in .* that cannot be used: ") as error:
        check_noises(tmp_path, RATE, 2 * RATE)
    assert all(name in str(error.value) for name in names)
    assert "good.wav" not in str(error.value)


def test_noises_that_preparing_may_bring_are_not_missed(tmp_path):
    check_noises(tmp_path / "not_yet", RATE, 2 * RATE)
    check_noises(None, RATE, 2 * RATE)


def test_bad_noises_are_told_before_the_data_are_prepared(tmp_path, google_corpus):
    data_folder = shutil.copytree(google_corpus, tmp_path / "data")
    spoil(data_folder / "_background_noise_")
    module, function = load_prepare(GOOGLE)
    options = [f"--data_folder={data_folder}", f"--output_folder={tmp_path / 'run'}"]
    with pytest.raises(ValueError, match="Got 6 noises"):
        run(getattr(module, function), [str(GOOGLE / "hparams" / "shared.yaml"), *options])
    assert not (tmp_path / "run").exists()
