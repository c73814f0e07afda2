"""Cost of personalization: all that is measured, recorded as JSON, a table and a plot.

> make bench
> python benchmarks/bench.py --threads=2 --seconds=5

Everything is a ratio to the first line of its part, measured with it in turns, with quartiles over
rounds; differences within the range of the A/A line are noise. docs/speed.md holds the tables.
"""

import argparse
import json
import platform
from pathlib import Path

import torch
from ceilings import ceilings
from crowd import inference, training
from enrolling import (
    bytes_per_speaker,
    enrolling,
    fine_tuning,
    merged_answer,
    training_step,
)
from interleaved import Ratio
from page import write_page
from peers import query_times
from subjects import ALL, NORMS, SUBJECTS

from vofp_plugin.utils.files import whole_file

RESULTS = Path(__file__).parent / "results.json"


def measure(seconds):
    """Yields the name of every part and its rows, {candidate: Ratio or number}."""
    for name in SUBJECTS:
        foils = name == "DSCNN"  # the others take a minute each
        yield f"crowd: {name}, {NORMS}", inference(name, NORMS, foils=foils, seconds=seconds)
        yield f"crowd: {name}, {ALL}", inference(name, ALL, seconds=seconds)
    for form in ("channel", "low_rank"):
        yield f"crowd: DSCNN, {ALL}, {form}", inference("DSCNN", ALL, form=form, seconds=seconds)
        yield (
            f"crowd: Xvector-256, {ALL}, {form}",
            inference("Xvector-256", ALL, form=form, seconds=seconds),
        )
    for layers in (NORMS, ALL):
        yield f"training: DSCNN, {layers}", training("DSCNN", layers, seconds=seconds)
    yield "merged", merged_answer(seconds)
    for shots in (1, 5, 20):
        yield f"enrolling, K = {shots}", enrolling(shots, seconds=seconds)
    for channels in (96, 192):
        yield f"enrolling, {channels} channels", enrolling(5, channels, seconds)
    yield "fine-tuning", fine_tuning(seconds=seconds)
    yield "training step of the recipe", training_step(seconds=seconds)
    yield "bytes per speaker: numbers, weights", bytes_per_speaker()
    yield "ceilings", ceilings(seconds)
    peers, missing = query_times(seconds)
    yield "query with the front end", peers | missing


def main(threads, seconds, output):
    """Measures everything, prints the tables, and writes them and the record."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    parts = {}
    for part, rows in measure(seconds):
        parts[part] = {
            name: row._asdict() if isinstance(row, Ratio) else row for name, row in rows.items()
        }
        print(part, flush=True)
    record = json.loads(output.read_text()) if output.exists() else {}
    record[f"{threads} thread{'s' * (threads > 1)}"] = {
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        "seconds": seconds,
        "parts": parts,
    }
    with whole_file(output) as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n")
    print(write_page(record))


def parse_arguments():
    """Reads how many threads, and how long."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each part")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="the record, which is added to"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main(**vars(parse_arguments()))
