"""Sizes, latencies and losses of exported models, as the table of docs/speed.md.

> python benchmarks/exports.py MODEL_FOLDER --data_folder=/path/to/speech_commands

One thread. A latency is the CPU time of one second of audio, features included, the fastest of some
rounds. Accuracy and the largest difference of log-probabilities from PyTorch, in nats, are those of
recordings spread over the data, by the model for everybody; a speaker's has the same layers.
"""

import argparse
import json
import tempfile
import time
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
from vofp_plugin.utils.files import whole_file

RECORD = Path(__file__).with_suffix(".json")
ROUNDS = 30
NAMES = {
    "PyTorch": "PyTorch, not exported",
    "torch": "torch.export",
    "onnx": "ONNX",
    "onnx-int8": "ONNX, 8 bits",
    ENROLL: f"pair: {ENROLL}",
    ANSWER: f"pair: {ANSWER}",
}
COLUMNS = "Size (kB)", "Latency (ms)", "Accuracy (%)", "Difference (nats)"


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


def runs_of(spotter, folder):
    """{kind: function of audio} of the model in every format, with files in a folder."""
    export(spotter, None, folder / "torch")
    export_onnx(spotter, None, folder / "onnx")
    round_to_8_bits(folder / "onnx", folder / "onnx-int8")
    return {
        "PyTorch": speaker_model(spotter, None),
        "torch": torch.export.load(folder / "torch").module(),
        "onnx": onnx_run(folder / "onnx"),
        "onnx-int8": onnx_run(folder / "onnx-int8"),
    }


def recordings_of(data_folder, words, number):
    """So many recordings (path, word), spread over data in Google's layout."""
    paths = sorted(Path(data_folder).glob("*/*_nohash_*"))
    known = [path for path in paths if path.parent.name in words]
    return [(path, path.parent.name) for path in known[:: max(1, len(known) // number)][:number]]


def measured(kind, run, folder):
    """Size, in kB, and latency, in ms, of a model."""
    size = None if kind == "PyTorch" else (folder / kind).stat().st_size / 1000
    return {"kind": kind, COLUMNS[0]: size, COLUMNS[1]: fastest(run)}


def compared(answers, expected, labels):
    """Accuracy of answers (clips, classes), in %, and how far they are from others, in nats."""
    right = (answers.argmax(dim=1) == labels).float().mean().item()
    return {COLUMNS[2]: 100 * right, COLUMNS[3]: (answers - expected).abs().max().item()}


def table(record):
    """The record as Markdown."""
    lines = [f"| Model | {' | '.join(COLUMNS)} |", f"| --- |{' ---: |' * len(COLUMNS)}"]
    for row in record["rows"]:
        cells = ["" if row.get(key) is None else f"{row[key]:.3g}" for key in COLUMNS]
        lines.append(f"| {NAMES[row['kind']]} | {' | '.join(cells)} |")
    return "\n".join(lines)


@torch.no_grad()
def main(model_folder, data_folder, clips, record):
    """Writes the record and prints the table."""
    torch.set_num_threads(1)
    spotter = KeywordSpotter.from_hparams(model_folder)
    words = spotter.hparams.label_encoder.lab2ind
    recordings = recordings_of(data_folder, words, clips)
    audio = [spotter.load_audio(path).unsqueeze(0) for path, _ in recordings]
    labels = torch.tensor([words[word] for _, word in recordings])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = runs_of(spotter, folder)
        answers = {kind: torch.cat([run(clip) for clip in audio]) for kind, run in runs.items()}
        rows = [
            measured(kind, run, folder) | compared(answers[kind], answers["PyTorch"], labels)
            for kind, run in runs.items()
        ]
        export_onnx_pair(spotter, folder)
        rows += [measured(kind, onnx_run(folder / kind), folder) for kind in (ENROLL, ANSWER)]
    told = {"model": str(model_folder), "clips": len(recordings), "rows": rows}
    with whole_file(record) as partial:
        partial.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(table(told))


def parse_arguments():
    """Reads which model, and whose recordings."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model_folder", help="`pretrained` of a finished run, or a shipped model")
    parser.add_argument("--data_folder", required=True, help="Google Speech Commands, or alike")
    parser.add_argument("--clips", type=int, default=500, help="recordings to ask (%(default)s)")
    parser.add_argument("--record", default=RECORD, help="file of the numbers (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main(**vars(parse_arguments()))
