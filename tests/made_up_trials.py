"""Trials of three speakers, nine utterances and two words."""

from vofp_plugin.evaluation.trial_lists import Trial
from vofp_plugin.evaluation.trial_set import TrialSet

ROWS = [
    {"ID": f"{speaker}{number}", "spk_id": speaker, "command": word}
    for speaker in ("ann", "bob", "cid")
    for number, word in enumerate(("up", "down", "up"))
]
ENROLLMENTS = {"a": ["ann0", "ann1"], "b": ["bob0", "bob1"], "c": ["cid0", "cid1"]}
TRIALS = [
    Trial(True, "a", "ann2", "up"),
    Trial(False, "a", "ann2", "down"),
    Trial(False, "a", "bob0", "up"),
    Trial(True, "b", "bob2", "up"),
    Trial(False, "b", "cid2", "up"),
    Trial(False, "c", "ann2", "up"),
]
WORDS = {"up": 0, "down": 1}


def trial_set(trials=TRIALS, shots=(1, 2)):
    return TrialSet.of(trials, ENROLLMENTS, ROWS, shots)
