"""Sizes, latencies and losses of exported models.

> python benchmarks/exports.py MODEL_FOLDER --data_folder=/path/to/speech_commands

One thread. A latency is the CPU time of one second of audio, features included, the fastest of some
rounds. Accuracy and the largest difference of log-probabilities from PyTorch, in nats, are those of
some speakers' recordings, each with five enrollment utterances of theirs.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
from onnxruntime import InferenceSession, SessionOptions

from vofp_plugin.inference.export import export, speaker_model
from vofp_plugin.inference.keyword_spotter import KeywordSpotter
from vofp_plugin.inference.onnx_export import (
    ANSWER,
    ENROLL,
    export_onnx,
    export_onnx_pair,
    round_to_8_bits,
)

ROUNDS, SHOTS = 30, 5


def fastest(run):
    """CPU time of the fastest round on a second of noise, in ms."""
    clip, times = 0.1 * torch.randn(1, 16000), []
    for _ in range(ROUNDS):
        start = time.process_time()
        run(clip)
        times.append(time.process_time() - start)
    return 1000 * min(times)


def onnx_run(path):
    """Function of audio (1, L) that gives the last output of a file of ONNX, on one thread."""
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(path, options)
    return lambda audio: torch.from_numpy(session.run(None, {"audio": audio.numpy()})[-1])


def runs_of(spotter, profile, folder):
    """{name: function of audio} of a speaker's model in every format, with files in a folder."""
    export(spotter, profile, folder / "torch")
    export_onnx(spotter, profile, folder / "onnx")
    round_to_8_bits(folder / "onnx", folder / "onnx-int8")
    return {
        "PyTorch": speaker_model(spotter, profile),
        "torch": torch.export.load(folder / "torch").module(),
        "onnx": onnx_run(folder / "onnx"),
        "onnx-int8": onnx_run(folder / "onnx-int8"),
    }


def recordings_of(data_folder, words, num_speakers):
    """Recordings of the speakers who have most, lists of (path, word), in Google's layout."""
    speakers = defaultdict(list)
    for path in sorted(Path(data_folder).glob("*/*_nohash_*")):
        if path.parent.name in words:
            speakers[path.name.partition("_nohash_")[0]].append((path, path.parent.name))
    return sorted(speakers.values(), key=len, reverse=True)[:num_speakers]


def answers_of(runs, spotter, queries):
    """{name: log-probabilities (queries, classes)}."""
    audio = [spotter.load_audio(path).unsqueeze(0) for path, _ in queries]
    return {name: torch.cat([run(clip) for clip in audio]) for name, run in runs.items()}


def size_of(path):
    """Of a file, in kB."""
    return path.stat().st_size / 1000


def print_row(name, *numbers):
    """Prints a row of a table; what is None stays empty."""
    cells = ["" if number is None else f"{number:.3g}" for number in numbers]
    print(f"| {' | '.join([name, *cells])} |", flush=True)


@torch.no_grad()
def main(model_folder, data_folder, speakers):
    """Prints the table."""
    torch.set_num_threads(1)
    spotter = KeywordSpotter.from_hparams(model_folder)
    words = spotter.hparams.label_encoder.lab2ind
    outputs, labels = defaultdict(list), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for recordings in recordings_of(data_folder, words, speakers):
            profile = spotter.enroll([path for path, _ in recordings[:SHOTS]])
            runs = runs_of(spotter, profile, folder)
            for kind, answers in answers_of(runs, spotter, recordings[SHOTS:]).items():
                outputs[kind].append(answers)
            labels += [words[word] for _, word in recordings[SHOTS:]]
        outputs = {kind: torch.cat(answers) for kind, answers in outputs.items()}
        print("| Model | Size (kB) | Latency (ms) | Accuracy (%) | Difference (nats) |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for kind, answers in outputs.items():
            size = None if kind == "PyTorch" else size_of(folder / kind)
            right = (answers.argmax(dim=1) == torch.tensor(labels)).float().mean().item()
            error = (answers - outputs["PyTorch"]).abs().max().item()
            print_row(kind, size, fastest(runs[kind]), 100 * right, error)
        export_onnx_pair(spotter, folder)
        for kind in (ENROLL, ANSWER):
            print_row(kind, size_of(folder / kind), fastest(onnx_run(folder / kind)), None, None)
    print(f"\n{len(labels)} answers of {speakers} speakers.")


def parse_arguments():
    """Reads which model, and whose recordings."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model_folder", help="`pretrained` of a finished run")
    parser.add_argument("--data_folder", required=True, help="Google Speech Commands, or alike")
    parser.add_argument("--speakers", type=int, default=8, help="those with most recordings")
    return parser.parse_args()


if __name__ == "__main__":
    main(**vars(parse_arguments()))
