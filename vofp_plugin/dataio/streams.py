"""Streams: clips one after another, in a room and in noise, with the times at which they speak."""

from typing import NamedTuple

import torch
import torchaudio

from vofp_plugin.dataio.level import to_one_level
from vofp_plugin.dataio.noise import random_chunks

SPEECH_RANGE = 25.0  # dB below the loudest block of a clip
BLOCK = 0.020  # s
FADE = 0.010  # s, at both ends of a clip, so that nothing clicks


class Clip(NamedTuple):
    """What is to be said in a stream: a waveform (L,), who says it, and what.

    Example
    -------
    >>> Clip(torch.rand(16000), "anna", "yes").word
    'yes'
    """

    wav: torch.Tensor
    speaker: str
    word: str


class Span(NamedTuple):
    """When somebody says something in a stream, in s from its start.

    Example
    -------
    >>> Span(1.5, 2.0, "anna", "yes").word
    'yes'
    """

    start: float
    end: float
    speaker: str
    word: str


class Stream(NamedTuple):
    """A stream and the reference of what is said in it.

    Arguments
    ---------
    wav : torch.Tensor
        (L,), full scale at 1.
    spans : list of Span
        In the order of their starts; none overlap.

    Example
    -------
    >>> Stream(torch.zeros(16000), []).spans
    []
    """

    wav: torch.Tensor
    spans: list


def build_stream(
    clips, generator, sample_rate=16000, pauses=(0.3, 1.0), responses=(), noises=(), snr=20.0
):
    """Puts clips one after another, with pauses, in one room and in one noise.

    Every clip is brought to the same level. The whole stream has one impulse response and one
    noise, both drawn; build several for several places.

    Arguments
    ---------
    clips : list of Clip
        In the order in which they are said; running speech is one, too.
    generator : torch.Generator
        Draws pauses, the room and the noise; the same seed builds the same stream, with the same
        spans whatever rooms and noises there are.
    sample_rate : int
        Of all waveforms, in Hz.
    pauses : tuple of float
        The shortest and the longest, in s, before every clip and after the last.
    responses : list of torch.Tensor
        Impulse responses of rooms, (L,) each, of which one is drawn; none leaves clips dry.
    noises : list of torch.Tensor
        (L,) each, of which one is drawn, and repeated where it is too short; none adds no noise.
    snr : float
        Mean power of what is said to that of the noise, in dB.

    Returns
    -------
    Stream

    Raises
    ------
    ValueError
        If there is no clip, or one is silent.

    Example
    -------
    >>> clips = [Clip(torch.rand(8000), "anna", "yes"), Clip(torch.rand(8000), "ben", "no")]
    >>> stream = build_stream(clips, torch.Generator().manual_seed(0), noises=[torch.rand(9999)])
    >>> [(span.speaker, span.word) for span in stream.spans]
    [('anna', 'yes'), ('ben', 'no')]
    """
    if not clips:
        raise ValueError("Got no clips for a stream; expected at least one.")
    response = _drawn(responses, generator)
    parts, spans, length = [], [], 0
    for clip in clips:
        length += _pause(pauses, generator, sample_rate)
        start, end = speech_bounds(clip.wav, sample_rate)
        offset = length / sample_rate
        spans.append(Span(offset + start, offset + end, clip.speaker, clip.word))
        parts.append((length, _in_room(_leveled(clip.wav, sample_rate), response)))
        length += len(clip.wav)
    length += _pause(pauses, generator, sample_rate)
    wav = torch.zeros(length)
    for start, part in parts:
        wav[start : start + len(part)] += part[: length - start]
    noise = _drawn(noises, generator)
    if noise is not None:
        spoken = sample_rate * sum(span.end - span.start for span in spans)
        wav = _noisy(wav, noise, spoken, snr, generator)
    return Stream(wav, spans)


def speech_bounds(wav, sample_rate):
    """Start and end of what is loud in a clip (L,), in s.

    Raises
    ------
    ValueError
        If the clip is silent.

    Example
    -------
    >>> wav = torch.zeros(16000)
    >>> wav[4000:8000] = torch.randn(4000)
    >>> speech_bounds(wav, 16000)
    (0.24, 0.5)
    """
    size = round(BLOCK * sample_rate)
    blocks = torch.nn.functional.pad(wav, (0, -len(wav) % size)).view(-1, size)
    power = blocks.var(dim=1, unbiased=False)
    loud = (power > power.max() * 10 ** (-SPEECH_RANGE / 10)).nonzero()
    if not len(loud):
        raise ValueError("Got a silent clip for a stream; expected speech: leave it out.")
    return loud[0].item() * size / sample_rate, (loud[-1].item() + 1) * size / sample_rate


def _pause(pauses, generator, sample_rate):
    """A drawn pause, in samples."""
    shortest, longest = pauses
    share = torch.rand((), generator=generator).item()
    return round((shortest + share * (longest - shortest)) * sample_rate)


def _drawn(choices, generator):
    """One of some choices, or None of none, which takes as many draws."""
    share = torch.rand((), generator=generator).item()
    return choices[int(share * len(choices))] if len(choices) else None


def _leveled(wav, sample_rate):
    """A clip at the level of all, faded in and out."""
    wav = to_one_level((wav - wav.mean()).unsqueeze(0), sample_rate)[0]
    ramp = torch.linspace(0, 1, min(round(FADE * sample_rate), len(wav) // 2))
    wav[: len(ramp)] *= ramp
    wav[len(wav) - len(ramp) :] *= ramp.flip(0)
    return wav


def _in_room(wav, response):
    """A clip with its reverberation, which is longer; the direct sound stays in its place."""
    if response is None:
        return wav
    direct = response.abs().argmax()
    wet = torchaudio.functional.fftconvolve(wav, response[direct:])
    return wet * (wav.norm() / wet.norm())


def _noisy(wav, noise, spoken, snr, generator):
    """A stream with noise `snr` dB below what fills `spoken` of its samples."""
    repeated = noise.repeat(-(-len(wav) // len(noise)) + 1)
    (noise,) = random_chunks(repeated - repeated.mean(), len(wav), 1, generator)
    speech = wav.square().sum() / spoken
    return wav + noise * (speech / noise.square().mean() * 10 ** (-snr / 10)).sqrt()
