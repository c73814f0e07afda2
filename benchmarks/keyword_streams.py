"""Personal keywords in streams: false alarms an hour where one word of twenty is missed.

    python benchmarks/keyword_streams.py RUN_FOLDER --speech /path/to/running/speech

Words of a run's test speakers are enrolled from three takes spoken alone. Misses are of other takes
with pauses around them. False alarms are among the speaker's other words without any pause, among
those of other speakers likewise, and in running speech of others.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from keyword_peers import load_run

from vofp_plugin.dataio.audio import audio_files, load_audio
from vofp_plugin.dataio.manifests import read_manifest
from vofp_plugin.dataio.splits import manifest_paths
from vofp_plugin.dataio.streams import Clip, build_stream, speech_bounds
from vofp_plugin.lobes.decision import Decision
from vofp_plugin.tasks.detection import RULES

SHOTS = 3
HOP, WINDOW, REFRACTORY = 0.1, 1.0, 1.0  # s
PAUSES, NO_PAUSES = (0.5, 1.0), (0.0, 0.05)  # s
MISSED = 0.05
MODES = {
    "only me": ("decision.json", "target_only"),
    "anybody": ("decision_anybody.json", "anybody"),
}


class Listener:
    """A trained run that hears the windows of a stream once, for all enrolled words."""

    def __init__(self, folder):
        hparams = load_run(folder)
        self.model, self.front_end = hparams["modules"]["model"].eval(), hparams["front_end"]
        self.rate = self.front_end.sample_rate
        self.decisions = {
            mode: (Decision.load(Path(folder) / name), list(RULES[rule].scores))
            for mode, (name, rule) in MODES.items()
        }

    @torch.no_grad()
    def weights(self, takes):
        """Weights of words, of their takes (N, K, L)."""
        codes = self.model.hear(self.front_end(takes.flatten(0, 1)))[1]
        return self.model.head.weights(
            self.model.head.summarize(codes.unflatten(0, takes.shape[:2]))
        )

    @torch.no_grad()
    def scores(self, wav, weights):
        """Log-odds of every window as every word, {mode: (N, W)}."""
        windows = wav.unfold(0, round(WINDOW * self.rate), round(HOP * self.rate))
        codes = [self.model.hear(self.front_end(part))[1] for part in windows.split(256)]
        scores = self.model.head.all_pairs(torch.cat(codes), weights)
        return {
            mode: decision(scores[:, :, places]).numpy()
            for mode, (decision, places) in self.decisions.items()
        }


def takes_by_target(rows, front_end):
    """Clips of every word by a speaker, {(speaker, word): list of (L,)}, of those with enough."""
    takes = defaultdict(list)
    for row in rows:
        takes[row["spk_id"], row["command"]].append(front_end.read(row))
    return {target: clips for target, clips in takes.items() if len(clips) > SHOTS}


def spoken(clip, rate):
    """A clip without what is silent before and after the word."""
    start, end = speech_bounds(clip, rate)
    return clip[round(start * rate) : round(end * rate)]


def streams_of(takes, rate, pauses, seed=0):
    """One stream of each speaker: the takes that do not enroll, in three orders."""
    generator = torch.Generator().manual_seed(seed)
    streams = {}
    for speaker in sorted({speaker for speaker, _ in takes}):
        clips = [
            Clip(spoken(clip, rate), speaker, word)
            for (name, word), own in takes.items()
            if name == speaker
            for clip in own[SHOTS:]
        ]
        order = [i for _ in range(3) for i in torch.randperm(len(clips), generator=generator)]
        streams[speaker] = build_stream([clips[i] for i in order], generator, rate, pauses)
    return streams


def centres(count):
    """Middle of every window, in s."""
    return np.arange(count) * HOP + WINDOW / 2


def found(scores, spans):
    """Highest score of the windows whose middle is near that of each span."""
    middle = centres(len(scores))
    near = [np.abs(middle - (span.start + span.end) / 2) <= WINDOW / 4 for span in spans]
    return [scores[place].max() for place in near if place.any()]


def alarms(scores, threshold, spans=()):
    """Number of alarms outside of spans, with a pause after each."""
    middle, free = centres(len(scores)), -np.inf
    loud = scores >= threshold
    for span in spans:
        loud &= ~((middle > span.start - WINDOW / 2) & (middle < span.end + WINDOW / 2))
    count = 0
    for place in np.flatnonzero(loud):
        if middle[place] >= free:
            count, free = count + 1, middle[place] + REFRACTORY
    return count


def speech_of(folder, rate):
    """Running speech below a folder, (L,)."""
    return torch.cat([load_audio(path, rate) for path in audio_files(folder)])


def rates(listener, takes, running):
    """False alarms an hour and word in each kind of stream, {mode: {kind: rate}}."""
    targets = list(takes)
    weights = listener.weights(torch.stack([torch.stack(takes[t][:SHOTS]) for t in targets]))
    alone = streams_of(takes, listener.rate, PAUSES)
    told = {name: listener.scores(stream.wav, weights) for name, stream in alone.items()}
    streams = streams_of(takes, listener.rate, NO_PAUSES)
    heard = {name: listener.scores(stream.wav, weights) for name, stream in streams.items()}
    in_speech = listener.scores(running, weights)
    made = {}
    for mode in MODES:
        own = [
            score
            for place, (speaker, word) in enumerate(targets)
            for score in found(
                told[speaker][mode][place],
                [span for span in alone[speaker].spans if span.word == word],
            )
        ]
        threshold = float(np.quantile(own, MISSED))
        counts, hours = defaultdict(int), defaultdict(float)
        for place, (speaker, word) in enumerate(targets):
            for name, stream in streams.items():
                kind = "own other words" if name == speaker else "others' words"
                same = [span for span in stream.spans if span.word == word]
                left_out = same if mode == "anybody" or name == speaker else []
                counts[kind] += alarms(heard[name][mode][place], threshold, left_out)
                hours[kind] += len(stream.wav) / listener.rate / 3600
            counts["running speech"] += alarms(in_speech[mode][place], threshold)
            hours["running speech"] += len(running) / listener.rate / 3600
        made[mode] = {kind: counts[kind] / hours[kind] for kind in counts}
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_folder", help="output_folder of a run of personal keywords")
    parser.add_argument("--speech", required=True, help="folder of running speech of others")
    parser.add_argument("--record", help="JSON file of the results")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    listener = Listener(asked.run_folder)
    rows = read_manifest(manifest_paths(Path(asked.run_folder) / "manifests")["test"]).values()
    takes = takes_by_target(rows, listener.front_end)
    running = speech_of(asked.speech, listener.rate)
    made = rates(listener, takes, running)
    minutes = len(running) / listener.rate / 60
    print(f"{len(takes)} words enrolled; {minutes:.0f} minutes of running speech; 5 % missed.")
    print("| | " + " | ".join(made["anybody"]) + " |\n| --- | ---: | ---: | ---: |")
    for mode, kinds in made.items():
        print(f"| {mode} | " + " | ".join(f"{rate:.1f}" for rate in kinds.values()) + " |")
    if asked.record:
        Path(asked.record).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
