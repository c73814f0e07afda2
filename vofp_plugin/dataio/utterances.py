"""Utterances: the features, lengths and labels of a manifest's rows."""

from typing import NamedTuple

import numpy as np
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from vofp_plugin.dataio.features import cached_features
from vofp_plugin.dataio.manifests import SILENCE


class Utterances(NamedTuple):
    """Utterances of a manifest under one condition, in its order.

    Arguments
    ---------
    feats : numpy.ndarray
        (U, T, F), in dB.
    lens : torch.Tensor
        Relative lengths, (U,).
    labels : torch.Tensor
        Class indices, (U,), or (U, T) of frames.
    """

    feats: np.ndarray
    lens: torch.Tensor
    labels: torch.Tensor

    def features(self, places):
        """Features (len(places), T, F) of some utterances; (T, F) of a single place."""
        places = places if isinstance(places, slice) else np.asarray(places)
        return torch.from_numpy(self.feats[places].astype(np.float32))


def load_utterances(rows, labels, front_end, cache_folder, noise_condition=None):
    """Loads utterances; the main process computes features that are not cached yet.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    labels : torch.Tensor
        Of each row, (U,) or (U, T).
    front_end : FrontEnd
    cache_folder : str or Path
    noise_condition : NoiseCondition
        None leaves the clips as they are.

    Returns
    -------
    Utterances
    """
    return Utterances(
        computed_by_main(cached_features, rows, front_end, cache_folder, noise_condition),
        torch.tensor([front_end.relative_length(row) for row in rows]),
        labels,
    )


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
            "label": utterances.labels[place],
            "spoken": int(row["spk_id"] != SILENCE),
        }
        for place, row in enumerate(rows)
    }
    dataset = DynamicItemDataset(data)
    dataset.add_dynamic_item(utterances.features, takes="place", provides="feats")
    dataset.set_output_keys(["id", "feats", "relative_length", "label", "spoken"])
    return dataset


def computed_by_main(cached, *arguments):
    """What `cached` gives in every process, once the main one has filled the cache."""
    found = cached(*arguments) if if_main_process() else None
    ddp_barrier()
    return found if if_main_process() else cached(*arguments)
