"""Features: reading clips, noise at the ratio asked for, and a cache that knows its inputs."""

import math
import os

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.lobes.features import Fbank
from voices import RATE, utter

from vofp_plugin.augment import noise_condition
from vofp_plugin.augment.bad_enrollment import BadCondition
from vofp_plugin.augment.noise_condition import NoiseCondition
from vofp_plugin.dataio import quality
from vofp_plugin.dataio.features import cached_features
from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.dataio.noise import coloured_noise, load_noises, mix, random_chunks
from vofp_plugin.evaluation.conditions import load_bad_utterances


@pytest.fixture
def front_end():
    return FrontEnd(Fbank(n_mels=20))


def write_wav(path, num_samples=RATE, rate=RATE, seed=0, **options):
    samples = 0.1 * np.random.default_rng(seed).standard_normal(num_samples)
    soundfile.write(path, samples, rate, **options)
    return path


def make_row(path, spk_id="anna", num_samples=RATE):
    return {"ID": path.stem, "wav": str(path), "start": 0, "stop": num_samples, "spk_id": spk_id}


@pytest.fixture
def rows(tmp_path):
    return [make_row(write_wav(tmp_path / f"{i}.wav", seed=i)) for i in range(5)]


def decibels(power):
    return 10 * math.log10(power)


# Reading


def test_clip_is_the_part_that_the_row_names(tmp_path, front_end):
    path = tmp_path / "ramp.wav"
    ramp = np.arange(2 * RATE, dtype=np.float32) / (4 * RATE)
    soundfile.write(path, ramp, RATE, subtype="FLOAT")
    row = {**make_row(path), "start": 1000, "stop": 1000 + RATE}
    torch.testing.assert_close(front_end.read(row), torch.from_numpy(ramp[1000 : 1000 + RATE]))


@pytest.mark.parametrize(
    "num_samples, expected",
    [(4, [0, -1, 2, -3]), (3, [0, -1, 2, 0]), (6, [2, -3, 4, -5]), (7, [-3, 4, -5, 6])],
)
def test_clips_get_one_length(num_samples, expected):
    front_end = FrontEnd(None, sample_rate=4)
    rising = torch.arange(num_samples) * torch.tensor([1, -1]).repeat(4)[:num_samples]
    assert front_end.fit(rising).tolist() == expected
    row = {"start": 0, "stop": num_samples}
    assert front_end.relative_length(row) == min(1.0, num_samples / 4)


def test_clip_duration_gives_the_number_of_samples(front_end):
    assert FrontEnd(None, sample_rate=8000, clip_duration=1.5).num_samples == 12000
    assert front_end(torch.randn(2, RATE)).shape == (2, 101, 20)


def test_wrong_rate_is_refused(tmp_path, front_end):
    row = make_row(write_wav(tmp_path / "slow.wav", rate=8000))
    with pytest.raises(ValueError, match=r"slow.wav has 8000 Hz; expected 16000 Hz. Resample it"):
        front_end.read(row)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_audio_that_is_no_number_is_refused(tmp_path, front_end, value):
    path = tmp_path / "broken.wav"
    soundfile.write(path, np.full(RATE, value), RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match="broken.wav holds NaN"):
        front_end.read(make_row(path))


def test_empty_audio_is_refused(tmp_path, front_end):
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0), RATE)
    with pytest.raises(ValueError, match="empty.wav is empty"):
        front_end.read(make_row(path))


def test_undecodable_audio_is_refused(tmp_path, front_end):
    path = tmp_path / "text.wav"
    path.write_text("no audio")
    with pytest.raises(ValueError, match="text.wav cannot be decoded"):
        front_end.read(make_row(path))


# The cache


def caches(folder):
    return sorted(path.name for path in folder.iterdir())


def test_features_come_in_the_order_of_the_rows(tmp_path, rows, front_end):
    cached = cached_features(rows, front_end, tmp_path / "cache", batch_size=2)
    expected = front_end(torch.stack([front_end.read(row) for row in rows]))
    assert cached.shape == (5, 101, 20) and cached.dtype == np.float16
    np.testing.assert_allclose(cached, expected, atol=0.05)  # float16 of up to 100 dB


def test_cache_is_used_again(tmp_path, rows, front_end, monkeypatch):
    first = np.array(cached_features(rows, front_end, tmp_path / "cache"))
    monkeypatch.setattr(front_end, "read", lambda row: pytest.fail("read again"))
    np.testing.assert_array_equal(cached_features(rows, front_end, tmp_path / "cache"), first)
    assert len(caches(tmp_path / "cache")) == 1


def test_bad_utterances_are_assessed_once(tmp_path, rows, front_end, monkeypatch):
    condition = BadCondition("slightly_clipped", [])
    soundfile.write(tmp_path / "speech.wav", utter(), RATE)
    rows.append(make_row(tmp_path / "speech.wav"))
    arguments = (rows, [0] * 6, front_end, tmp_path / "cache")
    first = load_bad_utterances(*arguments, condition)
    assert first.lens.tolist() == [0.0] * 5 + [1.0], "noise is refused, speech is not"
    monkeypatch.setattr(quality, "assess", lambda *_: pytest.fail("assessed again"))
    assert torch.equal(load_bad_utterances(*arguments, condition).lens, first.lens)


def test_equal_front_ends_share_a_cache(tmp_path, rows, front_end):
    for each in (front_end, FrontEnd(Fbank(n_mels=20))):
        cached_features(rows, each, tmp_path / "cache")
    assert len(caches(tmp_path / "cache")) == 1


def test_cache_is_renewed_when_a_file_changes(tmp_path, rows, front_end):
    before = np.array(cached_features(rows, front_end, tmp_path / "cache"))
    path = write_wav(tmp_path / "2.wav", seed=99)  # the size stays the same
    os.utime(path, (0, 12345))
    after = cached_features(rows, front_end, tmp_path / "cache")
    changed = (before != after).any(axis=(1, 2))
    assert changed.tolist() == [False, False, True, False, False]


def narrow_range(wavs):
    """Features whose level is within 70 dB of their loudest, which broadband noise always is."""
    feats = Fbank(n_mels=20)(wavs)
    return feats.maximum(feats.amax(dim=(1, 2), keepdim=True) - 70)


@pytest.mark.parametrize(
    "compute_features",
    [Fbank(n_mels=20, f_max=7000), Fbank(n_mels=20, hop_length=20), narrow_range],
)
def test_cache_is_renewed_when_the_front_end_changes(tmp_path, rows, front_end, compute_features):
    cached_features(rows, front_end, tmp_path / "cache")
    cached_features(rows, FrontEnd(compute_features), tmp_path / "cache")
    assert len(caches(tmp_path / "cache")) == 2


def test_cache_is_renewed_when_rows_change(tmp_path, rows, front_end):
    cached_features(rows, front_end, tmp_path / "cache")
    assert len(cached_features(rows[:3], front_end, tmp_path / "cache")) == 3
    later = [{**row, "start": 100} for row in rows]
    cached_features(later, front_end, tmp_path / "cache")
    assert len(caches(tmp_path / "cache")) == 3


def test_cache_is_renewed_when_the_noise_changes(tmp_path, rows, front_end):
    noises = load_noises(None, "test", seconds=4.0)
    conditions = [
        None,
        NoiseCondition(noises, [5.0, 10.0]),
        NoiseCondition(noises, [0.0, 10.0]),
        NoiseCondition(noises[:2], [5.0, 10.0]),
        NoiseCondition(noises[:1], [5.0, 10.0]),
        NoiseCondition(noises[1:2], [5.0, 10.0]),
        NoiseCondition(noises, [5.0, 10.0]),
    ]
    for condition in conditions:
        cached_features(rows, front_end, tmp_path / "cache", condition)
    assert len(caches(tmp_path / "cache")) == 6


def test_cache_is_renewed_when_the_code_changes(tmp_path, rows, front_end, monkeypatch):
    """Of how noise is added, or clips are cut, which no setting tells."""
    condition = NoiseCondition(load_noises(None, "test", seconds=4.0), [5.0, 10.0])
    cached_features(rows, front_end, tmp_path / "cache", condition)
    monkeypatch.setattr(noise_condition, "mix", lambda wav, noise, snr: wav + noise)
    cached_features(rows, front_end, tmp_path / "cache", condition)
    assert len(caches(tmp_path / "cache")) == 2
    pad = torch.nn.functional.pad
    fits = {
        "cut at the start": lambda wav: pad(wav[-16000:], (0, max(0, 16000 - len(wav)))),
        "padded in front": lambda wav: pad(wav[:16000], (max(0, 16000 - len(wav)), 0)),
    }
    for fit in fits.values():
        monkeypatch.setattr(front_end, "fit", fit)
        cached_features(rows, front_end, tmp_path / "cache", condition)
    assert len(caches(tmp_path / "cache")) == 4


def test_long_clips_are_told_and_searched_for_the_word(tmp_path, front_end, caplog):
    word, path = utter(), tmp_path / "long.wav"
    soundfile.write(path, torch.cat([0.0005 * torch.randn(2 * RATE), word]), RATE, subtype="FLOAT")
    read = front_end.read(make_row(path, num_samples=3 * RATE))
    assert read.square().sum() > 0.99 * word.square().sum()
    cached_features([make_row(path, num_samples=3 * RATE)], front_end, tmp_path / "cache")
    assert "1 of 1 clips are much longer than 1.0 s, such as" in caplog.text
    assert "set start and stop in the manifest" in caplog.text


def test_clip_shorter_than_its_manifest_says_is_refused(tmp_path, front_end):
    row = make_row(write_wav(tmp_path / "short.wav", num_samples=800))
    with pytest.raises(ValueError, match="short.wav has 800 samples; expected 16000 as the"):
        front_end.read(row)


def test_nothing_remains_when_a_clip_is_refused(tmp_path, rows, front_end):
    write_wav(tmp_path / "3.wav", rate=8000)
    with pytest.raises(ValueError, match="3.wav has 8000 Hz"):
        cached_features(rows, front_end, tmp_path / "cache")
    assert caches(tmp_path / "cache") == []


def test_missing_file_is_named(tmp_path, rows, front_end):
    (tmp_path / "3.wav").unlink()
    with pytest.raises(FileNotFoundError, match="3.wav"):
        cached_features(rows, front_end, tmp_path / "cache")


# Noise


@pytest.mark.parametrize("snr", [-5.0, 0.0, 20.0])
def test_mixed_noise_has_the_ratio_asked_for(snr):
    wavs, noises = 0.1 * torch.randn(3, 800), torch.randn(3, 800) * torch.tensor([[1.0], [5], [9]])
    added = mix(wavs, noises, torch.tensor([snr, snr + 1, snr + 2])) - wavs
    for n in range(3):
        ratio = decibels(wavs[n].square().mean() / added[n].square().mean())
        assert ratio == pytest.approx(snr + n, abs=0.01)


def test_silent_clip_and_silent_noise_stay_finite():
    zeros, ones, snr = torch.zeros(1, 800), torch.ones(1, 800), torch.zeros(1)
    assert torch.equal(mix(zeros, ones, snr), zeros)
    assert torch.equal(mix(ones, zeros, snr), ones)


def tones(count, length=4 * RATE):
    """Noises that are told apart by their frequency."""
    time = torch.arange(length) / RATE
    return [torch.sin(2 * math.pi * 500 * (kind + 1) * time) for kind in range(count)]


def loudest(wav):
    """Which of `tones` this is."""
    spectrum = torch.fft.rfft(wav).abs()
    return round(spectrum.argmax().item() * RATE / len(wav) / 500) - 1


def test_noise_condition_keeps_ratio_and_kind_of_a_speaker():
    condition = NoiseCondition(tones(3), [5.0, 10.0])
    kinds, ratios = {}, []
    for speaker in map(str, range(30)):
        for take in range(3):
            wav = 0.1 * torch.randn(RATE)
            row = {"ID": f"{speaker}_{take}", "spk_id": speaker}
            noise = condition.add(wav, row) - wav
            kinds.setdefault(speaker, set()).add(loudest(noise))
            ratios.append(decibels(wav.square().mean() / noise.square().mean()))
    assert all(len(heard) == 1 for heard in kinds.values())
    assert set().union(*kinds.values()) == {0, 1, 2}
    assert 4.99 < min(ratios) < 5.7 and 9.3 < max(ratios) < 10.01


def test_noise_of_an_utterance_is_drawn_once_for_all():
    condition, wav = NoiseCondition(load_noises(None, "test"), [0.0, 10.0]), torch.randn(RATE)
    row = {"ID": "up_1", "spk_id": "anna"}
    noisy = condition.add(wav, row)
    torch.manual_seed(5)
    assert torch.equal(condition.add(wav, row), noisy)
    assert not torch.equal(condition.add(wav, {**row, "ID": "up_2"}), noisy)


def test_training_and_test_hear_different_halves(tmp_path):
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.concatenate([np.full(RATE, 0.25), np.full(RATE, 0.5)]), RATE)
    (train,), (test,) = (load_noises(tmp_path, part) for part in ("train", "test"))
    assert train.unique().tolist() == [0.25] and test.unique().tolist() == [0.5]


def test_coloured_noises_are_the_same_every_time():
    first, second = load_noises(None, "train", seconds=2.0), load_noises(None, "train", seconds=2.0)
    assert len(first) == 3 and all(map(torch.equal, first, second))


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_coloured_noise_falls_as_asked(exponent):
    power = torch.fft.rfft(coloured_noise(2**17, exponent)).abs().square()
    low, high = power[100:200].mean(), power[10000:20000].mean()
    assert decibels(low / high) == pytest.approx(exponent * 20, abs=1.5)


def test_folder_without_noise_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("no audio")
    with pytest.raises(FileNotFoundError, match="Found no .wav or .flac file in .*--noise_folder"):
        load_noises(tmp_path, "train")


def test_noise_of_wrong_rate_is_refused(tmp_path):
    write_wav(tmp_path / "noise.wav", rate=8000)
    with pytest.raises(ValueError, match="noise.wav has 8000 Hz"):
        load_noises(tmp_path, "train")


def test_noise_of_two_channels_is_refused(tmp_path):
    soundfile.write(tmp_path / "noise.wav", torch.rand(9, 2), RATE)
    with pytest.raises(ValueError, match="noise.wav has 2 channels; expected 1. Mix it down"):
        load_noises(tmp_path, "train", RATE)


@pytest.mark.parametrize(
    "samples, reason",
    [
        ([0.0] * 9, "is silent; expected noise"),
        ([], "is empty"),
        ([0.1, float("nan")], "holds NaN"),
    ],
)
def test_noise_that_is_none_is_refused(tmp_path, samples, reason):
    soundfile.write(tmp_path / "noise.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match=f"noise.wav {reason}"):
        load_noises(tmp_path, "train", RATE)


def test_noise_with_a_second_of_silence_is_refused(tmp_path):
    noise = torch.rand(6 * RATE)
    noise[RATE : 2 * RATE - 1] = 0.0  # too short to leave a clip without noise
    soundfile.write(tmp_path / "rain.wav", noise, RATE)
    assert len(load_noises(tmp_path, "train")[0]) == 3 * RATE
    noise[4 * RATE :] = 0.0
    soundfile.write(tmp_path / "rain.wav", noise, RATE)
    with pytest.raises(ValueError, match="rain.wav is silent for 2.0 s; .* cut the silence out"):
        load_noises(tmp_path, "train")


def test_unknown_part_is_refused():
    with pytest.raises(ValueError, match="Got part 'valid'"):
        load_noises(None, "valid")


def test_noise_shorter_than_a_clip_is_refused():
    with pytest.raises(ValueError, match="Got a noise of 50 samples; expected at least 80"):
        random_chunks(torch.randn(50), 80, 1)
    assert random_chunks(torch.randn(80), 80, 2).shape == (2, 80)


def test_one_noise_is_for_every_speaker():
    noises = [torch.zeros(1600) for _ in range(3)]
    for kind, noise in enumerate(noises):
        noise[kind::3] = 1.0  # each is silent where the others are not, wherever it is cut
    wav, kinds = torch.ones(800), set()
    for speaker in "abcdef":
        row = {"ID": f"{speaker}_1", "spk_id": speaker}
        own, *others = (
            NoiseCondition(some, [5.0, 10.0]).add(wav, row) - wav
            for some in (noises, *([noise] for noise in noises))
        )
        assert all(other.any() for other in others)
        (kind,) = [kind for kind, other in enumerate(others) if torch.equal(own, other)]
        kinds.add(kind)
    assert kinds == {0, 1, 2}


def test_damaged_cache_is_named(tmp_path, rows, front_end):
    cached_features(rows, front_end, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    for content in (path.read_bytes()[:200], b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"Cannot read the cached array .*{path.name} .*dele"):
            cached_features(rows, front_end, tmp_path / "cache")


def test_noise_of_one_sample_is_refused(tmp_path):
    soundfile.write(tmp_path / "click.wav", [0.5], RATE)
    noises = load_noises(tmp_path, "test")
    with pytest.raises(ValueError, match="Got a noise of 0 samples; expected at least"):
        random_chunks(noises[0], RATE, 1)
