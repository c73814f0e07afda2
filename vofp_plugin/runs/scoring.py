"""Scoring: what a trained model is asked, and how that goes into the metrics of a run."""

from vofp_plugin.dataio.noise import noise_names
from vofp_plugin.evaluation.scores import compare
from vofp_plugin.evaluation.sweep import chosen_settings
from vofp_plugin.runs.detection import detect


def score(brain, run, metrics, draws, conditions, asked, classes):
    """Adds the scores of every condition to `metrics`, and then how the training went.

    Arguments
    ---------
    brain : PersonalizedBrain
    run : Run
    metrics : dict
    draws : list of Draw
        Queries of test speakers, for models that classify them.
    conditions : dict
        {name: Condition} of the test manifest.
    asked : dict
        {split: TrialSet} from `ask_trials`.
    classes : CategoricalEncoder
    """
    metrics["evaluation"] = _evaluation(brain)
    brain.on_evaluate_start()
    if run.hparams["task"].classifies:
        metrics |= _classify(brain, draws, conditions, metrics.get("sweep"))
    metrics |= detect(brain, run.hparams, asked, conditions, classes, run.results_folder)
    last = brain.history.epochs[-1]
    metrics["validation"] = {"accuracy": last["valid_accuracy"], "nll": last["valid_nll"]}
    metrics["results"] = compare([metrics])
    metrics["training"] = _training(brain)  # once the checkpoint that tells of it is loaded


def _evaluation(brain):
    hparams = brain.hparams
    hears_noise = any(hparams.conditions.values()) or bool(hparams.bad_enrollments)
    return {
        "test_samples": hparams.test_samples,
        "test_draws": hparams.test_draws,
        "largest_shots": max(hparams.test_shots),  # on which it depends who asks what
        "eval_precision": brain.eval_precision,
        "noises": noise_names(hparams.noise_folder) if hears_noise else [],
    }


def _classify(brain, draws, conditions, sweep):
    """Answers to the queries of draws: {"per_speaker", "calibration"}."""
    per_speaker, calibration = [], []
    for name, condition in conditions.items():
        chosen = None
        if sweep is not None:
            chosen = chosen_settings(sweep, name, brain.hparams.test_shots)
        scores = brain.evaluator.evaluate(condition, draws, chosen)
        for given, (speaker_scores, bins) in scores.items():
            place = {**given._asdict(), "condition": name}
            per_speaker += [{**place, **row} for row in speaker_scores.per_speaker()]
            calibration.append({**place, "bins": bins.tolist()})
    return {"per_speaker": per_speaker, "calibration": calibration}


def _training(brain):
    epochs = list(brain.history.epochs)
    return {
        "epochs": epochs,
        "steps": brain.optimizer_step,
        "wall_time_s": sum(epoch["seconds"] for epoch in epochs),
    }
