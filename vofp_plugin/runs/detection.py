"""Detection in a run: trial lists before any score, the decision after training, then the test."""

from pathlib import Path

import numpy as np
from speechbrain.utils.distributed import if_main_process, run_on_main

from vofp_plugin.evaluation.conditions import evaluation_data
from vofp_plugin.inference.interfaces import DECISION_FILE
from vofp_plugin.lobes.decision import Decision
from vofp_plugin.utils.files import whole_file

SCORES_FILE = "test_scores.npz"


def decision_path(folder, evaluation, rule):
    """File of the decision by a rule in a run's folder; that of the first one has no rule in it."""
    name = DECISION_FILE if rule == evaluation.rule else f"decision_{rule}.json"
    return Path(folder) / name


def ask_trials(hparams, manifests, classes):
    """Makes and checks the trials of a run, so that bad input fails before anything is computed.

    Arguments
    ---------
    hparams : dict
        With the key `detection`, or without it where nobody is detected.
    manifests : dict
        {split: rows}, with "test" and, before a training, "valid".
    classes : CategoricalEncoder

    Returns
    -------
    dict
        {split: TrialSet}, or {} where nobody is detected.
    """
    evaluation = hparams.get("detection")
    if evaluation is None:
        return {}
    place = hparams["test_shots"], hparams["min_queries"]
    asked = {"test": evaluation.asked(manifests["test"], *place, classes)}
    if "valid" in manifests:
        asked["valid"] = evaluation.drawn(manifests["valid"], *place)
    return asked


def write_trials_of(asked, folder):
    """Writes the trials of {split: TrialSet} into a folder, before any is scored."""
    if if_main_process():
        for split, trial_set in asked.items():
            trial_set.write(folder, split)


def decide(brain, hparams, asked, rows, classes):
    """Finds the decision on trials of validation speakers, and keeps it in the run's folder.

    Arguments
    ---------
    brain : PersonalizedBrain
    hparams : dict
    asked : dict
        From `ask_trials`; nothing is done where it is empty.
    rows : list of dict
        Of the validation manifest.
    classes : CategoricalEncoder
    """
    if not asked:
        return
    evaluation, shots = hparams["detection"], hparams["test_shots"]
    _, conditions = evaluation_data(hparams, rows, classes, num_draws=1)
    brain.on_evaluate_start()
    scores = []
    for condition in conditions.values():
        every = evaluation.scores(brain.modules.model, condition, asked["valid"], shots, classes)
        scores += [every["own", k] for k in shots]
    for rule in evaluation.rules:
        decision = evaluation.decide(scores, asked["valid"].facts, rule)
        # The others wait, since they read it next.
        run_on_main(decision.save, [decision_path(hparams["output_folder"], evaluation, rule)])


def validate_claims(brain, hparams, condition, trials):
    """Scores of validation speakers' claims at the largest K, decided as on themselves.

    Arguments
    ---------
    brain : PersonalizedBrain
    hparams : dict
    condition : Condition
    trials : TrialSet

    Returns
    -------
    dict
        "accuracy" and "nll" (nats), macro over speakers.
    """
    evaluation, most = hparams["detection"], max(hparams["test_shots"])
    scores = evaluation.scores(brain.modules.model, condition, trials, [most], None)["own", most]
    decision = evaluation.decide([scores], trials.facts)
    rows, _ = evaluation.speaker_scores(scores, trials, decision)
    return {name: float(np.mean([row[name] for row in rows])) for name in ("accuracy", "nll")}


def detect(brain, hparams, asked, conditions, classes, folder):
    """Scores the trials of the test, and keeps the scores of the first rule in a folder.

    Arguments
    ---------
    brain : PersonalizedBrain
        With its last checkpoint loaded.
    hparams : dict
    asked : dict
        From `ask_trials`.
    conditions : dict
        {name: Condition} of the test manifest.
    classes : CategoricalEncoder
    folder : Path
        Of the results.

    Returns
    -------
    dict
        {"detection": {"rule", "decision", "rows", "curves"}}, under "detection_also" the same of
        further rules, and "per_speaker" and "calibration" where the task classifies nothing;
        {} where nobody is detected.
    """
    if not asked:
        return {}
    evaluation, trials, shots = hparams["detection"], asked["test"], hparams["test_shots"]
    scores = {
        name: evaluation.scores(brain.modules.model, condition, trials, shots, classes)
        for name, condition in conditions.items()
    }
    decisions = {
        rule: Decision.load(decision_path(hparams["output_folder"], evaluation, rule))
        for rule in evaluation.rules
    }
    if if_main_process():
        path = Path(folder) / SCORES_FILE
        _write_scores(evaluation, scores, decisions[evaluation.rule], path)
    judged = [_judged(evaluation, scores, trials, *one) for one in decisions.items()]
    metrics = {"detection": judged[0]}
    if len(judged) > 1:
        metrics["detection_also"] = judged[1:]
    if not hparams["task"].classifies:
        metrics |= _by_speaker(evaluation, scores, trials, decisions[evaluation.rule])
    return metrics


def _write_scores(evaluation, scores, decision, path):
    """Keeps the log-odds (M,) of the M lines of test_trials.txt, so that runs can be compared."""
    arrays = {
        f"{name} {enrollment} {shots}": evaluation.log_odds(values, decision).numpy()
        for name, cells in scores.items()
        for (enrollment, shots), values in cells.items()
    }
    with whole_file(path) as partial, open(partial, "wb") as stream:
        np.savez_compressed(stream, **arrays)


def _judged(evaluation, scores, trials, rule, decision):
    """Rows and curves of all conditions by one rule."""
    rows, curves = [], []
    for name, cells in scores.items():
        made = evaluation.rows(cells, trials.facts, decision, rule)
        rows += [{"condition": name, **row} for row in made]
        for shots, points in evaluation.curves(cells, trials.facts, decision, rule).items():
            curves.append({"condition": name, "shots": shots, "points": points})
    return {"rule": rule, "decision": decision.numbers(), "rows": rows, "curves": curves}


def _by_speaker(evaluation, scores, trials, decision):
    """Scores of each target speaker's claims, as those of a task that classifies."""
    per_speaker, calibration = [], []
    for name, cells in scores.items():
        for (enrollment, shots), values in cells.items():
            place = {"enrollment": enrollment, "shots": shots, "condition": name}
            rows, bins = evaluation.speaker_scores(values, trials, decision)
            per_speaker += [{**place, **row} for row in rows]
            calibration.append({**place, "bins": bins.tolist()})
    return {"per_speaker": per_speaker, "calibration": calibration}
