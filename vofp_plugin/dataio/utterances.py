"""Utterances: the features, lengths and labels of a manifest's rows."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.distributed import run_on_main
from tqdm import tqdm

from vofp_plugin.dataio import quality
from vofp_plugin.dataio.features import cache_key, cached_array, cached_features
from vofp_plugin.dataio.manifests import SILENCE
from vofp_plugin.utils.seeds import choice_of


class Utterances(NamedTuple):
    """Utterances of a manifest under one condition, in its order.

    Arguments
    ---------
    feats : numpy.ndarray
        (U, T, F), in dB.
    lens : torch.Tensor
        Relative lengths, (U,).
    labels : torch.Tensor
        Class indices, (U,).
    """

    feats: np.ndarray
    lens: torch.Tensor
    labels: torch.Tensor

    def features(self, places):
        """Features (len(places), T, F) of some utterances; (T, F) of a single place."""
        return torch.from_numpy(self.feats[np.asarray(places)].astype(np.float32))


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
        {kind: Utterances} of bad enrollments; see vofp_plugin/dataio/bad_enrollment.py.
    """

    queries: Utterances
    rooms: list
    bad: dict = {}

    def room_of(self, speaker):
        """Utterances in the room where a speaker enrolls."""
        return choice_of(self.rooms, speaker)


def load_utterances(rows, labels, front_end, cache_folder, noise_condition=None):
    """Loads utterances; the main process computes features that are not cached yet.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    labels : list of int
        Class index of each row.
    front_end : FrontEnd
    cache_folder : str or Path
    noise_condition : NoiseCondition
        None leaves the clips as they are.

    Returns
    -------
    Utterances
    """
    return Utterances(
        _computed_by_main(cached_features, rows, front_end, cache_folder, noise_condition),
        torch.tensor([front_end.relative_length(row) for row in rows]),
        torch.tensor(labels),
    )


def load_bad_utterances(rows, labels, front_end, cache_folder, condition):
    """Loads spoiled utterances as a profile would take them: a refused one has length 0.

    Arguments are those of `load_utterances`, with a `BadCondition`.
    """
    utterances = load_utterances(rows, labels, front_end, cache_folder, condition)
    refused = _computed_by_main(_cached_refusals, rows, front_end, cache_folder, condition)
    return utterances._replace(lens=utterances.lens * ~torch.from_numpy(np.array(refused)))


def train_dataset(rows, utterances):
    """Makes a data set with the items id, feats (T, F), relative_length, label and spoken.

    Spoken is 1, or 0 of silence, which is nobody's voice.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    utterances : Utterances
        Of the same rows.

    Returns
    -------
    DynamicItemDataset
    """
    data = {
        row["ID"]: {
            "place": place,
            "relative_length": float(utterances.lens[place]),
            "label": int(utterances.labels[place]),
            "spoken": int(row["spk_id"] != SILENCE),
        }
        for place, row in enumerate(rows)
    }
    dataset = DynamicItemDataset(data)
    dataset.add_dynamic_item(utterances.features, takes="place", provides="feats")
    dataset.set_output_keys(["id", "feats", "relative_length", "label", "spoken"])
    return dataset


def _cached_refusals(rows, front_end, cache_folder, condition):
    """Whether a profile refuses each of the spoiled utterances, (U,)."""
    version = hashlib.sha256(Path(quality.__file__).read_bytes()).hexdigest()[:8]  # of the check
    path = Path(cache_folder) / f"{cache_key(rows, front_end, condition)}_{version}.npy"

    def refusals():
        wavs = (condition.add(front_end.read(row), row) for row in tqdm(rows, desc="Quality"))
        return np.array([quality.assess(wav, front_end.sample_rate).refused for wav in wavs])

    return cached_array(path, refusals)


def _computed_by_main(cached, *arguments):
    """What `cached` gives in every process, once the main one has filled the cache."""

    def fill():
        cached(*arguments)  # not returned, which would send it to all processes

    run_on_main(fill)
    return cached(*arguments)
