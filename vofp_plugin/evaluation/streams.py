"""Streams of several speakers for an evaluation: listed first, then made of recordings."""

import json
from typing import NamedTuple

import torch
from torch.nn import functional as F

from vofp_plugin.dataio.audio import read_audio
from vofp_plugin.dataio.level import to_one_level
from vofp_plugin.dataio.manifests import SILENCE
from vofp_plugin.dataio.noise import mix
from vofp_plugin.tasks.personal_vad import speech_frames
from vofp_plugin.utils.files import whole_file
from vofp_plugin.utils.seeds import choice_of, seeded, shuffled

HOP = 0.010  # s, from frame to frame
PAUSE = (0.2, 1.0)  # s, between utterances
GAIN = 6.0  # dB, at most, by which an utterance is louder or fainter than others


class StreamSpec(NamedTuple):
    """What a stream is made of.

    Arguments
    ---------
    name : str
    target : str
        A speaker.
    enrollment : list of str
        IDs of the target's utterances; the first K enroll.
    stranger : list of str
        As many of a speaker who stands in for the target, and is not heard in the stream.
    utterances : list of str
        IDs, in the order of the stream; none of them enrolls.
    """

    name: str
    target: str
    enrollment: list
    stranger: list
    utterances: list


def draw_streams(rows, most, per_target=4, length=4, seed=0):
    """Draws the streams of every speaker who has enough utterances.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    most : int
        Largest K.
    per_target : int
        Streams of each target, as many as utterances are left where these are fewer.
    length : int
        Utterances in a stream: one of the target, each other one of another speaker.
    seed : int

    Returns
    -------
    list of StreamSpec

    Raises
    ------
    ValueError
        If there are too few speakers, or none of them has enough utterances.

    Example
    -------
    >>> rows = [{"ID": f"{s}{i}", "spk_id": s} for s in "abc" for i in range(3)]
    >>> draw_streams(rows, most=2, length=2)[0].target
    'a'
    """
    spoken = {}
    for row in rows:
        if row["spk_id"] != SILENCE:
            spoken.setdefault(row["spk_id"], []).append(row["ID"])
    targets = [speaker for speaker, names in spoken.items() if len(names) > most]
    if len(targets) < 2 or len(spoken) <= length:
        raise ValueError(
            f"Got {len(spoken)} speakers, {len(targets)} of them with more than {most} utterances; "
            f"expected more than {length}, 2 of them with enough. Lower the largest K in "
            "`test_shots`, or use more data."
        )
    specs = []
    for target in targets:
        generator = seeded("streams", seed, target)
        for number in range(per_target):
            mine = shuffled(spoken[target], generator)
            others = shuffled([s for s in spoken if s != target], generator)
            heard = [shuffled(spoken[other], generator)[0] for other in others[: length - 1]]
            strangers = [s for s in targets if s in others[length - 1 :]] or targets
            stranger = shuffled([s for s in strangers if s != target], generator)[0]
            specs.append(
                StreamSpec(
                    f"{target}_{number}",
                    target,
                    mine[:most],
                    shuffled(spoken[stranger], generator)[:most],
                    shuffled([mine[most], *heard], generator),
                )
            )
    return specs


def write_streams(specs, path):
    """Writes what streams are made of, one JSON object on each line."""
    lines = [json.dumps(spec._asdict()) + "\n" for spec in specs]
    with whole_file(path) as partial:
        partial.write_text("".join(lines), encoding="utf-8")


class StreamStudio:
    """Makes the audio and the labels of streams.

    Arguments
    ---------
    front_end : FrontEnd
    rows : list of dict
        Manifest rows.
    """

    def __init__(self, front_end, rows):
        self.front_end = front_end
        self.rows = {row["ID"]: row for row in rows}

    def enrollment(self, names):
        """Features (1, K, T, F) and relative lengths (1, K) of clips of utterances."""
        rows = [self.rows[name] for name in names]
        feats = self.front_end(torch.stack([self.front_end.read(row) for row in rows]))
        lens = torch.tensor([self.front_end.relative_length(row) for row in rows])
        return feats.unsqueeze(0), lens.unsqueeze(0)

    def make(self, spec, rooms=(), noises=(), snr=(10.0, 20.0)):
        """Makes a stream.

        Arguments
        ---------
        spec : StreamSpec
        rooms : list of torch.Tensor
            Impulse responses (L,), of which one is taken; none for no room.
        noises : list of torch.Tensor
            (L,), of which one is taken; none for no noise.
        snr : tuple
            Lowest and highest signal-to-noise ratio, in dB.

        Returns
        -------
        torch.Tensor
            Features, (T, F).
        torch.Tensor
            0 where nobody speaks, 1 where the target does, 2 where others do, (T,).
        """
        generator = seeded("stream", spec.name)
        wav, labels = self._dry(spec, generator)
        if rooms:
            wav = reverberate(wav, choice_of(rooms, "room", spec.name))
        if noises:
            noise = _looped(choice_of(noises, "noise", spec.name), len(wav), generator)
            ratio = _between(snr, generator).view(1)
            wav = mix(wav.unsqueeze(0), noise.unsqueeze(0), ratio)[0]
        feats = self.front_end.compute_features(wav.unsqueeze(0))[0]
        return feats, F.pad(labels, (0, len(feats)))[: len(feats)]

    def _dry(self, spec, generator):
        rate, wavs, labels = self.front_end.sample_rate, [], []
        hop = round(HOP * rate)
        for name in spec.utterances:
            row = self.rows[name]
            samples = read_audio(row["wav"], rate)[int(row["start"]) : int(row["stop"])]
            wav = to_one_level(torch.from_numpy(samples).unsqueeze(0), rate)
            speech = speech_frames(self.front_end.compute_features(wav))[0]
            frames = wav.shape[1] // hop
            pause = round(float(_between(PAUSE, generator)) / HOP)
            gain = 10 ** (_between((-GAIN, GAIN), generator) / 20)
            wavs += [gain * wav[0, : frames * hop], torch.zeros(pause * hop)]
            who = 1 if row["spk_id"] == spec.target else 2
            labels += [who * speech[:frames].long(), torch.zeros(pause).long()]
        return torch.cat(wavs), torch.cat(labels)


def reverberate(wav, room):
    """Convolves a waveform (L,) with an impulse response, whose direct sound comes at once.

    Example
    -------
    >>> reverberate(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.5])).round(decimals=3)
    tensor([1.0000, 0.5000, 0.0000])
    """
    room = room[int(room.abs().argmax()) :]
    size = len(wav) + len(room)
    return torch.fft.irfft(torch.fft.rfft(wav, size) * torch.fft.rfft(room, size), size)[: len(wav)]


def _looped(noise, length, generator):
    """So many samples of a noise from a random place on, again and again where it is shorter."""
    start = int(torch.randint(0, len(noise), (1,), generator=generator))
    return noise.roll(-start).repeat(-(-length // len(noise)))[:length]


def _between(bounds, generator):
    low, high = bounds
    return low + (high - low) * torch.rand((), generator=generator)
