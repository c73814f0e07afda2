"""Every model is evaluated by the same queries; what a speaker is enrolled with differs."""

import shutil

import pytest
import torch
from tiny_runs import run_google, scores_of

from vofp_plugin.augment.bad_enrollment import TWO_SPEAKERS, UTTERANCE_KINDS
from vofp_plugin.evaluation.evaluator import Evaluator
from vofp_plugin.evaluation.reports import read_metrics
from vofp_plugin.evaluation.sweep import load_sweep, save_sweep
from vofp_plugin.lobes.baselines import fine_tuned

# What all runs but these leave out, to be brief.
WHOLE = ("--conditions={}", f"--bad_enrollments=[{','.join((*UTTERANCE_KINDS, TWO_SPEAKERS))}]")


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, google_corpus, cache_folder):
    """Folder of a finished tiny run of vofp.yaml, in all conditions and with all enrollments."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run_google("vofp.yaml", google_corpus, folder, cache_folder, "--num_epochs=1", *WHOLE)
    return folder


def test_conditions_of_another_enrollment_ask_the_queries_of_noise(
    monkeypatch, whole_run, google_corpus, cache_folder, tmp_path
):
    """The very same features, of which only the enrollment differs."""

    class Enough(Exception):
        """Ends the run."""

    def take(brain, run, metrics, draws, conditions, asked, classes):
        raise Enough(brain, draws, conditions)

    monkeypatch.setattr("vofp_plugin.runs.testing.score", take)
    folder = shutil.copytree(whole_run, tmp_path / "run")
    options = ("--num_epochs=1", *WHOLE, "--test_only")
    with pytest.raises(Enough) as taken:
        run_google("vofp.yaml", google_corpus, folder, cache_folder, *options)
    brain, draws, conditions = taken.value.args
    assert list(conditions) == ["quiet", "noise", "other_noise", "quiet_enrollment"]
    quiet, noise, other, quiet_enrollment = conditions.values()
    for condition in (other, quiet_enrollment):
        assert condition.queries.feats.filename == noise.queries.feats.filename
    for condition in (quiet, quiet_enrollment):
        assert [room.feats.filename for room in condition.rooms] == [quiet.queries.feats.filename]
    for draw in draws:
        own, elsewhere = (x.room_of(draw.speaker) for x in (noise, other))
        asked = noise.queries.features(draw.queries)
        assert torch.equal(own.features(draw.queries), asked)
        assert (elsewhere.features(draw.queries) != asked).any()
        # A stranger is heard in the speaker's room, not in one of their own.
        heard = brain.evaluator._enrollment(noise, [draw], "stranger", 3).feats[0]
        assert torch.equal(heard, own.features(draw.stranger))


def test_other_noise_changes_only_what_reads_the_enrollment(whole_run):
    metrics = read_metrics(whole_run)
    none, own = (scores_of(metrics, *cell) for cell in (("none", 0), ("own", 3)))
    assert none["noise"] == none["other_noise"] != none["quiet"]
    assert own["noise"] != own["other_noise"]


def test_monte_carlo_is_seeded_and_differs_from_the_mean(
    finished_run, google_corpus, cache_folder, tmp_path
):
    metrics = read_metrics(finished_run)
    assert scores_of(metrics, "own_sampled", 3) != scores_of(metrics, "own", 3)
    run_google("vofp.yaml", google_corpus, tmp_path, cache_folder)
    again = read_metrics(tmp_path)
    assert scores_of(again, "own_sampled", 3) == scores_of(metrics, "own_sampled", 3)


def test_refused_enrollment_is_none_and_two_speakers_are_neither(whole_run):
    metrics = read_metrics(whole_run)
    none, own, stranger = (
        scores_of(metrics, kind, shots)
        for kind, shots in (("none", 0), ("own", 3), ("stranger", 3))
    )
    for condition, scores in scores_of(metrics, "silence", 3).items():
        for speaker, score in scores.items():
            assert score == pytest.approx(none[condition][speaker], abs=1e-5)
    for kind in ("slightly_clipped", "two_speakers"):
        bad = scores_of(metrics, kind, 3)
        assert bad.keys() == {"quiet", "quiet_enrollment"}, "where own differs in the room alone"
        for condition, scores in bad.items():
            others = (none[condition], own[condition], stranger[condition])
            assert scores not in others


TINY_SWEEP = '--model={"steps":[1,3],"learning_rates":[0.003]}'


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, google_corpus, cache_folder):
    """Folder of a finished run of fine_tuned.yaml, and the speakers that its sweep read."""
    folder, speakers, sweep = tmp_path_factory.mktemp("tuned"), [], Evaluator.sweep

    def remember(evaluator, condition, draws):
        speakers.extend(draw.speaker for draw in draws)
        return sweep(evaluator, condition, draws)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evaluator, "sweep", remember)
        run_google("fine_tuned.yaml", google_corpus, folder, cache_folder, TINY_SWEEP)
    return folder, set(speakers)


def test_setting_that_diverges_is_no_better_than_the_shared_model(
    google_corpus, cache_folder, tmp_path
):
    option = '--model={"steps":[3],"learning_rates":[1.0e+18]}'
    metrics = run_google("fine_tuned.yaml", google_corpus, tmp_path, cache_folder, option)
    nll = {True: set(), False: set()}
    for row in metrics["sweep"]:
        nll[row["setting"] == {}].add(row["nll"])
    assert nll[False] & nll[True], "all speakers diverged: the shared model answered"
    chosen = [row for row in metrics["sweep"] if row["chosen"]]
    assert [row["setting"] for row in chosen] == [{}] * 4, "two conditions, two K"


def test_sweep_and_test_adapt_in_the_evaluation_precision(
    google_corpus, cache_folder, tmp_path, monkeypatch
):
    lowered, loss = set(), fine_tuned._loss

    def remember(*arguments):
        lowered.add(torch.is_autocast_enabled("cpu"))
        return loss(*arguments)

    monkeypatch.setattr(fine_tuned, "_loss", remember)
    arguments = ("fine_tuned.yaml", google_corpus, tmp_path, cache_folder, TINY_SWEEP)
    run_google(*arguments, "--eval_precision=bf16")
    assert lowered == {True}


def speakers_of(manifest):
    return {row.split(",")[5].strip() for row in manifest.read_text().splitlines()[1:]}


def test_settings_are_chosen_on_validation_speakers(tuned):
    folder, swept = tuned
    assert swept == speakers_of(folder / "manifests" / "valid.csv")
    assert not swept & speakers_of(folder / "manifests" / "test.csv")


def test_whole_sweep_is_logged_and_the_lowest_nll_chosen(tuned):
    sweep = read_metrics(tuned[0])["sweep"]
    places = {(row["condition"], row["shots"]) for row in sweep}
    assert places == {(c, k) for c in ("quiet", "noise") for k in (1, 3)}
    for place in places:
        rows = [row for row in sweep if (row["condition"], row["shots"]) == place]
        assert len(rows) == 1 + 4 * 2 and rows[0]["setting"] == {}
        (chosen,) = [row for row in rows if row["chosen"]]
        assert chosen["nll"] == min(row["nll"] for row in rows)
        assert all(0 <= row["accuracy"] <= 1 for row in rows)


def test_test_only_uses_the_choice_of_the_training(tuned, google_corpus, cache_folder, tmp_path):
    """As its file has it: another choice for K = 3 in noise changes the answers there alone."""
    folder = shutil.copytree(tuned[0], tmp_path / "run")
    sweep = load_sweep(folder / "sweep.json")
    for row in sweep:
        if (row["condition"], row["shots"]) == ("noise", 3):
            row["chosen"] = row["setting"] == {"layers": "all", "lr": 0.003, "steps": 3}
    arguments = ("fine_tuned.yaml", google_corpus, folder, cache_folder, TINY_SWEEP, "--test_only")
    before, again = read_metrics(folder), run_google(*arguments)
    assert again["sweep"] == before["sweep"] != sweep
    assert again["per_speaker"] == before["per_speaker"]

    save_sweep(sweep, folder / "sweep.json")
    other = run_google(*arguments)
    differ = {
        (old["enrollment"], old["shots"], old["condition"])
        for old, new in zip(before["per_speaker"], other["per_speaker"], strict=True)
        if old != new
    }
    assert differ == {("own", 3, "noise"), ("stranger", 3, "noise")}


def test_test_only_refuses_what_nothing_was_chosen_for(tuned, google_corpus, cache_folder):
    with pytest.raises(ValueError, match="No setting was chosen for K = 2 in the condition"):
        options = (TINY_SWEEP, "--test_only", "--test_shots=[2]")
        run_google("fine_tuned.yaml", google_corpus, tuned[0], cache_folder, *options)


@pytest.mark.parametrize("text", ["[{", '[{"setting": {}}]', "null", "[1]"])
def test_damaged_sweep_is_named(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(ValueError, match="Cannot read .*sweep.json .* train again"):
        load_sweep(tmp_path / "sweep.json")


def test_adapted_model_trains_as_the_shared_one(tuned, google_corpus, cache_folder, tmp_path):
    shared = run_google("shared.yaml", google_corpus, tmp_path, cache_folder)
    losses = [epoch["train_nll"] for epoch in shared["training"]["epochs"]]
    tuned = read_metrics(tuned[0])
    assert [epoch["train_nll"] for epoch in tuned["training"]["epochs"]] == losses
    shared = scores_of(shared, "shared", 0)
    for condition, scores in scores_of(tuned, "none", 0).items():
        for speaker, score in scores.items():
            assert score == pytest.approx(shared[condition][speaker], abs=1e-5)
