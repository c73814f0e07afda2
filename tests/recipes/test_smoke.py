"""Every recipe YAML runs: smoke.csv has a row for each, with what its data needs beyond `TINY`.

A variant that runs on one corpus is only made on the others, on which what it stands on runs.
"""

import csv
import json
import math
import re
from functools import partial
from importlib.util import find_spec
from itertools import filterfalse
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from tiny_corpus import SPEAKERS, SYNTHETIC, TAKES, WORDS
from tiny_runs import BRIEF, RECIPES, TINY, from_scratch, load_prepare

from vofp_plugin.augment.bad_enrollment import TWO_SPEAKERS, UTTERANCE_KINDS
from vofp_plugin.evaluation import reports
from vofp_plugin.evaluation.reports import read_metrics
from vofp_plugin.runs.configuration import load_yaml, parse_overrides
from vofp_plugin.runs.run import READ_KEYS
from vofp_plugin.runs.runner import run

FRAGMENTS = RECIPES.parent / "hparams"
CORPORA = {
    "Google-speech-commands": "google_corpus",
    "Arabic-speech-commands": "arabic_corpus",
    "Synthetic-commands": "synthetic_corpus",
    "VoxCeleb": "voxceleb_corpus",
    "speechocean762": "speechocean_corpus",
}
ELSEWHERE = ("personal_keywords", "synthetic")  # recipes that tests of their own run
DRAWN = ("Google-speech-commands/personalized_kws", "vofp.yaml")
FOUNDATIONS = ("shared.yaml", "vofp.yaml", "two_covariance.yaml")
PNG = b"\x89PNG"
SHARED = {("shared", 0)}
ENROLLED = {("none", 0)} | {(kind, k) for kind in ("own", "stranger") for k in (1, 3)}
BAD = {(kind, 3) for kind in (*UTTERANCE_KINDS, TWO_SPEAKERS)}
SAMPLED = {("own_sampled", k) for k in (1, 3)}
ADAPTED = ("fine_tuned", "nearest_mean", "word_experts")
DETERMINISTIC = ("vofp_delta", "film", "concatenation", *ADAPTED)
CONDITIONS = ("quiet", "noise", "other_noise", "quiet_enrollment")


def expected_of(task, system):
    """{condition: (enrollment, K) in it} that a system of a task is evaluated in."""
    if task == "personal_vad":
        return dict.fromkeys(CONDITIONS[:2], ENROLLED)
    if task in ("target_speaker_kws", "verification", "personalized_verification"):
        return dict.fromkeys((*CONDITIONS[:2], "own_noise"), ENROLLED)
    if system.startswith("shared"):
        return dict.fromkeys(CONDITIONS[:2], SHARED)
    enrolled = ENROLLED | (set() if system in DETERMINISTIC else SAMPLED)
    if system != "vofp":
        return dict.fromkeys(CONDITIONS[:2], enrolled)
    in_quiet = ("quiet", "quiet_enrollment")
    return {name: enrolled | BAD if name in in_quiet else enrolled for name in CONDITIONS}


def read_smoke_table():
    with open(Path(__file__).with_name("smoke.csv"), newline="", encoding="utf-8") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


TABLE = read_smoke_table()


def runs_elsewhere(row):
    """Whether an earlier row is the same variant on another corpus."""
    recipe, yaml, _ = row
    earlier = [(Path(recipe).name, yaml) for recipe, yaml, _ in TABLE[: TABLE.index(row)]]
    return yaml not in FOUNDATIONS and (Path(recipe).name, yaml) in earlier


@pytest.mark.parametrize("recipe, yaml, overrides", list(filter(runs_elsewhere, TABLE)))
def test_variant_is_made(tmp_path, recipe, yaml, overrides):
    options = ["--data_folder=data", f"--output_folder={tmp_path}", *overrides.split()]
    given = dict(option.removeprefix("--").split("=", 1) for option in options)
    overrides = parse_overrides({**given, "checkpointer": "null"})
    hparams = load_yaml(RECIPES / recipe / "hparams" / yaml, overrides, READ_KEYS)
    hparams["task"].check(hparams["model"])
    assert isinstance(hparams["modules"]["model"], torch.nn.Module)


@pytest.mark.parametrize("recipe, yaml, overrides", list(filterfalse(runs_elsewhere, TABLE)))
def test_recipe_runs(request, monkeypatch, tmp_path, cache_folder, recipe, yaml, overrides):
    if yaml.startswith("resemblyzer") and find_spec("resemblyzer") is None:
        pytest.skip("needs the extra 'peers'")
    module, function = load_prepare(RECIPES / recipe)
    if hasattr(module, "make_corpus"):
        monkeypatch.setattr(module, "make_corpus", partial(module.make_corpus, **SYNTHETIC))
    data_folder = request.getfixturevalue(CORPORA[Path(recipe).parts[0]])
    arguments = [
        str(RECIPES / recipe / "hparams" / yaml),
        f"--data_folder={data_folder}",
        f"--output_folder={tmp_path / 'run'}",
        f"--cache_folder={cache_folder}",
        *TINY,
        *from_scratch(RECIPES / recipe / yaml),
        "--num_epochs=1",
        *overrides.split(),
    ]
    if yaml != "vofp.yaml":  # conditions and spoiled enrollments are seen once a recipe
        arguments += BRIEF
    if (recipe, yaml) != DRAWN:  # plots take long, and are seen once
        monkeypatch.setattr(reports, "save_figure", lambda figure, path: path.write_bytes(PNG))
    metrics = run(getattr(module, function), arguments)
    assert read_metrics(tmp_path / "run") == json.loads(json.dumps(metrics))
    assert (metrics["recipe"], metrics["yaml"]) == (recipe, yaml)
    check_results(metrics, expected_of(Path(recipe).name, Path(yaml).stem))
    check_files(tmp_path / "run")


def check_results(metrics, expected):
    assert {row["condition"] for row in metrics["results"]} == expected.keys()
    for condition, enrollments in expected.items():
        rows = [row for row in metrics["results"] if row["condition"] == condition]
        assert {(row["enrollment"], row["shots"]) for row in rows} == enrollments
        # All enrollments answer the same queries of all test speakers.
        assert len({(row["num_speakers"], row["num_queries"]) for row in rows}) == 1
        assert rows[0]["num_speakers"] == metrics["data"]["test"]["speakers"]
    for row in [*metrics["results"], *metrics["per_speaker"]]:
        numbers = [row[key] for key in ("value", "accuracy", "nll") if key in row]
        assert numbers and all(map(math.isfinite, numbers))
    assert metrics["training"]["steps"] == 3
    if metrics["system"].startswith("resemblyzer"):  # of which the front end is the largest part
        costs = metrics["model"]
        assert costs["multiply_adds_per_query"] > 2e8 and costs["parameters"] > 1.4e6
    synthetic = metrics["recipe"].startswith("Synthetic")
    num_speakers = SYNTHETIC["num_speakers"] if synthetic else len(SPEAKERS)
    words_and_takes = len(WORDS) * TAKES
    assert {n["utterances"] / n["speakers"] for n in metrics["data"].values()} == {words_and_takes}
    assert sum(n["speakers"] for n in metrics["data"].values()) == num_speakers


def check_files(folder):
    report = (folder / "report.md").read_text()
    images = re.findall(r"!\[\w+\]\((\w+\.png)\)", report)
    assert {"accuracy.png", "training.png"} <= set(images) and "Condition: noise" in report
    assert all((folder / image).read_bytes().startswith(PNG) for image in images)
    yaml = (folder / "hyperparams.yaml").read_text()
    assert "\nmodel:" in yaml and "\nbase:" not in yaml, "must say all of what was run"


def test_every_recipe_yaml_has_one_row():
    rows = [f"{recipe}/hparams/{yaml}" for recipe, yaml, _ in TABLE]
    yamls = [path.relative_to(RECIPES).as_posix() for path in RECIPES.glob("*/*/hparams/*.yaml")]
    assert sorted(rows) == sorted(yaml for yaml in yamls if yaml.split("/")[1] not in ELSEWHERE)


def check_front_end(section):
    clip = torch.zeros(2, section["front_end"].num_samples)
    assert section["front_end"](clip).shape == (2, 101, section["num_features"])


def check_main_model(section):
    output = section["main_model"](torch.rand(2, 101, 40), torch.ones(2))
    log_probs = output[0] if isinstance(output, tuple) else output  # a trunk gives both
    assert len(log_probs) == 2
    assert "num_classes" not in section or log_probs.shape[-1] == section["num_classes"]


def check_augmentation(section):
    feats = torch.rand(6, 101, 40)
    voices = torch.tensor([0, 0, 0, 1, 1, 1])
    warped = section["virtual_speaker"](feats, voices, voices)
    assert warped.shape == feats.shape and not torch.equal(warped, feats)
    torch.manual_seed(0)
    masked = [section["fea_augment"](feats.clone(), torch.ones(6))[0] for _ in range(40)]
    assert all(x.shape == feats.shape for x in masked)
    hidden = torch.stack([x != feats for x in masked])  # (episodes, utterances, T, F)
    frames, bands = hidden.all(dim=3).sum(dim=2), hidden.all(dim=2).sum(dim=2)
    assert frames.max() == section["masked_frames"] - 1
    assert bands.max() == section["masked_bands"] - 1
    for masks in (frames, bands):
        episodes = (masks > 0).any(dim=1)
        assert 0.25 < episodes.float().mean() < 0.75, "half of the episodes"
        assert (masks[episodes].max(dim=1).values > masks[episodes].min(dim=1).values).all()


CHECKS = {
    "augmentations": check_augmentation,
    "front_ends": check_front_end,
    "main_models": check_main_model,
}


def fragments():
    """Files that make one object each; what is below `systems` holds keys of whole YAMLs."""
    return [path for room in CHECKS for path in FRAGMENTS.glob(f"{room}/*.yaml")]


@pytest.mark.parametrize(
    "fragment",
    sorted(path.relative_to(FRAGMENTS).as_posix() for path in fragments()),
)
def test_fragment_loads_and_works(fragment):
    with open(FRAGMENTS / fragment, encoding="utf-8") as file:
        CHECKS[Path(fragment).parts[0]](load_hyperpyyaml(file))


def test_fragments_have_no_unread_key():
    for path in fragments():
        text = path.read_text()
        keys = re.findall(r"^(\w+):", text, flags=re.MULTILINE)
        made = {"front_end", "main_model", "virtual_speaker", "fea_augment"}
        assert made & set(keys) and set(keys) - made <= set(re.findall(r"<(\w+)>", text)), path
