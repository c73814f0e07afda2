"""Evaluation of personal voice activity detection: average precision on streams."""

from pathlib import Path

import numpy as np
import torch

from vofp_plugin.dataio.audio import audio_files, read_audio
from vofp_plugin.dataio.noise import load_noises
from vofp_plugin.evaluation.streams import StreamStudio, draw_streams, write_streams
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.tasks.average_precision import average_precision
from vofp_plugin.utils.evaluation_mode import evaluation_mode

CLASSES = ("no speech", "target", "others")
STREAMS_FILE = "streams.jsonl"


class PersonalVadEvaluation:
    """Asks a model streams of several speakers; the key `personal_vad` of a YAML.

    Arguments
    ---------
    noise_folder : str or Path
        Of the noises, whose second halves are heard; None for coloured noise.
    room_folder : str or Path
        Of impulse responses; None for no rooms.
    snr : list of float
        Lowest and highest signal-to-noise ratio in noise, in dB.
    per_target : int
        Streams of each target.
    length : int
        Utterances in a stream.

    Raises
    ------
    ValueError
        If a number is none that can be.

    Example
    -------
    >>> PersonalVadEvaluation(snr=[10.0, 20.0]).per_target
    4
    """

    def __init__(
        self, noise_folder=None, room_folder=None, snr=(5.0, 15.0), per_target=4, length=4
    ):
        if per_target < 1 or length < 2 or not snr[0] <= snr[1]:
            raise ValueError(
                f"Got per_target {per_target}, length {length} and snr {list(snr)}; expected at "
                "least 1 stream of 2 utterances, and the lowest and the highest ratio in dB."
            )
        self.noise_folder = noise_folder
        self.room_folder = room_folder
        self.snr = snr
        self.per_target = per_target
        self.length = length

    def drawn(self, rows, shots):
        """Draws the streams of manifest rows, for the largest K of `shots`."""
        return draw_streams(rows, max(shots), self.per_target, self.length)

    def rows(self, model, front_end, manifest, specs, shots):
        """Answers all streams, in quiet and in noise.

        Arguments
        ---------
        model : torch.nn.Module
            Called as `FrameDetector`.
        front_end : FrontEnd
        manifest : list of dict
        specs : list of StreamSpec
        shots : int
            K.

        Returns
        -------
        list of dict
            One for each condition and enrollment: average precision from 0 to 1 of each class
            over all frames, their mean "map", and "per_target" {speaker: mean}.
        """
        studio = StreamStudio(front_end, manifest)
        rooms, noises = self._sounds(front_end.sample_rate)
        conditions = {"quiet": ((), ()), "noise and room": (rooms, noises)}
        rows = []
        for condition, sounds in conditions.items():
            made = [studio.make(spec, *sounds, self.snr) for spec in specs]
            for enrollment in ("own", "stranger", "none"):
                answers = [
                    _answer(model, studio, feats, _enrolled(spec, enrollment, shots))
                    for spec, (feats, _) in zip(specs, made, strict=True)
                ]
                labels = [labels.numpy() for _, labels in made]
                place = {"condition": condition, "enrollment": enrollment}
                place["shots"] = 0 if enrollment == "none" else shots
                rows.append({**place, **_precisions(answers, labels, specs)})
        return rows

    def _sounds(self, sample_rate):
        noises = load_noises(self.noise_folder, "test", sample_rate)
        if self.room_folder is None:
            return [], noises
        paths = audio_files(self.room_folder)
        if not paths:
            raise FileNotFoundError(
                f"Found no .wav or .flac file in {self.room_folder}; give a folder of impulse "
                "responses, or null for no rooms."
            )
        return [torch.from_numpy(read_audio(path, sample_rate)) for path in paths], noises


def write_drawn(specs, folder):
    """Writes the list of streams into a folder, before any is answered."""
    write_streams(specs, Path(folder) / STREAMS_FILE)


def personal_vad_section(rows):
    """Markdown of the rows of a run, in percent.

    Example
    -------
    >>> row = {"condition": "quiet", "enrollment": "own", "shots": 3, "map": 0.5}
    >>> row |= {"no speech": 0.25, "target": 0.5, "others": 0.75}
    >>> print(personal_vad_section([row]).splitlines()[-1])
    | quiet | own | 3 | 25.0 | 50.0 | 75.0 | 50.0 |
    """
    head = ["Condition", "Enrollment", "K", *CLASSES, "mean"]
    lines = [head, ["---"] * 3 + ["---:"] * 4]
    for row in rows:
        place = [row["condition"], row["enrollment"], str(row["shots"])]
        lines.append([*place, *(f"{100 * row[key]:.1f}" for key in (*CLASSES, "map"))])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        "Average precision of each class over the frames of all streams, in percent, and their "
        "mean. Stranger: the enrollment of a speaker who is not heard in the stream. None: all "
        f"speech is half the target's.\n\n{table}"
    )


def _enrolled(spec, enrollment, shots):
    if enrollment == "none":
        return None
    return (spec.enrollment if enrollment == "own" else spec.stranger)[:shots]


@torch.no_grad()
def _answer(model, studio, feats, names):
    """Log-probabilities of the three classes, (T, 3), in nats."""
    device = next(model.parameters()).device
    with evaluation_mode(model):
        weights = None
        if names is not None:
            feats_of, lens = (x.to(device) for x in studio.enrollment(names))
            weights = model.personalize(Enrollment(feats_of, lens))
        return model(feats.unsqueeze(0).to(device), None, weights)[0].cpu().numpy()


def _precisions(answers, labels, specs):
    targets = np.array([spec.target for spec in specs])
    everybody = _by_class(answers, labels)
    per_target = {}
    for target in dict.fromkeys(targets.tolist()):
        here = np.flatnonzero(targets == target)
        one = _by_class([answers[i] for i in here], [labels[i] for i in here])
        per_target[target] = float(np.mean(list(one.values())))
    return {**everybody, "map": float(np.mean(list(everybody.values()))), "per_target": per_target}


def _by_class(answers, labels):
    answers, labels = np.concatenate(answers), np.concatenate(labels)
    return {
        name: average_precision(answers[:, index], labels == index)
        for index, name in enumerate(CLASSES)
    }
