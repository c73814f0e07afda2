"""Streaming spotter: keywords of a stream of audio, told one after another as they are heard."""

import json
from collections import deque
from typing import NamedTuple

import torch

from vofp_plugin.dataio.audio import SHORTEST, check_wav
from vofp_plugin.dataio.quality import assess


class Event(NamedTuple):
    """A keyword that was heard in a stream.

    Arguments
    ---------
    start, end : float
        Of the window that it was heard in, in s from the start of the stream.
    word : str
    score : float
        Its smoothed probability.
    speaker : str
        Whose profile was asked with, or None.

    Example
    -------
    >>> Event(1.5, 2.5, "yes", 0.9, "anna").to_json()
    '{"start": 1.5, "end": 2.5, "word": "yes", "score": 0.9, "speaker": "anna"}'
    """

    start: float
    end: float
    word: str
    score: float
    speaker: str | None

    def to_json(self):
        """One line of JSON, without its end."""
        return json.dumps(self._asdict())


class Heard(NamedTuple):
    """What is heard in a window of a stream.

    Arguments
    ---------
    start, end : float
        Of the window, in s from the start of the stream.
    speech : bool
    probabilities : torch.Tensor
        Mean over the last windows, of which those without speech count as zeros, (classes,).
    """

    start: float
    end: float
    speech: bool
    probabilities: torch.Tensor


class StreamingSpotter:
    """Asks a keyword spotter for every window of a stream, of which it holds two windows at most.

    A window has the length of the spotter's clips. One without speech, by `assess`, says nothing.
    What is left at the end of the stream is a last, shorter window. A word is told once, by the
    window in which it is likeliest, as soon as the next one is not: a hop later.

    Arguments
    ---------
    spotter : KeywordSpotter
    profile : Profile
        Of the speaker; None asks as for everybody.
    speaker : str
        Name of the speaker, for events.
    hop : float
        From window to window, in s.
    threshold : float
        Probability from which on a word is accepted; None takes the spotter's own.
    smoothing : int
        Windows over whose probabilities the mean is taken.
    refractory : float
        Pause after the start of a window that was told, before the next may be, in s.
    ignored : iterable of str
        Words that are no events, such as those that stand for any other.

    Raises
    ------
    ValueError
        If a setting is out of its range, or an ignored word is none of the model.
    """

    def __init__(
        self,
        spotter,
        profile=None,
        speaker=None,
        hop=0.1,
        threshold=None,
        smoothing=3,
        refractory=1.0,
        ignored=(),
    ):
        front_end = spotter.hparams.front_end
        self.rate, self.size = front_end.sample_rate, front_end.num_samples
        self.hop = round(hop * self.rate)
        if not 0 < self.hop <= self.size:
            raise ValueError(f"Got hop {hop} s; expected above 0 and at most {self._s(self.size)}.")
        threshold = spotter.probability_at() if threshold is None else threshold
        if not (0 < threshold <= 1 and smoothing >= 1 and refractory >= 0):
            raise ValueError(
                f"Got threshold {threshold}, smoothing {smoothing}, refractory {refractory}; "
                "expected (0, 1], at least 1 window, at least 0 s."
            )
        self.ignored = set(spotter.classes(list(ignored)))
        self.spotter, self.profile, self.speaker = spotter, profile, speaker
        self.threshold, self.smoothing, self.refractory = threshold, smoothing, refractory

    def listen(self, chunks):
        """Tells the words of a stream.

        Arguments
        ---------
        chunks : iterable of torch.Tensor or numpy.ndarray
            Parts (L,) of any lengths, full scale at 1, of the front end's sampling rate.

        Yields
        ------
        Event
            A hop after its window is heard.

        Raises
        ------
        TypeError, ValueError
            If a chunk is no waveform.
        """
        yield from self.events(self.heard(chunks))

    def heard(self, chunks):
        """Tells what is heard in every window; arguments and errors are those of `listen`.

        Yields
        ------
        Heard
        """
        recent = deque(maxlen=self.smoothing)
        nothing = torch.zeros(len(self.spotter.hparams.label_encoder))
        for start, clip in self._clips(chunks):
            speech = not assess(self._fit(clip), self.rate).refused
            recent.append(self._answered(clip).exp() if speech else nothing)
            mean = torch.stack([*recent]).mean(dim=0)
            yield Heard(start, start + self._s(len(clip)), speech, mean)

    def events(self, heard):
        """Chooses the events of a stream by this threshold, refractory time and ignored words.

        Arguments
        ---------
        heard : iterable of Heard
            From the start of the stream; those of one stream may be asked with other thresholds.

        Yields
        ------
        Event
        """
        free, told, best = 0.0, None, None
        for window in heard:
            event = self._event(window)
            if best is not None and (event is None or event.score <= best.score):
                yield best
                free, told, best = best.start + self.refractory, best.word, None
            if event is None:
                told = None
            elif event.word != told and event.start >= free:
                best = event
        if best is not None:
            yield best

    def _event(self, window):
        """The likeliest word of a window as an event, or None where it is not accepted."""
        score, index = window.probabilities.max(dim=0)
        if not window.speech or score < self.threshold or index.item() in self.ignored:
            return None
        (word,) = self.spotter.hparams.label_encoder.decode_torch(index.view(1))
        return Event(window.start, window.end, word, round(score.item(), 4), self.speaker)

    def windows(self, chunks):
        """Answers every window of a stream; arguments and errors are those of `listen`.

        Yields
        ------
        float
            Its start, in s.
        torch.Tensor
            Its samples, (L,).
        torch.Tensor
            Log-probabilities, (classes,).
        """
        for start, clip in self._clips(chunks):
            yield start, clip, self._answered(clip)

    def _clips(self, chunks):
        """Start, in s, and samples (L,) of every window of a stream."""
        held, start = torch.zeros(0), 0
        for chunk in chunks:
            for piece in _samples(chunk).split(self.size):
                held = torch.cat([held, piece])
                while len(held) >= self.size:
                    yield self._s(start), held[: self.size]
                    held, start = held[self.hop :], start + self.hop
        unheard = len(held) - (self.size - self.hop if start else 0)
        if unheard > 0 and len(held) >= SHORTEST * self.rate:
            yield self._s(start), held

    def _answered(self, clip):
        (log_probs,) = self.spotter.answer([clip], profiles=self.profile).cpu()
        return log_probs

    def _fit(self, clip):
        return self.spotter.hparams.front_end.fit(clip)

    def _s(self, samples):
        return samples / self.rate


def _samples(chunk):
    """Samples of a chunk, float32 on the CPU."""
    chunk = torch.as_tensor(chunk)
    if chunk.dim() != 1 or not chunk.is_floating_point():
        raise TypeError(
            f"Got a chunk of {chunk.dtype} and shape {tuple(chunk.shape)}; expected floats (L,), "
            "full scale at 1."
        )
    if len(chunk):
        check_wav(chunk, "A chunk")
    return chunk.detach().cpu().float()
