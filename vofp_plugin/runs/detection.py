"""Detection in a run: trial lists before any score, the decision after training, then the test."""

from pathlib import Path

from speechbrain.utils.distributed import if_main_process

from vofp_plugin.evaluation.conditions import evaluation_data
from vofp_plugin.evaluation.detection import write_trial_set
from vofp_plugin.lobes.decision import Decision

DECISION_FILE = "decision.json"


def ask_trials(hparams, rows, classes, folder):
    """Makes and writes down the trials of a test, so that bad input fails before the training.

    Arguments
    ---------
    hparams : dict
        With the key `detection`, or without it where nobody is detected.
    rows : list of dict
        Of the test manifest.
    classes : CategoricalEncoder
    folder : str or Path
        Of the results.

    Returns
    -------
    TrialSet or None
    """
    evaluation = hparams.get("detection")
    if evaluation is None:
        return None
    asked = evaluation.asked(rows, hparams["test_shots"], hparams["min_queries"], classes)
    if if_main_process():
        write_trial_set(asked, folder, "test")
    return asked


def decide(brain, hparams, rows, classes):
    """Finds the decision on trials of validation speakers, and keeps it in the run's folder."""
    evaluation = hparams.get("detection")
    if evaluation is None:
        return
    shots = hparams["test_shots"]
    asked = evaluation.drawn(rows, shots, hparams["min_queries"])
    _, conditions = evaluation_data(hparams, rows, classes, num_draws=1)
    brain.on_evaluate_start()
    scores = []
    for condition in conditions.values():
        every = evaluation.scores(brain.modules.model, condition, asked, shots, classes)
        scores += [every["own", k] for k in shots]
    decision = evaluation.decide(scores, asked.facts)
    if if_main_process():
        folder = Path(hparams["output_folder"])
        write_trial_set(asked, folder, "valid")
        decision.save(folder / DECISION_FILE)


def detect(brain, hparams, asked, conditions, classes):
    """Scores the trials of the test.

    Arguments
    ---------
    brain : PersonalizedBrain
        With its last checkpoint loaded.
    hparams : dict
    asked : TrialSet or None
        From `ask_trials`.
    conditions : dict
        {name: Condition} of the test manifest.
    classes : CategoricalEncoder

    Returns
    -------
    dict
        {"detection": {"rule", "decision", "rows", "curves"}}, or {} where nobody is detected.
    """
    if asked is None:
        return {}
    evaluation = hparams["detection"]
    decision = Decision.load(Path(hparams["output_folder"]) / DECISION_FILE)
    rows, curves = [], []
    for name, condition in conditions.items():
        scores = evaluation.scores(
            brain.modules.model, condition, asked, hparams["test_shots"], classes
        )
        made = evaluation.rows(scores, asked.facts, decision)
        rows += [{"condition": name, **row} for row in made]
        for shots, points in evaluation.curves(scores, asked.facts, decision).items():
            curves.append({"condition": name, "shots": shots, "points": points})
    numbers = {"rule": evaluation.rule, "decision": decision.numbers()}
    return {"detection": {**numbers, "rows": rows, "curves": curves}}
