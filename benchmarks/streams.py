"""False alarms, misses and latency in streams, as a curve over thresholds and a table of it.

> python benchmarks/streams.py MODEL_FOLDER ... --manifest=RUN_FOLDER/manifests/test.csv \
      --data_folder=/path/to/shared/data

In a stream a speaker of the manifest, whom the models must not be trained on, says words that they
know, among running speech of others, in a room and in street noise. Each model listens with the
speaker's profile. A word is missed if no event names it whose window holds its middle. Every other
event is a false alarm, a second one for the same word too. Latency is from the end of a word to
where it is told: a hop after the window. The folder holds Google Speech Commands, LibriSpeech,
rooms and noises under their names in `PARTS`.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from vofp_plugin.dataio.audio import load_audio
from vofp_plugin.dataio.manifests import read_manifest
from vofp_plugin.dataio.streams import Clip, build_stream
from vofp_plugin.inference.keyword_spotter import KeywordSpotter
from vofp_plugin.inference.streaming import StreamingSpotter
from vofp_plugin.utils.files import whole_file

PARTS = {
    "words": "speech_commands_v0.01_subset",
    "speech": "librispeech_samples",
    "rooms": "rirs_noise_small/rir",
    "noises": "rirs_noise_small/noise",
}
RECORD = Path(__file__).with_suffix(".json")
SHOTS, SNR = 5, 15.0  # dB
LONGEST = 6.0  # s, of others' speech between two words
SHOWN = 0.5, 0.8, 0.9, 0.97  # thresholds of the table
THRESHOLDS = [round(0.3 + 0.05 * step, 2) for step in range(14)] + [0.97, 0.99]


def files_of(data_folder, part):
    """Recordings of a part of the data, sorted."""
    return sorted((Path(data_folder) / PARTS[part]).rglob("*.flac"))


def recordings_of(manifest, data_folder, words, num_speakers):
    """Words of the speakers who have most in a manifest, {speaker: list of (path, word)}."""
    speakers = defaultdict(list)
    for row in read_manifest(manifest, Path(data_folder) / PARTS["words"]).values():
        if row["command"] in words:
            speakers[row["spk_id"]].append((row["wav"], row["command"]))
    most = sorted(speakers, key=lambda speaker: (-len(speakers[speaker]), speaker))
    return {speaker: speakers[speaker] for speaker in most[:num_speakers]}


def stream_of(speaker, queries, others, places, rate, seed):
    """A stream in which a speaker's words stand between others' running speech."""
    clips = []
    for number, (path, word) in enumerate(queries):
        other = others[(seed + number) % len(others)]
        speech = load_audio(other, rate)[: round(LONGEST * rate)]
        clips.append(Clip(speech, other.parent.parent.name, ""))
        clips.append(Clip(load_audio(path, rate), speaker, word))
    generator = torch.Generator().manual_seed(seed)
    return build_stream(clips, generator, rate, snr=SNR, **places)


def scored(events, spans, hop=0.0):
    """Numbers of words missed and of false alarms, and latencies in s."""
    left, latencies, alarms = [span for span in spans if span.word], [], 0
    for event in events:
        meant = [
            span
            for span in left
            if span.word == event.word and event.start <= (span.start + span.end) / 2 <= event.end
        ]
        alarms += not meant
        for span in meant[:1]:
            left.remove(span)
            latencies.append(event.end + hop - span.end)
    return len(left), alarms, latencies


def point(threshold, counts, words, hours):
    """One point of a curve, of the counts of all streams."""
    latencies = [latency for *_, own in counts for latency in own]
    return {
        "threshold": threshold,
        "missed_percent": 100 * sum(missed for missed, *_ in counts) / words,
        "false_alarms_per_hour": sum(alarms for _, alarms, _ in counts) / hours,
        "median_latency": float(np.median(latencies)) if latencies else None,
    }


def curve(spotter, profiles, streams, hop):
    """Points over all thresholds, of streams that are heard once each."""
    heard = [
        list(StreamingSpotter(spotter, profile, hop=hop).heard([stream.wav]))
        for profile, stream in zip(profiles, streams, strict=True)
    ]
    rate = spotter.hparams.front_end.sample_rate
    hours = sum(len(stream.wav) for stream in streams) / rate / 3600
    words = sum(bool(span.word) for stream in streams for span in stream.spans)
    points = []
    for threshold in THRESHOLDS:
        listener = StreamingSpotter(spotter, hop=hop, threshold=threshold)
        counts = [
            scored(listener.events(windows), stream.spans, hop)
            for windows, stream in zip(heard, streams, strict=True)
        ]
        points.append(point(threshold, counts, words, hours))
    return {"hours": hours, "words": words, "points": points}


def table(record):
    """Some points of every curve, as Markdown."""
    heads = "Model", "Threshold", "Missed (%)", "False alarms per hour", "Latency (s)"
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for model, told in record.items():
        for p in told["points"]:
            if p["threshold"] in SHOWN:
                latency = "" if p["median_latency"] is None else f"{p['median_latency']:.1f}"
                lines.append(
                    f"| {Path(model).name} | {p['threshold']:g} | {p['missed_percent']:.0f} | "
                    f"{p['false_alarms_per_hour']:.0f} | {latency} |"
                )
    return "\n".join(lines)


def plot(record, path):
    """Draws misses over false alarms per hour."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    for model, told in record.items():
        alarms = [p["false_alarms_per_hour"] for p in told["points"]]
        missed = [p["missed_percent"] for p in told["points"]]
        axes.plot(alarms, missed, marker=".", label=Path(model).name)
    axes.set(xlabel="False alarms per hour", ylabel="Words missed (%)", xscale="symlog")
    axes.legend()
    with whole_file(path) as partial:
        figure.savefig(partial, format="svg")


def heard_by(model_folder, manifest, data_folder, speakers, hop):
    """Curve of a model, over streams of some speakers."""
    spotter = KeywordSpotter.from_hparams(model_folder)
    rate, words = spotter.hparams.front_end.sample_rate, spotter.hparams.label_encoder.lab2ind
    places = {
        "responses": [load_audio(path, rate) for path in files_of(data_folder, "rooms")],
        "noises": [load_audio(path, rate) for path in files_of(data_folder, "noises")],
    }
    others = files_of(data_folder, "speech")
    recordings = recordings_of(manifest, data_folder, words, speakers)
    profiles, streams = [], []
    for seed, (speaker, found) in enumerate(recordings.items()):
        profiles.append(spotter.enroll([path for path, _ in found[:SHOTS]]))
        streams.append(stream_of(speaker, found[SHOTS:], others, places, rate, seed))
    return curve(spotter, profiles, streams, hop)


@torch.no_grad()
def main(model_folders, manifest, data_folder, record, speakers, hop):
    """Writes the record and a plot beside it, and prints a table."""
    torch.set_num_threads(1)
    told = {
        folder: heard_by(folder, manifest, data_folder, speakers, hop) for folder in model_folders
    }
    with whole_file(record) as partial:
        partial.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    plot(told, Path(record).with_suffix(".svg"))
    print(table(told))


def parse_arguments():
    """Reads which model, and on what."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model_folders", nargs="+", help="`pretrained` of runs, or shipped models")
    parser.add_argument("--manifest", required=True, help="of speakers whom no model has heard")
    parser.add_argument("--data_folder", required=True, help="with the folders of `PARTS`")
    parser.add_argument("--record", default=RECORD, help="file of the numbers (%(default)s)")
    parser.add_argument("--speakers", type=int, default=8, help="those with most recordings")
    parser.add_argument("--hop", type=float, default=0.1, help="from window to window, in s")
    return parser.parse_args()


if __name__ == "__main__":
    main(**vars(parse_arguments()))
