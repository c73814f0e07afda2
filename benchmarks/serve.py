"""Serving: requests of many enrolled speakers, from several threads, against one shared model.

> python benchmarks/serve.py

Every request is one clip of a speaker drawn at random. It is answered by itself ("each alone"), or
in a micro-batch with what waits (`MicroBatch`); with the shared model, and with the speaker's
weights, which are kept for answers alone and made anew for a batch. Ratios are to the shared model
served the same way, in turns, by the CPU time of the process, which a busy machine changes least.
Latencies are by the clock.
"""

import argparse
import json
import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from enrolling import enrollment_of, personalized_model

from vofp_plugin.inference.micro_batch import MicroBatch
from vofp_plugin.lobes.enrollment import Summary
from vofp_plugin.utils.files import whole_file

RESULTS = Path(__file__).parent / "serving.json"


class Server:
    """Answers clips with the summaries of enrolled speakers, or of nobody."""

    def __init__(self, num_speakers):
        self.model, one = personalized_model(), enrollment_of(1, 2)
        with torch.no_grad():
            summary = self.model.encoder.summarize(one)
        self.summaries = [
            Summary(summary.values + 0.1 * torch.randn(1, 16), summary.precisions)
            for _ in range(num_speakers)
        ]
        self.clips = torch.randn(64, 101, 40)
        self.kept = [self._weights([speaker]) for speaker in range(num_speakers)]

    @torch.inference_mode()
    def shared(self, speakers):
        """Answers a clip of each of some speakers, alike."""
        return self.model(self.clips[: len(speakers)])

    @torch.inference_mode()
    def own(self, speakers):
        """Answers a clip of each of some speakers, with their weights."""
        alone = len(speakers) == 1
        weights = self.kept[speakers[0]] if alone else self._weights(speakers)
        return self.model(self.clips[: len(speakers)], weights=weights)

    @torch.inference_mode()
    def _weights(self, speakers):
        parts = zip(*(self.summaries[speaker] for speaker in speakers), strict=True)
        return self.model.personalize(Summary(*map(torch.cat, parts)))

    @property
    def bytes_per_speaker(self):
        """Bytes of the kept weights of one speaker."""
        return 4 * sum(weight.numel() for weight in self.kept[0].values())


def serve(answer, speakers, threads, at_once):
    """Seconds that every request of `speakers` took, and CPU seconds of all of them together."""
    one = MicroBatch(answer) if at_once else lambda speaker: answer([speaker])

    def timed(speaker):
        start = time.perf_counter()
        one(speaker)
        return time.perf_counter() - start

    with ThreadPoolExecutor(threads) as pool:
        start = time.process_time()
        each = list(pool.map(timed, speakers))
    return each, time.process_time() - start


def measure(num_speakers, threads, requests=48, rounds=3):
    """Rows {how: figures} of a number of enrolled speakers and of threads."""
    server, generator = Server(num_speakers), random.Random(0)
    ways = {
        ("shared", "each alone"): (server.shared, False),
        ("own", "each alone"): (server.own, False),
        ("shared", "micro-batch"): (server.shared, True),
        ("own", "micro-batch"): (server.own, True),
    }
    each, total = {way: [] for way in ways}, {way: [] for way in ways}
    for _ in range(rounds):
        speakers = [generator.randrange(num_speakers) for _ in range(requests)]
        for way in generator.sample(list(ways), len(ways)):
            seconds, all_of_them = serve(ways[way][0], speakers, threads, ways[way][1])
            each[way] += seconds
            total[way].append(all_of_them)
    return {
        " ".join(way): {
            "per_s": requests / statistics.median(total[way]),
            "of_shared": statistics.median(
                a / b for a, b in zip(total[("shared", way[1])], total[way], strict=True)
            ),
            "p50_ms": 1000 * statistics.median(each[way]),
            "p99_ms": 1000 * statistics.quantiles(each[way], n=100)[98],
        }
        for way in ways
    }


def main(speakers, output):
    """Measures, prints a table, and adds to the record."""
    torch.set_num_threads(1)
    rows = json.loads(output.read_text()) if output.exists() else {}
    print("| Speakers | Threads | Way | Requests per CPU s | Of shared | p50 ms | p99 ms |")
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    for num_speakers in speakers:
        for threads in (1, 8):
            for way, row in measure(num_speakers, threads).items():
                rows[f"{num_speakers} | {threads} | {way}"] = row
                figures = f"{row['per_s']:.0f} | {row['of_shared']:.2f} | {row['p50_ms']:.1f}"
                print(
                    f"| {num_speakers} | {threads} | {way} | {figures} | {row['p99_ms']:.1f} |",
                    flush=True,
                )
    rows["bytes of weights per speaker"] = Server(1).bytes_per_speaker
    with whole_file(output) as partial:
        partial.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--speakers", type=int, nargs="+", default=[1, 16, 64, 1000])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the record")
    main(**vars(parser.parse_args()))
