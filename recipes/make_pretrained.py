"""Makes the shipped models of finished runs, one folder each with its card.

> python make_pretrained.py keywords=/path/to/run target-speaker-keywords=/path/to/run \
      --other_words=/path/to/speech_without_the_words

A run is the output folder of a recipe. Where it has no decision, the operating points are found by
its validation speakers and by windows of the speech in `--other_words`.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from vofp_plugin.dataio.audio import audio_files, load_audio
from vofp_plugin.dataio.manifests import read_manifest
from vofp_plugin.dataio.quality import assess
from vofp_plugin.dataio.splits import manifest_paths
from vofp_plugin.inference.interfaces import DECISION_FILE, DECISIONS, PersonalizedInterface
from vofp_plugin.inference.shipped import FOLDER
from vofp_plugin.lobes.decision import Decision, log_odds
from vofp_plugin.lobes.soft_and import SoftAnd
from vofp_plugin.tasks.det_curve import DetCurve
from vofp_plugin.utils.files import whole_file

MOST_BYTES = 400_000  # of a model
CC_BY = "CC BY 4.0, as the data, whose authors are to be credited"
DATA = {  # what a model, or those of a recipe's folder, are trained on, and their licence
    "Google-speech-commands": (
        "a part of Google Speech Commands v0.01 (Warden, arXiv:1804.03209), nine words",
        CC_BY,
    ),
    "Arabic-speech-commands": (
        "a part of Arabic Speech Commands (Ghandoura, Hjabo, Al Dakkak, 2021) and words cut from "
        "LibriSpeech (Panayotov et al., 2015)",
        CC_BY,
    ),
    "Synthetic-commands": ("words spoken by espeak-ng", "Apache-2.0"),
    "personal-keywords": (
        "a part of Google Speech Commands v0.01 (Warden, arXiv:1804.03209), words cut from a part "
        "of speechocean762 (Zhang et al., Interspeech 2021), words made up for espeak-ng, and for "
        "choices DSPSpeech-20 (Chen, 2019); no Arabic, on which it is tested",
        CC_BY,
    ),
    "Personal-keywords": ("made-up words spoken by espeak-ng", "Apache-2.0"),
    "speechocean762": (
        "a part of speechocean762 (Zhang et al., Interspeech 2021), free for commercial and "
        "non-commercial use, and of LibriSpeech (Panayotov et al., 2015), CC BY 4.0",
        CC_BY,
    ),
}
SHORT = "Clips of about 1 s; English words by people who read them into their own microphones."
ABOUT = {  # what a model does, and its limits
    "keywords": (
        "Tells nine English words, with weights made from a speaker's enrollment.",
        f"{SHORT} Five utterances make answers surer, and hardly more often right.",
    ),
    "target-speaker-keywords": (
        "Tells nine English words of the enrolled speaker, and rejects those of others.",
        f"{SHORT} It is no lock: another speaker's command passes too often for that.",
    ),
    "personal-keywords": (
        "Tells words that enrollments choose, in any language, by anybody or by who enrolled them.",
        "Words of about 1 s. Tones are hardly told apart. It is no lock.",
    ),
    "verification": (
        "Tells whether the enrolled speaker is heard, whatever is said.",
        "It is no lock: a replayed or synthetic voice is not told from a living one.",
    ),
    "personal-vad": (
        "Tells in every frame whether the enrolled speaker speaks.",
        "Trained on mixtures that were put together, not on recorded conversations.",
    ),
}
UNKNOWN = "validation speakers and on English speech without the nine words (LibriSpeech)"
POINTS = dict.fromkeys(ABOUT, "claims of validation speakers") | {"keywords": UNKNOWN}


def main(argv=None):
    """Makes the models of the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="NAME=RUN_FOLDER")
    parser.add_argument("--other_words", type=Path, metavar="FOLDER")
    parser.add_argument("--data_folder", type=Path, help="of the runs, for operating points")
    arguments = parser.parse_args(argv)
    for model in arguments.models:
        name, _, run = model.partition("=")
        make(Path(run), FOLDER / name, arguments.data_folder, arguments.other_words)
        print(f"Made {FOLDER / name}")
    return 0


def make(run, folder, data_folder, other_words):
    """Writes the model of a run into a folder."""
    interface = PersonalizedInterface.from_hparams(run / "pretrained")
    folder.mkdir(parents=True, exist_ok=True)
    files = ["hyperparams.yaml", "label_encoder.ckpt"]
    files += [path.name for path in (run / "pretrained").glob(DECISIONS)]
    for file in files:
        _write(folder / file, (run / "pretrained" / file).read_bytes())
    with whole_file(folder / "model.safetensors") as partial:
        save_file(stored(interface.mods.model), partial)
    shipped = PersonalizedInterface.from_hparams(folder)  # with weights as they are stored
    decision = getattr(interface.hparams, "decision", None)
    if decision is None and hasattr(shipped, "classify_batch"):
        rows = read_manifest(manifest_paths(run / "manifests")["valid"], data_folder)
        known = scores(shipped, [shipped.load_audio(row["wav"]) for row in rows.values()])
        other = scores(shipped, windows(other_words, shipped.hparams.front_end))
        decision = decision_between(known, other)
        decision.save(folder / DECISION_FILE)
    _write(folder / "card.md", card(folder.name, run, decision).encode())
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > MOST_BYTES:
        raise ValueError(
            f"{folder} has {size} bytes; expected at most {MOST_BYTES}: train narrower."
        )


def stored(model):
    """State dict of a model with parameters in half precision, and the statistics as they are."""
    parameters = dict(model.named_parameters())
    return {
        name: (tensor.half() if name in parameters else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }


def scores(spotter, wavs):
    """Log-odds (M,) of the best word of every waveform, for everybody."""
    parts = [wavs[start : start + 256] for start in range(0, len(wavs), 256)]
    return torch.cat([log_odds(spotter.classify_batch(part)[1]).cpu() for part in parts])


def windows(folder, front_end):
    """Clips of all speech in a folder, end to end, without those in which nobody speaks."""
    clips = []
    for path in audio_files(folder):
        clips += load_audio(path, front_end.sample_rate).split(front_end.num_samples)
    whole = [clip for clip in clips if len(clip) == front_end.num_samples]
    return [clip for clip in whole if not assess(clip, front_end.sample_rate).refused]


def decision_between(known, other):
    """Decision that accepts scores of known words (M,) and rejects those of other sounds (N,)."""
    true = np.concatenate([np.ones(len(known), bool), np.zeros(len(other), bool)])
    curve = DetCurve.of(torch.cat([known, other]).numpy(), true)
    return Decision(SoftAnd(1), curve.equal_error()[1], curve.operating_points())


def card(name, run, decision):
    """Text of the card: what was trained on what, by which command, and what it reaches."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    what, limits = ABOUT[name]
    data, licence = DATA.get(name) or DATA[metrics["recipe"].partition("/")[0]]
    counts = [
        f"{metrics['data'][split]['speakers']} speakers for {use}"
        for split, use in (("train", "training"), ("valid", "choices"), ("test", "the figures"))
    ]
    parts = [
        f'# {name}\n\n{what} It is loaded by `from_hparams("pretrained/{name}")`.',
        f"- Data: {data}. {', '.join(counts)}.\n- Licence: {licence}.\n- Limits: {limits}",
        f"In `recipes/{metrics['recipe']}` it was made by\n\n```sh\n{_command(metrics)}\n```",
        "Figures, of speakers that it was not trained on:",
        _table(_detection_rows(metrics) or _activity_rows(metrics) or _accuracy_rows(metrics)),
    ]
    if decision is not None and decision.operating_points:
        rows = [
            (f"{p.far:g}", f"{p.threshold:.2f}", f"{p.frr:.3f}") for p in decision.operating_points
        ]
        parts += [
            f"Operating points, chosen on {POINTS[name]}:",
            _table([("`far`", "Threshold (nats)", "Rejected of its own"), *rows]),
        ]
    return "\n\n".join(parts) + "\n"


def _command(metrics):
    """The command line of a run, without the places of this machine."""
    options = {"seed": metrics["seed"], "fold": metrics["fold"], **metrics["overrides"]}
    kept = {key: value for key, value in options.items() if "_folder" not in key}
    quoted = [shlex.quote(f"--{key}={value}") for key, value in kept.items()]
    data = "--data_folder=/path/to/data"
    return " ".join(["python train.py", f"hparams/{metrics['yaml']}", data, *quoted])


def _accuracy_rows(metrics):
    """Accuracy by condition and enrollment: rows of a table, the first its head."""
    rows = [("Condition", "Enrollment", "K", "Accuracy (%)", "NLL (nats)")]
    values = {
        (row["condition"], row["enrollment"], row["shots"], row["metric"]): row["value"]
        for row in metrics["results"]
        if row["subset"] == "all"
    }
    for condition, enrollment, shots, metric in values:
        nll = values.get((condition, enrollment, shots, "nll"))
        if metric == "accuracy" and enrollment != "own_sampled":
            accuracy = 100 * values[condition, enrollment, shots, metric]
            rows.append((condition, enrollment, str(shots), f"{accuracy:.1f}", f"{nll:.3f}"))
    return rows


def _detection_rows(metrics):
    """Errors on all kinds of false claims, of own enrollments and a stranger's; or nothing."""
    found = metrics.get("detection", {"rows": []})["rows"]
    conditions = list(dict.fromkeys(row["condition"] for row in found))
    most = max((row["shots"] for row in found if row["shots"] != "all"), default=0)
    rows = [
        (
            row["condition"],
            row["enrollment"],
            str(row["shots"]),
            *(f"{100 * row[key]:.1f}" for key in ("eer", "frr_at_1", "actual")),
        )
        for row in found
        if row["negatives"] == found[-1]["negatives"]  # all kinds, or the only one
        and row["condition"] in (conditions[0], conditions[-1])
        and (row["enrollment"] == "own" or (row["enrollment"], row["shots"]) == ("stranger", most))
        and row["shots"] != "all"
    ]
    head = ("Condition", "Enrollment", "K", "EER (%)", "FRR at 1 % FAR (%)", "Actual error (%)")
    return [head, *rows] if rows else []


def _activity_rows(metrics):
    """Average precision by condition and enrollment; or nothing."""
    rows = [
        (row["condition"], row["enrollment"], str(row["shots"]), f"{100 * row['map']:.1f}")
        for row in metrics.get("personal_vad", [])
    ]
    head = ("Condition", "Enrollment", "K", "Mean average precision (%)")
    return [head, *rows] if rows else []


def _table(rows):
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"| {' | '.join(['---'] * len(rows[0]))} |", *lines[1:]])


def _write(path, data):
    with whole_file(path) as partial:
        partial.write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
