"""Fitting: trains a personalizer on a few speakers, without a recipe or a run folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from vofp_plugin.dataio.audio import check_wavs, load_audio
from vofp_plugin.dataio.episodes import EpisodeBatchSampler, EpisodeShape
from vofp_plugin.dataio.manifests import read_manifest
from vofp_plugin.nnet.losses import Elbo, SpeakerContrast
from vofp_plugin.tasks.keywords import KeywordTask
from vofp_plugin.utils.seeds import seeded

BETA = 0.001  # of the divergence, as in the recipes
NONE_FRACTION = 0.2  # share of speakers without enrollment, whom a model must answer too


class Speech(NamedTuple):
    """Utterances of several speakers, with their words.

    Arguments
    ---------
    feats : torch.Tensor
        (U, T, F).
    lens : torch.Tensor
        Relative lengths, (U,).
    labels : torch.Tensor
        Class index of each, (U,).
    speakers : list of str
        Name of the speaker of each, U.
    """

    feats: torch.Tensor
    lens: torch.Tensor
    labels: torch.Tensor
    speakers: list


class Effort(NamedTuple):
    """How long is trained, and on episodes of what size.

    Arguments
    ---------
    num_epochs : int
    episodes_per_epoch : int
    num_speakers : int
        N of an episode.
    max_shots : int
        Largest K.
    num_queries : int
        Q.
    lr : float
        Highest learning rate, of AdamW.
    seed : int
    """

    num_epochs: int = 8
    episodes_per_epoch: int = 50
    num_speakers: int = 12
    max_shots: int = 4
    num_queries: int = 4
    lr: float = 0.005
    seed: int = 0


def speech_of(data, front_end, classes=None, data_root=None):
    """Reads the speech of a manifest or of a data set.

    Arguments
    ---------
    data : str, Path or iterable of dict
        A manifest, or items such as a `DynamicItemDataset` gives: "spk_id", a waveform "sig" (L,)
        or a path "wav", and a class index "label" or a word "command".
    front_end : FrontEnd
    classes : list of str
        Words in the order of the main model's answers, for manifests and words.
    data_root : str or Path
        Folder that replaces ``$data_root`` in a manifest.

    Returns
    -------
    Speech

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        If a file is missing, an item lacks a key, a word is none of the classes, or a waveform
        cannot be used.
    """
    if isinstance(data, str | Path):
        data = read_manifest(data, data_root).values()
    items = list(data)
    if not items:
        raise ValueError("Got no utterance to train on; expected several of each speaker.")
    labels = torch.tensor([_label(item, classes) for item in items])
    wavs = [_wav(item, front_end) for item in items]
    check_wavs(wavs, "Utterance", front_end)
    lens = [front_end.relative_length({"start": 0, "stop": len(wav)}) for wav in wavs]
    parts = torch.stack([front_end.fit(wav.float()) for wav in wavs]).split(256)
    feats = torch.cat([front_end(part) for part in parts])
    return Speech(feats, torch.tensor(lens), labels, [str(item["spk_id"]) for item in items])


def fit_(model, speech, effort):
    """Trains what a model does not freeze, in place, on episodes of speech.

    Arguments
    ---------
    model : PersonalizedModel
        Of a main model that gives log-probabilities (B, classes).
    speech : Speech
    effort : Effort

    Returns
    -------
    list of float
        Mean loss of every epoch, in nats.

    Raises
    ------
    ValueError
        If there are fewer than two speakers.
    """
    shape = EpisodeShape(effort.num_speakers, effort.max_shots, effort.num_queries)
    sampler = EpisodeBatchSampler(
        [{"spk_id": speaker} for speaker in speech.speakers],
        shape,
        effort.episodes_per_epoch,
        none_fraction=NONE_FRACTION,
        seed=effort.seed,
    )
    task = KeywordTask(Elbo(effort.num_queries, BETA), SpeakerContrast())
    task.check(model)
    step, generator, losses = _stepper(model, effort), seeded("fit", effort.seed), []
    model.train()
    try:
        for epoch in range(effort.num_epochs):
            sampler.set_epoch(epoch)
            every = []
            for items in sampler:
                episode = _episode(items, speech, shape, next(model.parameters()))
                predictions = task.predict(model, episode, generator)
                every.append(step(task.objective(predictions, episode)["loss"]))
            losses.append(sum(every) / len(every))
    finally:
        model.eval()
    return losses


def _stepper(model, effort):
    """Function that does one step by a loss, and gives its value."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=effort.lr)
    steps = effort.num_epochs * effort.episodes_per_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, effort.lr, max(2, steps) + 1)

    def step(loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.item()

    return step


def _episode(items, speech, shape, parameter):
    """An `Episode` of items, where the model is."""
    places = torch.tensor([item.index for item in items])
    feats, device = speech.feats[places].to(parameter), parameter.device
    lens, labels = speech.lens[places].to(device), speech.labels[places].to(device)
    filled = torch.tensor([item.filled for item in items], device=device)
    voices = torch.tensor([item.voice for item in items], device=device)
    return shape.split(feats, lens, labels, filled, torch.ones_like(filled), voices)


def _label(item, classes):
    """Class index of an item."""
    if not isinstance(item, Mapping) or "spk_id" not in item:
        raise TypeError(
            f"Got {item!r:.80} for an utterance; expected a dict with spk_id, sig or wav, and "
            "label or command."
        )
    if "label" in item:
        return int(item["label"])
    word = item.get("command")
    if word not in (classes or ()):
        raise ValueError(
            f"Got the word {word!r}; expected one of classes, {classes}: give the words in the "
            "order of the main model's answers."
        )
    return list(classes).index(word)


def _wav(item, front_end):
    """Waveform (L,) of an item."""
    if "sig" in item:
        return torch.as_tensor(item["sig"])
    wav = load_audio(item["wav"], front_end.sample_rate)
    return wav[item.get("start", 0) : item.get("stop")]
