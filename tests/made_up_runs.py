"""Metrics of made-up runs: a few systems, two folds, five speakers, values to check by hand."""

SHOTS = (1, 5)
FOLDS = (("anna", "ben", "carl"), ("dora", "emil"))
# Accuracy of anna, ben, carl, dora and emil.
ACCURACY = {
    ("shared", 0): (0.8, 0.8, 0.6, 1.0, 0.8),
    ("shared", 1): (0.9, 0.7, 0.6, 1.0, 0.5),
    ("shared", 2): (0.4, 0.8, 0.8, 0.9, 0.9),
    ("shared_large", 0): (0.9, 0.8, 0.7, 1.0, 0.6),
}
OWN = {1: (0.8, 0.8, 0.8, 1.0, 0.8), 5: (0.9, 0.9, 0.9, 1.0, 0.79)}
NONE = (0.8, 0.7, 0.6, 1.0, 0.79)
STRANGER = (0.7,) * 5
BINS = [[0, 0.0, 0.0]] * 13 + [[4, 3.6, 3.0], [6, 5.9, 6.0]]


def made_up_run(system, fold=0, seed=0, conditions=("quiet", "noise"), shift=0.0):
    """Metrics of one run; ``shift`` is added to every accuracy of a personalized system."""
    personalized = not system.startswith("shared")
    if personalized:
        cells = {("none", 0): NONE}
        cells |= {("own", shots): OWN[shots] for shots in SHOTS}
        cells |= {("stranger", shots): STRANGER for shots in SHOTS}
        cells = {cell: [value + shift for value in values] for cell, values in cells.items()}
    else:
        cells = {("shared", 0): ACCURACY[system, seed]}
    start = 0 if fold == 0 else len(FOLDS[0])
    per_speaker, calibration = [], []
    for condition in conditions:
        for (enrollment, shots), values in cells.items():
            key = {"enrollment": enrollment, "shots": shots, "condition": condition}
            for speaker, accuracy in zip(FOLDS[fold], values[start:], strict=False):
                nll = {"own": 0.6 if speaker == "emil" else 0.4}.get(enrollment, 0.5)
                scores = {"accuracy": accuracy, "nll": nll, "num_queries": 40}
                per_speaker.append({**key, "speaker": speaker, **scores})
            calibration.append({**key, "bins": BINS})
    epochs = [
        {"epoch": 1, "train_loss": 2.0, "train_nll": 1.9, "train_kl": 0.1, "valid_nll": 1.8},
        {"epoch": 2, "train_loss": 1.0, "train_nll": 0.8, "train_kl": 0.4, "valid_nll": 0.9},
    ]
    if not personalized:
        for epoch in epochs:
            del epoch["train_kl"]
    return {
        "schema_version": 2,
        "recipe": "Made-up/personalized_kws",
        "yaml": f"{system}.yaml",
        "system": system,
        "overrides": {},
        "settings": {"beta": "1.0", "targets": "classifier: full"},
        "conditions": {name: {} for name in conditions},
        "evaluation": {"test_samples": 8, "noises": ["white"]},
        "seed": seed,
        "fold": fold,
        "versions": {"torch": "2.7.1"},
        "data": {"train": {"speakers": 9, "utterances": 90}},
        "model": {"parameters": 2000, "main_parameters": 1000, "multiply_adds_per_query": 5000},
        "training": {"steps": 20, "wall_time_s": 3.0, "epochs": epochs},
        "validation": {"accuracy": 0.9, "nll": 0.4},
        "results": [],
        "per_speaker": per_speaker,
        "calibration": calibration,
    }


def made_up_runs():
    """Runs of all systems on both folds, with a second seed of shared and of vofp."""
    runs = [
        made_up_run(system, fold)
        for system in ("vofp", "shared_large", "shared")
        for fold in (0, 1)
    ]
    runs += [made_up_run("shared", fold, seed=1) for fold in (0, 1)]
    # The mean of the two seeds of fold 0 is what OWN, NONE and STRANGER say.
    runs[0] = made_up_run("vofp", 0, seed=0, shift=0.1)
    return [*runs, made_up_run("vofp", 0, seed=1, shift=-0.1)]


def find(rows, system, enrollment, shots, metric, subset="all", condition="quiet"):
    wanted = (system, enrollment, shots, metric, subset, condition)
    keys = ("system", "enrollment", "shots", "metric", "subset", "condition")
    found = [row for row in rows if tuple(row[key] for key in keys) == wanted]
    assert len(found) <= 1
    return found[0] if found else None


def given(run, enrollment, shift):
    """The run with another enrollment kind, whose accuracies are those of own plus a shift."""
    for key in ("per_speaker", "calibration"):
        own = [entry for entry in run[key] if entry["enrollment"] == "own"]
        run[key] += [{**entry, "enrollment": enrollment} for entry in own]
    for entry in run["per_speaker"]:
        if entry["enrollment"] == enrollment:
            entry["accuracy"] += shift
    return run


def many_speakers(run, copies=5):
    """The same run with every speaker ``copies`` times, under new names."""
    run["per_speaker"] = [
        {**entry, "speaker": f"{entry['speaker']}{copy}"}
        for entry in run["per_speaker"]
        for copy in range(copies)
    ]
    return run
