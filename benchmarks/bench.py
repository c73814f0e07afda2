"""Cost of personalization: all that is measured, recorded as JSON, a table and a plot.

> make bench
> python benchmarks/bench.py --threads=2 --seconds=5
> python benchmarks/bench.py --part='crowd of 256*'

Everything is a ratio to the first line of its part, measured with it in turns, with quartiles over
rounds; differences within the range of the A/A line are noise. docs/speed.md holds the tables.
"""

import argparse
import json
import platform
from fnmatch import fnmatchcase
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from ceilings import ceilings
from crowd import inference, mixed_batch, training
from enrolling import (
    bytes_per_speaker,
    enrolling,
    fine_tuning,
    merged_answer,
    training_step,
)
from hop import streaming_hop
from interleaved import Ratio
from page import write_page
from scale import sampling, set_up
from subjects import ALL, NORMS, SUBJECTS

from vofp_plugin.utils.files import whole_file

RESULTS = Path(__file__).parent / "results.json"


def parts(seconds):
    """Every part and what measures it, {name: function of no argument to {candidate: figures}}."""
    todo = {
        "merged": partial(merged_answer),
        f"crowd: DSCNN, {NORMS}": partial(inference, "DSCNN", NORMS, foils=True),
        "training step of the recipe": partial(training_step),
        "fine-tuning": partial(fine_tuning),
    }
    for form in ("full", "channel", "low_rank"):
        todo[f"crowd: DSCNN, {ALL}, {form}"] = partial(inference, "DSCNN", ALL, form=form)
    todo[f"crowd of 256: DSCNN, {NORMS}"] = partial(
        inference, "DSCNN", NORMS, numbers=(1, 256), items=256
    )
    if find_spec("peft") is None:
        print("Skipped: PEFT's mixed batch, which needs `pip install peft`.")
    else:
        todo["mixed adapters, DSCNN, low_rank"] = partial(mixed_batch)
    for layers in (NORMS, ALL):
        todo[f"training: DSCNN, {layers}"] = partial(training, "DSCNN", layers)
    for shots in (1, 5, 20):
        todo[f"enrolling, K = {shots}"] = partial(enrolling, shots)
    todo["enrolling, 192 channels"] = partial(enrolling, 5, 192)
    for name in list(SUBJECTS)[1:]:
        for layers in (NORMS, ALL):
            todo[f"crowd: {name}, {layers}"] = partial(inference, name, layers)
    for form in ("channel", "low_rank"):
        todo[f"crowd: Xvector-256, {ALL}, {form}"] = partial(
            inference, "Xvector-256", ALL, form=form
        )
    todo["ceilings"] = partial(ceilings)
    timed = {name: partial(run, seconds=seconds) for name, run in todo.items()}
    counted = {"bytes per speaker: numbers, weights": bytes_per_speaker}
    if torch.get_num_threads() == 1:  # a second one is of no use to them
        counted["a million rows"] = sampling
        counted["set-up, 100,000 cached utterances"] = set_up
        counted["stream"] = streaming_hop
    return {**counted, **timed}


def main(threads, seconds, output, part):
    """Measures parts, and writes the record after each of them, the tables and the plot."""
    torch.set_num_threads(threads)
    record = json.loads(output.read_text()) if output.exists() else {}
    place = f"{threads} thread{'s' * (threads > 1)}"
    kept = {} if part == "*" else record.get(place, {"parts": {}})["parts"]
    run = {"machine": f"{platform.machine()}, torch {torch.__version__}", "parts": kept}
    record[place] = run
    todo = {name: measure for name, measure in parts(seconds).items() if fnmatchcase(name, part)}
    if not todo:
        raise SystemExit(f"Got --part={part!r}; expected a pattern of {list(parts(seconds))}.")
    for name, measure in todo.items():
        torch.manual_seed(0)
        rows = measure().items()
        run["parts"][name] = {k: v._asdict() if isinstance(v, Ratio) else v for k, v in rows}
        with whole_file(output) as written:
            written.write_text(json.dumps(record, indent=1) + "\n")
        print(name, {k: getattr(v, "median", v) for k, v in rows}, flush=True)
    print(write_page(record))


def parse_arguments():
    """Reads how many threads, and how long."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each part")
    parser.add_argument("--part", default="*", help="pattern of the names of what is measured")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="the record, which is added to"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main(**vars(parse_arguments()))
