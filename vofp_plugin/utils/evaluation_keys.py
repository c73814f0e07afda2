"""The keys of a YAML that say how a model is evaluated, checked before anything is trained."""

from numbers import Real

ENROLLMENTS = ("quiet", "other_noise")  # of a condition, where they are not in the queries' noise


def check_evaluation_keys(hparams):
    """Refuses values that no evaluation can be made of.

    Arguments
    ---------
    hparams : dict
        With `test_shots`, `test_draws`, `test_samples`, `min_queries` and `conditions`.

    Raises
    ------
    ValueError
        If one of them is of another form.

    Example
    -------
    >>> numbers = {"test_draws": 20, "test_samples": 8, "min_queries": 3}
    >>> conditions = {"quiet": {}, "noise": {"snr": [5.0, 10.0]}}
    >>> check_evaluation_keys({"test_shots": [1, 5], "conditions": conditions, **numbers})
    """
    shots = hparams["test_shots"]
    if not isinstance(shots, list) or not shots or not all(map(_is_count, shots)):
        raise ValueError(
            f"Got test_shots {shots}; expected a list of numbers K, such as [1, 3, 5]."
        )
    for key in ("test_draws", "test_samples", "min_queries"):
        if not _is_count(hparams[key]):
            raise ValueError(f"Got {key} {hparams[key]}; expected a whole number above 0.")
    conditions = hparams["conditions"]
    if not isinstance(conditions, dict) or not any(x is not None for x in conditions.values()):
        raise ValueError(
            f"Got conditions {conditions}; expected {{name: condition}}, such as {{quiet: {{}}}}."
        )
    for name, condition in conditions.items():
        if condition is not None and not _is_condition(condition):
            raise ValueError(
                f"Got the condition {name}: {condition}; expected {{}} for no noise, snr: [low, "
                f"high] in dB, to which enrollment: {' or '.join(ENROLLMENTS)} may be added, or "
                "null to leave it out."
            )


def _is_count(value):
    return isinstance(value, int) and value > 0


def _is_condition(value):
    if not isinstance(value, dict) or value.keys() - {"snr", "enrollment"}:
        return False
    snr = value.get("snr")
    if snr is None:
        return not value
    ranged = isinstance(snr, list) and len(snr) == 2 and all(isinstance(x, Real) for x in snr)
    return ranged and snr[0] <= snr[1] and value.get("enrollment") in (None, *ENROLLMENTS)
