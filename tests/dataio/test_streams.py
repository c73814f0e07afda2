"""Streams hold what was asked for, where they say it is."""

import pytest
import torch
from voices import utter

from vofp_plugin.dataio.streams import Clip, build_stream, speech_bounds

RATE = 16000


def clips(count=3):
    return [Clip(utter(take=take), f"speaker {take}", "yes") for take in range(count)]


def built(seed=0, **settings):
    return build_stream(clips(), torch.Generator().manual_seed(seed), **settings)


def power_within(wav, spans):
    return torch.cat([wav[round(s.start * RATE) : round(s.end * RATE)] for s in spans]).var()


def test_spans_are_where_it_is_loud_and_nowhere_else():
    wav, spans = built(pauses=(0.5, 0.5))
    assert [span.speaker for span in spans] == ["speaker 0", "speaker 1", "speaker 2"]
    inside = torch.zeros(len(wav), dtype=torch.bool)
    for span in spans:
        inside[round(span.start * RATE) : round(span.end * RATE)] = True
    assert wav[inside].var() > 100 * wav[~inside].var()


def test_the_same_seed_builds_the_same_stream_and_another_another():
    noises = [torch.randn(3 * RATE)]
    first, again, other = (built(seed, noises=noises).wav for seed in (0, 0, 1))
    assert torch.equal(first, again) and not (len(first) == len(other) and first.equal(other))


def test_noise_is_as_much_weaker_than_speech_as_asked_for():
    dry, noisy = built(), built(noises=[3 + torch.randn(RATE)], snr=10.0)  # shorter, with an offset
    assert noisy.spans == dry.spans
    noise = noisy.wav - dry.wav
    ratio = 10 * (power_within(dry.wav, dry.spans) / noise.var()).log10()
    assert ratio.item() == pytest.approx(10, abs=0.5)
    assert abs(noise.mean()) < 0.01 * noise.std()


def test_a_room_leaves_the_direct_sound_in_its_place():
    response = torch.zeros(RATE // 2)
    response[1000] = 1.0  # the way to the microphone
    response[1000:] += 0.01 * torch.randn(len(response) - 1000)
    dry, wet = built(), built(responses=[response])
    assert wet.spans == dry.spans
    shift = torch.fft.irfft(torch.fft.rfft(wet.wav) * torch.fft.rfft(dry.wav).conj()).argmax()
    assert shift == 0 and not torch.equal(wet.wav, dry.wav)


def test_clips_that_say_nothing_are_refused():
    with pytest.raises(ValueError, match="no clips"):
        build_stream([], torch.Generator())
    with pytest.raises(ValueError, match="silent clip"):
        build_stream([Clip(torch.zeros(RATE), "anna", "yes")], torch.Generator())


def test_bounds_are_those_of_the_word():
    wav = torch.zeros(RATE)
    wav[4800:9600] = torch.randn(4800)
    assert speech_bounds(wav, RATE) == pytest.approx((0.3, 0.6), abs=0.021)
