"""Conditions: the keys of a YAML that say how a model is evaluated, made into data.

They are checked before anything is trained.
"""

import hashlib
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from vofp_plugin.augment.bad_enrollment import TWO_SPEAKERS, UTTERANCE_KINDS, BadCondition
from vofp_plugin.augment.noise_condition import NoiseCondition, OwnNoiseCondition
from vofp_plugin.dataio import quality
from vofp_plugin.dataio.features import cache_key, cached_array
from vofp_plugin.dataio.noise import load_noises
from vofp_plugin.dataio.utterances import Utterances, computed_by_main, load_utterances
from vofp_plugin.evaluation.trials import make_draws
from vofp_plugin.utils.seeds import choice_of

ENROLLED_IN = ("quiet", "other_noise")  # of a condition, where they are not in the queries' noise


class Condition(NamedTuple):
    """The utterances of a manifest as queries and as enrollment, which may differ in noise.

    The room of an enrollment is that of the speaker who is asked, whoever is heard in it: a
    stranger's enrollment differs from the speaker's own by the voice alone.

    Arguments
    ---------
    queries : Utterances
    rooms : list of Utterances
        The same utterances in each of the noises that a speaker may enroll in.
    bad : dict
        {kind: Utterances} of bad enrollments; see vofp_plugin/augment/bad_enrollment.py.
    """

    queries: Utterances
    rooms: list
    bad: dict = {}

    def room_of(self, speaker):
        """Utterances in the room where a speaker enrolls."""
        return choice_of(self.rooms, speaker)


def check_evaluation_keys(hparams):
    """Refuses values that no evaluation can be made of.

    Arguments
    ---------
    hparams : dict
        With `test_shots`, `test_draws`, `test_samples`, `min_queries`, `conditions` and
        `bad_enrollments`.

    Raises
    ------
    ValueError
        If one of them is of another form.

    Example
    -------
    >>> numbers = {"test_draws": 20, "test_samples": 8, "min_queries": 3}
    >>> conditions = {"quiet": {}, "noise": {"snr": [5.0, 10.0]}}
    >>> keys = {"test_shots": [1, 5], "conditions": conditions, "bad_enrollments": ["silence"]}
    >>> check_evaluation_keys({**keys, **numbers})
    """
    shots = hparams["test_shots"]
    counts = isinstance(shots, list) and shots and all(map(_is_count, shots))
    if not counts or len(set(shots)) < len(shots):
        raise ValueError(
            f"Got test_shots {shots}; expected a list of different numbers K, such as [1, 3, 5]."
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
                f"high] in dB, to which enrollment: {' or '.join(ENROLLED_IN)} or per: utterance "
                "may be added, or null to leave it out."
            )
    kinds, known = hparams["bad_enrollments"], (*UTTERANCE_KINDS, TWO_SPEAKERS)
    if not isinstance(kinds, list) or not set(map(str, kinds)) <= set(known):
        raise ValueError(
            f"Got bad_enrollments {kinds}; expected a list of some of {', '.join(known)}, or [] "
            "for none."
        )


def evaluation_data(hparams, rows, classes, num_draws):
    """Draws and {name: Condition} of a manifest; made first, so that bad input fails early.

    There are no draws for a task that classifies nothing.
    """
    draws = []
    if hparams["task"].classifies:
        draws = make_draws(rows, max(hparams["test_shots"]), num_draws, hparams["min_queries"])
    asked = {name: x for name, x in hparams["conditions"].items() if x is not None}
    noises = _test_noises(hparams) if any(asked.values()) else []
    return draws, {
        name: _condition(rows, hparams, classes, noises, **condition)
        for name, condition in asked.items()
    }


def with_bad_enrollments(conditions, rows, hparams, classes):
    """Adds bad enrollments where speakers enroll in quiet, as the bad ones do.

    Elsewhere, own and bad ones would differ in the room too.
    """
    bad = _bad_enrollments(rows, hparams, classes)
    return {
        name: condition._replace(bad=bad) if _is_enrolled_in_quiet(hparams, name) else condition
        for name, condition in conditions.items()
    }


def _is_enrolled_in_quiet(hparams, name):
    condition = hparams["conditions"][name]
    return not condition or condition.get("enrollment") == "quiet"


def _bad_enrollments(rows, hparams, classes):
    """{kind: spoiled utterances}, for models that read an enrollment."""
    kinds, bad = hparams["bad_enrollments"], {}
    if not _enrolls(hparams):
        return bad
    noises = _test_noises(hparams) if set(kinds) - {TWO_SPEAKERS} else []
    for kind in kinds:
        if kind == TWO_SPEAKERS:  # good utterances, of the wrong speaker; one is of one speaker
            if max(hparams["test_shots"]) > 1:
                bad[kind] = utterances_of(rows, hparams, classes)
        else:
            spoiled = BadCondition(kind, noises)
            bad[kind] = utterances_of(rows, hparams, classes, spoiled, load_bad_utterances)
    return bad


def utterances_of(rows, hparams, classes, condition=None, load=load_utterances):
    """Utterances of manifest rows, by the front end and the cache of the YAML."""
    place = hparams["front_end"], hparams["cache_folder"]

    def clean():
        return load_utterances(rows, None, *place).features(slice(None))

    labels = hparams["task"].labels(rows, classes, clean)
    return load(rows, labels, *place, condition)


def _condition(rows, hparams, classes, noises, snr=None, enrollment=None, per=None):
    """A condition of the YAML; the enrollment is in the queries' noise, in another, or in none."""
    if per is not None:
        return _own_noise(rows, hparams, classes, noises, snr)
    if enrollment == "other_noise" and len(noises) < 2:
        raise ValueError(
            f"Got {len(noises)} noise; expected at least 2 for another kind of noise in the "
            "enrollment: add noises to noise_folder, or leave that condition out, by null."
        )
    noise = None if snr is None else NoiseCondition(noises, snr)
    queries = utterances_of(rows, hparams, classes, noise)
    if noise is None or not _enrolls(hparams):
        return Condition(queries, [queries])
    if enrollment == "quiet":
        return Condition(queries, [utterances_of(rows, hparams, classes)])
    rooms = [
        utterances_of(rows, hparams, classes, NoiseCondition([noise], snr)) for noise in noises
    ]
    return Condition(queries, rooms if enrollment is None else rooms[1:] + rooms[:1])


def _own_noise(rows, hparams, classes, noises, snr):
    """Noise of its own in every utterance; where speakers enroll it is another one again."""
    uses = ("query", "enrollment") if _enrolls(hparams) else ("query",)
    made = [
        utterances_of(rows, hparams, classes, OwnNoiseCondition(noises, snr, use)) for use in uses
    ]
    return Condition(made[0], made[-1:])


def _enrolls(hparams):
    return "own" in hparams["modules"]["model"].enrollments


def _test_noises(hparams):
    return load_noises(hparams["noise_folder"], "test", hparams["front_end"].sample_rate)


def _is_count(value):
    return isinstance(value, int) and value > 0


def _is_condition(value):
    if not isinstance(value, dict) or value.keys() - {"snr", "enrollment", "per"}:
        return False
    snr = value.get("snr")
    if snr is None:
        return not value
    ranged = isinstance(snr, list) and len(snr) == 2 and all(isinstance(x, Real) for x in snr)
    others = value.keys() - {"snr"}
    known = others <= {"enrollment"} and value.get("enrollment") in (None, *ENROLLED_IN)
    own = others == {"per"} and value["per"] == "utterance"
    return ranged and snr[0] <= snr[1] and (known or own)


def load_bad_utterances(rows, labels, front_end, cache_folder, condition):
    """Loads spoiled utterances as a profile would take them: a refused one has length 0.

    Arguments are those of `load_utterances`, with a `BadCondition`.
    """
    utterances = load_utterances(rows, labels, front_end, cache_folder, condition)
    refused = computed_by_main(_cached_refusals, rows, front_end, cache_folder, condition)
    return utterances._replace(lens=utterances.lens * ~torch.from_numpy(np.array(refused)))


def _cached_refusals(rows, front_end, cache_folder, condition):
    """Whether a profile refuses each of the spoiled utterances, (U,)."""
    version = hashlib.sha256(Path(quality.__file__).read_bytes()).hexdigest()[:8]  # of the check
    path = Path(cache_folder) / f"{cache_key(rows, front_end, condition)}_{version}.npy"

    def refusals():
        wavs = (condition.add(front_end.read(row), row) for row in tqdm(rows, desc="Quality"))
        return np.array([quality.assess(wav, front_end.sample_rate).refused for wav in wavs])

    return cached_array(path, refusals)
