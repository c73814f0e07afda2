"""Quality of enrollment utterances, their agreement, and how bad ones are made."""

import itertools
import math

import pytest
import torch
import torchaudio
from speechbrain.dataio import audio_io
from voices import RATE, utter

from vofp_plugin.augment.bad_enrollment import UTTERANCE_KINDS, BadCondition, two_speakers
from vofp_plugin.dataio.agreement import TWO_SPEAKERS_REASON, assess_agreement, voice_of
from vofp_plugin.dataio.corpora.espeak import Espeak, Voice
from vofp_plugin.dataio.noise import COLOURS, coloured_noise, load_noises, mix
from vofp_plugin.dataio.quality import BADLY_CLIPPED, CLIPPED, NOISE_ONLY, SILENT, Quality, assess

ROW = {"ID": "up_1", "spk_id": "anna"}
each_colour = pytest.mark.parametrize("exponent", COLOURS.values(), ids=COLOURS)


def level(wav):
    return 20 * wav.square().mean().sqrt().log10().item()


@pytest.mark.parametrize("pitch", [95.0, 140.0, 240.0])
def test_speech_is_good(pitch):
    quality = assess(utter(pitch))
    assert quality.reason == "" and quality.score > 0.5 and not quality.refused


@each_colour
def test_speech_in_noise_is_not_refused(exponent):
    noise = coloured_noise(RATE, exponent)
    wav = mix(utter().unsqueeze(0), noise.unsqueeze(0), torch.tensor([5.0]))[0]
    assert assess(wav).reason == ""


@each_colour
@pytest.mark.parametrize("gain", [0.5, 0.01])
def test_noise_alone_is_refused(exponent, gain):
    quality = assess(gain * coloured_noise(RATE, exponent))
    assert quality.reason == NOISE_ONLY and quality.refused and quality.score < 0.5


def test_noise_followed_by_padding_is_refused():
    """The step between noise and padding is no syllable."""
    wav = torch.nn.functional.pad(0.1 * torch.randn(RATE // 2), (0, RATE // 2))
    assert assess(wav).reason == NOISE_ONLY


def test_knocks_are_no_speech():
    """They stand out of the noise, but have no pitch."""
    wav = 0.001 * torch.randn(RATE)
    for start in (4000, 9000):
        wav[start : start + 800] += 0.3 * torch.randn(800)
    assert assess(wav).reason == NOISE_ONLY


@pytest.mark.parametrize(
    "wav",
    [
        torch.zeros(RATE),
        torch.full((RATE,), 0.2),
        1e-4 * torch.ones(RATE).cumsum(0).sin(),
        utter()[:0],
    ],
    ids=["zeros", "offset", "faint", "empty"],
)
def test_silence_is_refused(wav):
    quality = assess(wav)
    assert quality.reason == SILENT and quality.refused and quality.score < 0.5


@pytest.mark.parametrize(
    ("gain", "reason"), [(10.0, CLIPPED), (50.0, BADLY_CLIPPED)], ids=["some", "much"]
)
def test_clipped_speech_is_told_and_refused_where_it_is_much(gain, reason):
    quality = assess((gain * utter()).clamp(-1, 1))
    assert quality.reason == reason and quality.score < 0.5
    assert quality.refused == (reason == BADLY_CLIPPED)
    assert assess(0.1 * (gain * utter()).clamp(-1, 1)).reason == reason  # turned down later


@pytest.mark.parametrize("offset", [0.05, 0.3, -0.5])
@pytest.mark.parametrize("peak", [0.3, 0.03, 0.01])
def test_offset_is_no_clipping(peak, offset):
    wav = utter(take=1)
    wav = wav / wav.abs().max() * peak
    assert assess(wav + offset).score == pytest.approx(assess(wav).score, abs=0.05)


@pytest.mark.parametrize("side", [{"max": 1.0}, {"min": -1.0}], ids=str)
def test_clipping_of_one_side_is_told(side):
    """As by an amplifier with an offset, which is taken out later."""
    assert assess((20 * utter()).clamp(**side)).reason == CLIPPED


def whisper(take=0):
    """A syllable without pitch: noise whose resonances move from one vowel to another."""
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(take))
    vowels = [noise]
    for centre in (700.0, 2300.0):
        spectrum = torch.fft.rfft(noise)
        frequency = torch.linspace(0, RATE / 2, len(spectrum))
        vowels.append(torch.fft.irfft(spectrum / (1 + ((frequency - centre) / 150) ** 2)))
    time = torch.arange(RATE) / RATE
    syllables = [
        torch.sin(math.pi * ((time - start) / 0.25).clamp(0, 1)) * vowel / vowel.std()
        for start, vowel in zip((0.2, 0.35, 0.5), vowels, strict=True)
    ]
    return 0.05 * sum(syllables) + 0.0005 * noise


@pytest.mark.parametrize("take", range(5))
def test_whispered_speech_is_not_refused(take):
    assert assess(whisper(take)).reason == ""


def test_whisper_of_a_synthesizer_is_not_refused():
    pytest.importorskip("espeakng_loader", reason="needs the extra 'synthetic'")
    espeak, refused = Espeak(), 0
    for word, variant in itertools.product(("yes", "left", "computer"), ("whisper", "whisperf")):
        said = espeak.say(word, Voice("en", variant, pitch=50, pitch_range=50, rate=150))
        wav = torchaudio.functional.resample(said, espeak.sample_rate, RATE)[: RATE - 2000]
        clip = torch.nn.functional.pad(0.3 * wav / wav.abs().max(), (1000, RATE - 1000 - len(wav)))
        refused += assess(clip + 0.0003 * torch.randn(RATE)).refused
    assert refused == 0


@pytest.mark.parametrize("level", [0, -20, -45, -55])
def test_quality_does_not_depend_on_level(level):
    for wav in (utter(), whisper(), 5 * utter().clamp(-0.1, 0.1), 0.1 * coloured_noise(RATE, 1.0)):
        loud = assess(wav / wav.abs().max())
        faint = assess(wav / wav.abs().max() * 10 ** (level / 20))
        assert faint.score == pytest.approx(loud.score, abs=0.01)
        assert faint.refused == loud.refused


def test_loudness_and_padding_change_little():
    wav = utter()
    scores = [assess(x).score for x in (wav, 0.1 * wav, torch.nn.functional.pad(wav, (99, 5000)))]
    assert max(scores) - min(scores) < 0.05


def test_real_speech_is_good_and_real_noise_is_not(shared_data):
    corpus = shared_data / "speech_commands_v0.01_subset"
    clips = [audio_io.load(str(path))[0][0] for path in sorted(corpus.glob("up/*.flac"))[:100]]
    assert sum(assess(clip).refused for clip in clips) <= 2
    noises = load_noises(corpus / "_background_noise_", "test")
    chunks = [chunk for noise in noises for chunk in noise.split(RATE)[:14]]
    assert sum(assess(chunk).refused for chunk in chunks) >= 0.85 * len(chunks)


# Agreement


def voices(*speakers, takes=3):
    return [voice_of(utter(*speaker, take=t)) for speaker in speakers for t in range(takes)]


def test_one_speaker_agrees():
    quality = assess_agreement(voices((120.0, 1.0)))
    assert quality.reason == "" and quality.score > 0.5


def test_two_speakers_do_not_agree():
    quality = assess_agreement(voices((110.0, 1.0), (230.0, 1.3), takes=2))
    assert quality.reason == TWO_SPEAKERS_REASON and quality.score < 0.5


def test_agreement_does_not_depend_on_order_and_loudness():
    takes = [utter(take=t) for t in range(3)]
    score = assess_agreement([voice_of(wav) for wav in takes]).score
    changed = assess_agreement([voice_of(0.002 * wav) for wav in reversed(takes)]).score
    assert changed == pytest.approx(score, abs=0.02)


def test_one_utterance_agrees_with_itself():
    voice = voice_of(utter())
    assert assess_agreement([voice]) == assess_agreement([voice, voice]) == Quality(1.0)


@pytest.mark.parametrize("pitch", [90.0, 150.0, 300.0])
def test_pitch_is_found(pitch):
    assert 2 ** voice_of(utter(pitch)).pitch.item() == pytest.approx(pitch, rel=0.1)


def test_short_clip_has_a_voice():
    assert all(part.isfinite().all() for part in voice_of(utter()[7000:7300]))


# Bad enrollments


@pytest.fixture
def noises():
    return load_noises(None, "test", seconds=4.0)


REASONS = {
    "silence": SILENT,
    "noise": NOISE_ONLY,
    "clipped": BADLY_CLIPPED,
    "slightly_clipped": CLIPPED,
}


@pytest.mark.parametrize("kind", UTTERANCE_KINDS)
def test_bad_utterance_is_found_and_drawn_once_for_all(kind, noises):
    condition = BadCondition(kind, noises)
    wav = condition.add(utter(), ROW)
    assert assess(wav).reason == REASONS[kind]
    assert assess(wav).refused == (kind != "slightly_clipped")
    assert torch.equal(BadCondition(kind, noises).add(utter(), ROW), wav)
    assert not torch.equal(condition.add(utter(), {**ROW, "ID": "up_2"}), wav)


def test_bad_conditions_have_their_levels(noises):
    speech = utter()
    quiet = [
        level(BadCondition("silence", noises).add(speech, {**ROW, "ID": i})) for i in range(40)
    ]
    assert -90.1 < min(quiet) < -80 and -70 < max(quiet) < -59.9
    assert level(BadCondition("noise", noises).add(speech, ROW)) == pytest.approx(level(speech))
    clipped = BadCondition("clipped", noises).add(speech, ROW)
    assert clipped.abs().max() == 1 and (clipped.abs() == 1).float().mean() > 0.02


def test_bad_conditions_are_told_apart(noises):
    prints = [BadCondition(kind, noises).fingerprint() for kind in UTTERANCE_KINDS]
    prints += [BadCondition("noise", noises[:2]).fingerprint()]
    assert len(set(prints)) == 5


def test_half_of_two_speakers_is_the_stranger():
    assert two_speakers(list("abcd"), list("ABCD")) == list("abCD")
    with pytest.raises(ValueError, match="Got 1 own and 1 stranger's .* expected at least 2"):
        two_speakers(["a"], ["A"])


def test_unknown_kind_is_refused(noises):
    with pytest.raises(ValueError, match="Got kind 'loud'; expected one of"):
        BadCondition("loud", noises)
