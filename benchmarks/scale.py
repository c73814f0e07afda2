"""Scale: episodes of a million rows, and the set-up of a run on many cached utterances."""

import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml

from vofp_plugin.dataio.episodes import EpisodeBatchSampler, EpisodeShape
from vofp_plugin.dataio.features import cache_key
from vofp_plugin.dataio.manifests import read_manifest, write_manifest
from vofp_plugin.dataio.utterances import load_utterances, train_dataset

FRONT_END = Path(__file__).resolve().parent.parent / "hparams" / "front_ends" / "log_mel.yaml"
SHAPE = EpisodeShape(num_speakers=24, max_shots=6, num_queries=5)
CLIP = 16000  # samples


def sampling(num_rows=1_000_000, num_speakers=50_000, num_episodes=100):
    """Cost of drawing episodes, {what: number}."""
    rows = [{"spk_id": f"speaker{index % num_speakers}"} for index in range(num_rows)]
    tracemalloc.start()
    sampler = EpisodeBatchSampler(rows, SHAPE, num_episodes)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    start = time.process_time()
    drawn = sum(1 for _ in sampler)
    seconds = time.process_time() - start
    return {"ms per episode": 1000 * seconds / drawn, "MB of the sampler": held / 1e6}


def set_up(num_rows=100_000, num_speakers=5_000):
    """Seconds from a manifest, whose features are cached, to the first episode, {what: seconds}."""
    with open(FRONT_END, encoding="utf-8") as stream:
        front_end = load_hyperpyyaml(stream)["front_end"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_up(folder, num_rows, num_speakers, front_end)
        start, seconds = time.perf_counter(), {}

        def lap(step):
            seconds[step] = time.perf_counter() - start - sum(seconds.values())

        rows = [{"ID": key, **row} for key, row in read_manifest(folder / "train.csv").items()]
        lap("manifest, s")
        labels = torch.zeros(num_rows, dtype=torch.long)
        utterances = load_utterances(rows, labels, front_end, folder)
        lap("features, s")
        dataset = train_dataset(rows, utterances)
        lap("data set, s")
        (episode,) = EpisodeBatchSampler(rows, SHAPE, num_episodes=1)
        len([dataset[item.index] for item in episode])
        lap("first episode, s")
    return {**seconds, "all, s": sum(seconds.values())}


def _make_up(folder, num_rows, num_speakers, front_end):
    """Writes a manifest of one clip, so many times, and an empty array for its features."""
    soundfile.write(folder / "clip.wav", np.zeros(CLIP), CLIP)
    facts = {"duration": 1.0, "start": 0, "stop": CLIP, "wav": str(folder / "clip.wav")}
    words = {"command": "yes", "transcript": "yes"}
    rows = [
        {"ID": str(index), **facts, "spk_id": f"speaker{index % num_speakers}", **words}
        for index in range(num_rows)
    ]
    write_manifest(rows, folder / "train.csv")
    frames = front_end(torch.zeros(1, front_end.num_samples))[0]
    np.lib.format.open_memmap(
        folder / f"{cache_key(rows, front_end, None)}.npy",
        mode="w+",
        dtype=np.float16,
        shape=(num_rows, *frames.shape),
    )
