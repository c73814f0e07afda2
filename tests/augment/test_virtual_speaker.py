"""Augmentation of features: virtual speakers, and noise added to features."""

import math

import pytest
import torch
from speechbrain.lobes.features import Fbank

from vofp_plugin.augment.feature_noise import FeatureNoise
from vofp_plugin.augment.virtual_speaker import VirtualSpeaker, warp_band
from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.dataio.noise import load_noises, mix, random_chunks
from vofp_plugin.utils.seeds import seeded

OF_A_SPEAKER = {"warp": 0.15, "tempo": 0.12, "tilt": 6.0, "ripple": 3.0}
OF_AN_UTTERANCE = {"shift": 0.1, "gain": 6.0}


def smooth_feats(num_items=1):
    """Features in dB that change slowly over time and frequency, as speech does."""
    time = torch.linspace(0, 6, 101).view(1, -1, 1)
    band = torch.linspace(0, 3, 40).view(1, 1, -1)
    phase = torch.rand(num_items, 1, 1)
    return 15 * torch.sin(time + band + 6 * phase) - 30


def places(num_speakers, feats):
    """Voices and rooms of items, one of each for every speaker, speaker after speaker."""
    alike = torch.arange(num_speakers).repeat_interleave(len(feats) // num_speakers)
    return alike, alike


def test_zero_settings_change_nothing():
    feats = smooth_feats(6)
    torch.testing.assert_close(VirtualSpeaker()(feats, *places(2, feats)), feats, rtol=0, atol=0.01)


@pytest.mark.parametrize("name", OF_A_SPEAKER)
def test_utterances_of_a_speaker_change_alike(name):
    feats = smooth_feats().expand(8, -1, -1)
    changed = VirtualSpeaker(**{name: OF_A_SPEAKER[name]})(feats, *places(2, feats))
    for items in changed.split(4):
        torch.testing.assert_close(items, items[:1].expand(4, -1, -1))
        assert (items[0] - feats[0]).abs().max() > 0.1
    assert (changed[0] - changed[4]).abs().max() > 0.1


@pytest.mark.parametrize("name", OF_AN_UTTERANCE)
def test_shift_and_gain_differ_between_utterances(name):
    feats = smooth_feats().expand(4, -1, -1)
    changed = VirtualSpeaker(**{name: OF_AN_UTTERANCE[name]})(feats, *places(1, feats))
    assert all((a - b).abs().max() > 0.1 for a, b in zip(changed, changed[1:], strict=False))


def test_gain_is_a_level_within_its_limits():
    feats = smooth_feats(200)
    change = VirtualSpeaker(gain=6.0)(feats, *places(50, feats)) - feats
    gains = change.mean(dim=(1, 2))
    torch.testing.assert_close(change, gains.view(-1, 1, 1).expand_as(change), rtol=0, atol=0.02)
    assert -6.01 < gains.min() < -5 and 5 < gains.max() < 6.01


def test_tilt_is_a_slope_over_frequency():
    feats = smooth_feats(200)
    change = (VirtualSpeaker(tilt=6.0)(feats, *places(200, feats)) - feats).mean(dim=1)
    torch.testing.assert_close(change[:, 0], -change[:, -1], rtol=0, atol=0.02)
    assert 5 < change[:, 0].abs().max() < 6.01
    assert change.diff(dim=1).std(dim=1).max() < 0.02, "in dB per band"


def test_shift_moves_frames():
    feats = torch.zeros(200, 101, 40)
    feats[:, 50] = 1.0
    frames = VirtualSpeaker(shift=0.1)(feats, *places(50, feats)).sum(dim=2).argmax(dim=1)
    assert 40 <= frames.min() < 43 and 57 < frames.max() <= 60


def test_warp_moves_frequencies_by_the_factor():
    hertz = torch.tensor([200.0, 1000.0, 4000.0])
    top = math.log1p(8000 / 700)
    band = torch.log1p(hertz / 700) / top
    expected = torch.log1p(1.1 * hertz / 700) / top
    torch.testing.assert_close(warp_band(band, torch.tensor(1.1), 8000.0), expected)


def test_change_depends_on_the_generator_alone():
    virtual_speaker, feats = VirtualSpeaker(**OF_A_SPEAKER, **OF_AN_UTTERANCE), smooth_feats(6)
    changed = [
        virtual_speaker(feats, *places(2, feats), torch.Generator().manual_seed(s))
        for s in (1, 1, 2)
    ]
    assert torch.equal(changed[0], changed[1]) and not torch.equal(changed[0], changed[2])


# Noise


@pytest.fixture(scope="module")
def front_end():
    return FrontEnd(Fbank(n_mels=40))


def speech_like(num_items=4):
    """Clips of a harmonic sound with a rise and a fall, over a faint noise floor, (B, 16000)."""
    time = torch.arange(16000) / 16000
    pitch = 100 + 100 * torch.rand(num_items, 1)
    voice = sum(torch.cos(2 * math.pi * pitch * k * time) / k for k in range(1, 30))
    envelope = torch.exp(-(((time - 0.5) / 0.15) ** 2))
    return 0.1 * voice * envelope + 0.001 * torch.randn(num_items, 16000)


@pytest.mark.parametrize("snr", [0.0, 10.0])
def test_feature_noise_is_close_to_mixing_waveforms(front_end, snr):
    wavs = speech_like()
    feature_noise = FeatureNoise(front_end, snr=[snr, snr], probability=1.0, chunks=1)
    chunks = seeded("noise chunks")
    expected = torch.stack(
        [
            front_end(mix(wavs, random_chunks(noise, 16000, 1, chunks), torch.full((4,), snr)))
            for noise in load_noises(None, "train")
        ]
    )  # (kinds, B, T, F)
    feats = front_end(wavs)
    difference = (feature_noise(feats, *places(1, feats)) - expected).abs().mean(dim=(1, 2, 3))
    kind = difference.argmin()  # that was drawn
    assert difference[kind] < 3
    assert (feats - expected[kind]).abs().mean() > 1.5 * difference[kind]


def test_feature_noise_of_zero_probability_changes_nothing(front_end):
    feats = smooth_feats(6)
    feature_noise = FeatureNoise(front_end, probability=0.0, chunks=2)
    torch.testing.assert_close(feature_noise(feats, *places(3, feats)), feats)


def test_feature_noise_is_for_all_or_no_utterances_of_a_speaker(front_end):
    feats = smooth_feats(400)
    feature_noise = FeatureNoise(front_end, snr=[0.0, 0.0], probability=0.3, chunks=2)
    changed = (
        (feature_noise(feats, *places(100, feats)) - feats).abs().amax(dim=(1, 2)).view(100, 4)
    )
    noisy = changed > 0.1
    assert (noisy.all(dim=1) == noisy.any(dim=1)).all()
    assert noisy[:, 0].float().mean() == pytest.approx(0.3, abs=0.15)


def test_feature_noise_of_a_speaker_has_one_kind(front_end):
    feature_noise = FeatureNoise(front_end, snr=[-60.0, -60.0], probability=1.0, chunks=3)
    feats = smooth_feats(80)
    noisy = feature_noise(feats, *places(20, feats)).view(20, 4, 101, 40)
    slopes = noisy.mean(dim=2)[..., -5:].mean(dim=-1) - noisy.mean(dim=2)[..., :5].mean(dim=-1)
    assert slopes.std(dim=1).max() < 2, "in dB, within a speaker"
    assert slopes.mean(dim=1).std() > 5, "between speakers"


def test_noise_is_of_the_room_whoever_is_in_it(front_end):
    feats, voices = smooth_feats(400), torch.arange(200).repeat_interleave(2)
    rooms = torch.randperm(400) // 2
    feature_noise = FeatureNoise(front_end, snr=[0.0, 0.0], probability=0.5, chunks=2)
    noisy = (feature_noise(feats, voices, rooms) - feats).abs().amax(dim=(1, 2)) > 0.1
    by_room, by_voice = noisy[rooms.argsort()].view(-1, 2), noisy.view(-1, 2)
    assert (by_room[:, 0] == by_room[:, 1]).all()
    assert (by_voice[:, 0] != by_voice[:, 1]).float().mean() == pytest.approx(0.5, abs=0.1)


def test_voice_is_kept_in_every_room_and_among_other_voices():
    """An impostor's query keeps the impostor's vocal tract, wherever it stands in the batch."""
    feats = smooth_feats().expand(8, -1, -1)
    voices, rooms = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1]), torch.arange(8)
    changed = VirtualSpeaker(**OF_A_SPEAKER)(feats, voices, rooms)
    for voice in (0, 1):
        alike = changed[voices == voice]
        torch.testing.assert_close(alike, alike[:1].expand(4, -1, -1))
    assert (changed[0] - changed[1]).abs().max() > 0.1


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"probability": -1}, "Got probability -1; expected a share"),
        ({"snr": [25.0, -5.0]}, "Got snr .*; expected the lowest and the highest"),
    ],
)
def test_wrong_settings_of_feature_noise_are_refused(front_end, wrong, message):
    with pytest.raises(ValueError, match=message):
        FeatureNoise(front_end, **wrong)


def test_feature_noise_only_adds_power(front_end):
    feats = smooth_feats(6)
    noisy = FeatureNoise(front_end, snr=[0.0, 20.0], probability=1.0, chunks=2)(
        feats, *places(3, feats)
    )
    assert (noisy >= feats - 1e-3).all() and noisy.isfinite().all()


def test_feature_noise_depends_on_the_generator_alone(front_end):
    feature_noise, feats = FeatureNoise(front_end, probability=1.0, chunks=5), smooth_feats(6)
    noisy = [
        feature_noise(feats, *places(2, feats), torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    ]
    assert torch.equal(noisy[0], noisy[1]) and not torch.equal(noisy[0], noisy[2])


def test_warp_moves_a_peak_along_the_frequencies():
    feats = torch.zeros(200, 101, 40)
    feats[:, :, 20] = 1.0
    peak = VirtualSpeaker(warp=0.2)(feats, *places(200, feats))[:, 50].argmax(dim=1)
    # The band of 20 is read where the factor times its frequency was.
    place = torch.linspace(0, 1, 40)
    low, high = (
        (warp_band(place, torch.tensor(factor), 8000.0) - place[20]).abs().argmin()
        for factor in (1.2, 0.8)
    )
    assert low <= peak.min() <= low + 1 and high - 1 <= peak.max() <= high
    assert low < 20 < high


def test_tempo_moves_frames_away_from_the_middle_by_the_factor():
    feats = torch.zeros(200, 101, 40)
    feats[:, 80] = 1.0  # 30 frames from the middle
    frames = VirtualSpeaker(tempo=0.2)(feats, *places(200, feats)).sum(dim=2).argmax(dim=1)
    assert 74 <= frames.min() < 77 and 85 < frames.max() <= 88  # 50 + 30 / 1.2 and 50 + 30 / 0.8
    middle = torch.zeros(200, 101, 40)
    middle[:, 50] = 1.0
    frames = VirtualSpeaker(tempo=0.2)(middle, *places(200, middle)).sum(dim=2).argmax(dim=1)
    assert (frames == 50).all()


def test_ripple_is_three_cosines_within_their_limits():
    feats = smooth_feats(300)
    change = (VirtualSpeaker(ripple=3.0)(feats, *places(300, feats)) - feats).mean(dim=1)
    band = torch.linspace(0, 1, 40)
    cosines = torch.stack([torch.cos(math.pi * wave * band) for wave in (1, 2, 3)])
    levels = torch.linalg.lstsq(cosines.T, change.T).solution
    torch.testing.assert_close(levels.T @ cosines, change, rtol=0, atol=0.05)
    assert (2.5 < levels.abs().amax(dim=1)).all() and levels.abs().max() < 3.05


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"warp": 3.0}, "Got warp 3.0; expected a share"),
        ({"tempo": math.nan}, "Got tempo nan; expected a share"),
        ({"ripple": -1.0}, "Got ripple -1.0; expected a level in dB"),
    ],
)
def test_wrong_settings_of_virtual_speaker_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        VirtualSpeaker(**wrong)
