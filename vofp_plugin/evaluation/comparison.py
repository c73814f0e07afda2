"""Comparison of systems: their scores, and differences paired by speaker."""

from vofp_plugin.evaluation.pooling import (
    REFERENCES,
    SHARED,
    SHARED_AGAIN,
    Cell,
    PooledSystem,
    pool_systems,
    shared_by_seed,
)
from vofp_plugin.evaluation.scores import (
    MIN_SPEAKERS,
    bootstrap_mean,
    bootstrap_ratio,
    error_reduction,
    hardest_fifth,
    harm,
    sign_flip_test,
)
from vofp_plugin.tasks.classification import expected_calibration_error

ROW_KEYS = (
    "system",
    "enrollment",
    "shots",
    "condition",
    "subset",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "p_value",
    "num_speakers",
    "num_queries",
    "num_runs",
)
SCORES = {"accuracy": "", "nll": "nll_"}  # with the prefix of their differences


def compare(runs):
    """Compare systems on the same queries of the same unseen speakers.

    Metrics of each system, enrollment and K:

    - ``accuracy``, ``nll`` (nats), and ``ece`` on all speakers;
    - ``vs_X`` and ``nll_vs_X``, the accuracy and NLL minus those of X, paired by speaker: X is
      "shared"; for own enrollment also "stranger" and "none" of the same system, "k1" (its own at
      K = 1, for the largest K), "vofp" and "vofp_frozen" (with own); for any other one also "own";
    - ``personal_share``, (own - stranger) / (own - shared), where own - shared is beyond doubt;
    - ``error_reduction_vs_X``, relative, X "shared" or "shared_large";
    - ``harm`` and ``harm_nll``, the shares of speakers more than 0.01 worse than shared, first seed
      against first seed. Those of "shared_again" are of the second seed against the first.

    "shared" is the mean of its seeds. The last of several seeds chooses the subset "hardest", the
    fifth of the speakers with its lowest quiet accuracy, of equal ones with the highest NLL, and is
    therefore left out there, in all systems.

    Arguments
    ---------
    runs : list of dict
        Contents of ``metrics.json``, any systems, folds and seeds of one recipe.

    Returns
    -------
    list of dict
        Rows with ``ROW_KEYS``. From ``MIN_SPEAKERS`` speakers on, ``ci_low`` and ``ci_high`` are
        the 95 % interval; below, differences have a ``p_value`` instead.

    Raises
    ------
    ValueError
        If the runs cannot be compared.
    """
    systems = pool_systems(runs)
    speakers = next(iter(systems.values())).speakers()
    rows = _rows(systems, "all", speakers)
    hardest, other_runs = _hardest(runs)
    if hardest:
        rows += _rows(pool_systems(other_runs), "hardest", hardest)
    return rows


def _hardest(runs):
    """The hardest fifth of the speakers, and the runs that had no part in choosing it.

    Those of its seed had: `vofp_frozen`, say, starts from the `shared` of the same seed.
    """
    seeds = shared_by_seed(runs)
    if len(seeds) < 2:
        return [], runs
    last, quiet = seeds[-1], Cell("shared", 0, "quiet")
    chooser = PooledSystem(SHARED, last)
    if quiet not in chooser.cells:
        return [], runs
    speakers = chooser.speakers()
    scores = zip(
        *(chooser.values(quiet, score, speakers).tolist() for score in SCORES), strict=True
    )
    hardest = hardest_fifth(dict(zip(speakers, scores, strict=True)))
    choosing = {(run["fold"], run["seed"]) for run in last}
    others = [run for run in runs if (run["fold"], run["seed"]) not in choosing]
    folds = {(run["system"], run["fold"]) for run in others}
    lost = {run["system"] for run in runs if (run["system"], run["fold"]) not in folds}
    return hardest, [run for run in others if run["system"] not in lost]


def _rows(systems, subset, speakers):
    rows = []
    for system in systems.values():
        for cell in system.cells:
            where = {"system": system.name, **cell._asdict(), "subset": subset}
            num_queries = system.values(cell, "num_queries", speakers).sum().item()
            counts = {
                "num_speakers": len(speakers),
                "num_queries": round(num_queries),
                "num_runs": system.num_runs,
            }
            differences = _differences(systems, system, cell, speakers)
            estimates = {
                **_scores(system, cell, subset, speakers),
                **{metric: _mean_difference(values) for metric, values in differences.items()},
                **_personal_share(differences),
                **_reductions(systems, system, cell, speakers),
                **_harm(systems.get(SHARED), system, cell, speakers),
            }
            rows += [
                {**where, "metric": metric, **estimate, **counts}
                for metric, estimate in estimates.items()
            ]
    return rows


def _estimate(value, ci_low=None, ci_high=None, p_value=None):
    return {"value": value, "ci_low": ci_low, "ci_high": ci_high, "p_value": p_value}


def _mean_difference(differences):
    return _estimate(*bootstrap_mean(differences), _p_value(differences))


def _p_value(differences):
    return sign_flip_test(differences) if len(differences) < MIN_SPEAKERS else None


def _scores(system, cell, subset, speakers):
    estimates = {
        score: _estimate(*bootstrap_mean(system.values(cell, score, speakers))) for score in SCORES
    }
    if cell in system.bins and subset == "all":  # bins are not kept by speaker
        estimates["ece"] = _estimate(expected_calibration_error(system.bins[cell]))
    return estimates


def _references(systems, system, cell):
    """What a cell is paired with, ``{name: (system, cell)}``."""
    if system.name in (SHARED, SHARED_AGAIN) or cell.enrollment == "stranger":
        return {}
    references = {"shared": (systems.get(SHARED), _without_enrollment("shared", cell))}
    if cell.enrollment == "own":
        references["stranger"] = (system, cell._replace(enrollment="stranger"))
        references["none"] = (system, _without_enrollment("none", cell))
        if 1 < cell.shots == system.own_shots(cell.condition)[-1]:
            references["k1"] = (system, cell._replace(shots=1))
        references |= {
            name: (systems.get(name), cell) for name in REFERENCES if name != system.name
        }
    elif cell.shots:
        references["own"] = (system, cell._replace(enrollment="own"))
    return {
        name: (other, other_cell)
        for name, (other, other_cell) in references.items()
        if other is not None and other_cell in other.cells
    }


def _without_enrollment(enrollment, cell):
    return Cell(enrollment, 0, cell.condition)


def _differences(systems, system, cell, speakers):
    """The cell minus each of its references, ``{metric: one value per speaker}``."""
    return {
        f"{prefix}vs_{name}": system.values(cell, score, speakers)
        - other.values(other_cell, score, speakers)
        for name, (other, other_cell) in _references(systems, system, cell).items()
        for score, prefix in SCORES.items()
    }


def _personal_share(differences):
    if not {"vs_stranger", "vs_shared"} <= set(differences):
        return {}
    _, ci_low, _ = bootstrap_mean(differences["vs_shared"])
    if ci_low is None or ci_low <= 0:  # without a gain there are no shares of it
        return {}
    share = bootstrap_ratio(differences["vs_stranger"], differences["vs_shared"])
    return {"personal_share": _estimate(*share)}


def _reductions(systems, system, cell, speakers):
    if not cell.enrollment.startswith("own"):
        return {}
    own, estimates = system.values(cell, "accuracy", speakers), {}
    baseline_cell = _without_enrollment("shared", cell)
    for name in (SHARED, "shared_large"):
        if name not in systems or baseline_cell not in systems[name].cells:
            continue
        baseline = systems[name].values(baseline_cell, "accuracy", speakers)
        if (baseline < 1).any():  # else there is no error to reduce
            estimate = _estimate(*error_reduction(baseline, own), _p_value(own - baseline))
            estimates[f"error_reduction_vs_{name}"] = estimate
    return estimates


def _harm(shared, system, cell, speakers):
    """Of single seeds: a mean over seeds is less noisy, so it would look less harmful."""
    baseline_cell = _without_enrollment("shared", cell)
    if shared in (None, system) or cell.enrollment == "stranger":
        return {}
    if baseline_cell not in shared.cells:
        return {}
    estimates = {}
    for metric, score, sign in (("harm", "accuracy", 1), ("harm_nll", "nll", -1)):
        baseline = shared.first_seed_values(baseline_cell, score, speakers)
        values = system.first_seed_values(cell, score, speakers)
        estimates[metric] = _estimate(*harm(sign * baseline, sign * values))
    return estimates
