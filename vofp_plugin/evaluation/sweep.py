"""Sweeps: settings scored on validation speakers, and the choice among them, kept as JSON."""

import json
from pathlib import Path

from vofp_plugin.utils.files import whole_file

KEYS = ("condition", "setting", "shots", "accuracy", "nll", "chosen")


def mark_chosen(rows):
    """Marks the setting of the lowest NLL in every condition and for every K.

    Arguments
    ---------
    rows : list of dict
        With `setting`, `condition`, `shots` and `nll`; of equal ones the first is chosen.

    Returns
    -------
    list of dict
        The rows, each with `chosen`.

    Example
    -------
    >>> rows = [{"setting": {"lr": rate}, "condition": "quiet", "shots": 1, "nll": nll}
    ...     for rate, nll in ((0.1, 0.9), (0.2, 0.7), (0.3, 0.7))]
    >>> [row["setting"]["lr"] for row in mark_chosen(rows) if row["chosen"]]
    [0.2]
    """
    best = {}
    for row in rows:
        place = row["condition"], row["shots"]
        if place not in best or row["nll"] < best[place]["nll"]:
            best[place] = row
    return [{**row, "chosen": row is best[row["condition"], row["shots"]]} for row in rows]


def chosen_settings(rows, condition, shots):
    """Settings that were chosen for a condition.

    Arguments
    ---------
    rows : list of dict
        Of `mark_chosen`.
    condition : str
    shots : list of int
        The K that are asked for.

    Returns
    -------
    dict
        {K: setting}.

    Raises
    ------
    ValueError
        If nothing was chosen for the condition and one of the K.
    """
    settings = {
        row["shots"]: row["setting"]
        for row in rows
        if row["chosen"] and row["condition"] == condition
    }
    missing = [k for k in shots if k not in settings]
    if missing:
        places = sorted({(row["condition"], row["shots"]) for row in rows})
        raise ValueError(
            f"No setting was chosen for K = {', '.join(map(str, missing))} in the condition "
            f"{condition!r}; chosen were those for {places}. Test with these, or train again with "
            "what you want to test."
        )
    return {k: settings[k] for k in shots}


def save_sweep(rows, path):
    """Writes the rows of a sweep to `path`, as JSON."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def load_sweep(path):
    """Reads the rows of a sweep from `path`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"Found no {path}, which holds the settings that were chosen on validation speakers; "
            "train again, which resumes after the last epoch."
        )
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        return [{key: row[key] for key in KEYS} for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"Cannot read the sweep in {path} ({error!r}); train again, which resumes after the "
            "last epoch."
        ) from error
