"""Detection in a run: trial lists before any score, the decision after training, then the test."""

from pathlib import Path

from speechbrain.utils.distributed import if_main_process

from vofp_plugin.evaluation.conditions import evaluation_data
from vofp_plugin.inference.interfaces import DECISION_FILE
from vofp_plugin.lobes.decision import Decision


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
    decision = evaluation.decide(scores, asked["valid"].facts)
    if if_main_process():
        decision.save(Path(hparams["output_folder"]) / DECISION_FILE)


def detect(brain, hparams, asked, conditions, classes):
    """Scores the trials of the test.

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

    Returns
    -------
    dict
        {"detection": {"rule", "decision", "rows", "curves"}}, or {} where nobody is detected.
    """
    if not asked:
        return {}
    evaluation, trials = hparams["detection"], asked["test"]
    decision = Decision.load(Path(hparams["output_folder"]) / DECISION_FILE)
    rows, curves = [], []
    for name, condition in conditions.items():
        scores = evaluation.scores(
            brain.modules.model, condition, trials, hparams["test_shots"], classes
        )
        made = evaluation.rows(scores, trials.facts, decision)
        rows += [{"condition": name, **row} for row in made]
        for shots, points in evaluation.curves(scores, trials.facts, decision).items():
            curves.append({"condition": name, "shots": shots, "points": points})
    numbers = {"rule": evaluation.rule, "decision": decision.numbers()}
    return {"detection": {**numbers, "rows": rows, "curves": curves}}
