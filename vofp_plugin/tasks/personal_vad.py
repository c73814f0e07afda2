"""Voice activity detection in every frame: speech or none, and whether it is the target's."""

from typing import NamedTuple

import torch

from vofp_plugin.tasks.base import Task
from vofp_plugin.tasks.detection import pairwise_loss, prototype_softmax
from vofp_plugin.tasks.streams import NOBODY
from vofp_plugin.utils.frame_level import frame_levels

SPEECH_RANGE = 30.0  # dB below the loudest frame


class SpeechActivityTask(Task):
    """Which frames of a query hold speech.

    The main model gives log-probabilities (B, T, 2) of every frame of its input. Labels are those
    of the clean features, which are in dB.

    Arguments
    ---------
    elbo : Elbo
    contrast : SpeakerContrast

    Example
    -------
    >>> from vofp_plugin.nnet.losses import Elbo
    >>> task = SpeechActivityTask(Elbo(num_data=1))
    >>> task.nll(torch.zeros(3, 101, 2).log_softmax(2), torch.zeros(3, 101).long()).shape
    torch.Size([3])
    """

    def classes(self, rows):
        """The two classes, whatever the rows."""
        return ["no speech", "speech"]

    def labels(self, rows, encoder, features):
        """Class index of every frame of the rows, (U, T)."""
        names = [encoder.encode_label(name) for name in self.classes(rows)]
        return torch.tensor(names)[speech_frames(features()).long()]

    def answers(self, output, labels):
        """One answer for each frame."""
        if output.shape[:-1] != labels.shape:
            raise ValueError(
                f"Got an output of shape {tuple(output.shape)} for labels of shape "
                f"{tuple(labels.shape)}; expected log-probabilities of every frame: take a main "
                "model that keeps all frames, such as FrameCNN."
            )
        return output.flatten(0, -2), labels.flatten()


def speech_frames(feats):
    """Whether a frame is less than 30 dB below the loudest one of its clip.

    Arguments
    ---------
    feats : torch.Tensor
        Log-mels without noise, (U, T, F), in dB.

    Returns
    -------
    torch.Tensor
        (U, T), bool.

    Example
    -------
    >>> clip = torch.full((1, 4, 40), -80.0)
    >>> clip[0, 1:3] = 0.0
    >>> speech_frames(clip)
    tensor([[False,  True,  True, False]])
    """
    level = frame_levels(feats)
    return level > level.amax(dim=1, keepdim=True) - SPEECH_RANGE


class Watched(NamedTuple):
    """What a model makes of the streams of N targets, R of each.

    Arguments
    ---------
    output : torch.Tensor
        Log-probabilities of no speech, the target and others, (N * R, T, 3), in nats.
    labels : torch.Tensor
        (N * R, T).
    kl : torch.Tensor
        Divergence of each target's posterior to the prior, (N,), in nats.
    scores : torch.Tensor
        Of B frames as N targets, (N, B), in nats; None of a model without scores.
    accepted : torch.Tensor
        Which of them are true, (N, B), bool.
    rejected : torch.Tensor
        Which of them are false, (N, B), bool.
    """

    output: torch.Tensor
    labels: torch.Tensor
    kl: torch.Tensor
    scores: torch.Tensor = None
    accepted: torch.Tensor = None
    rejected: torch.Tensor = None


class PersonalVadTask(SpeechActivityTask):
    """No speech, the target or others in every frame of streams of several speakers.

    Arguments
    ---------
    elbo : Elbo
    streams : StreamMaker
        Makes the streams of the queries of an episode.

    Example
    -------
    >>> from vofp_plugin.nnet.losses import Elbo
    >>> from vofp_plugin.tasks.streams import StreamMaker
    >>> PersonalVadTask(Elbo(num_data=1), StreamMaker()).classes([])
    ['no speech', 'target', 'others']

    Source
    ------
    Ding, Wang, Chang, Wan, Lopez Moreno. Personal VAD. Odyssey 2020, arXiv:1908.04284.
    """

    def __init__(self, elbo, streams):
        super().__init__(elbo)
        self.streams = streams

    def classes(self, rows):
        """The three classes, whatever the rows; an utterance alone is its speaker's."""
        return ["no speech", "target", "others"]

    def predict(self, model, episode, generator=None):
        """Answers streams of the episode with the weights of their targets: `Watched`."""
        streams = self._streams(episode, generator)
        weights, kl = model.draw(episode.enrollment, generator)
        return Watched(model(streams.feats, None, weights), streams.labels(), kl)

    def objective(self, predictions, episode):
        """Computes all loss terms of `Watched`, {name: scalar}, the sum as "loss"."""
        nll = self.nll(predictions.output, predictions.labels)
        return self.elbo(nll.view(len(predictions.kl), -1), predictions.kl)

    def _streams(self, episode, generator):
        return self.streams(episode.queries.feats, episode.queries.labels, generator)


class TargetFramesTask(PersonalVadTask):
    """The same for a `FrameDetector`, whose frames are offered as all targets of the episode.

    Arguments
    ---------
    elbo : Elbo
    streams : StreamMaker
    weight : float
        Of the losses over claims.
    every : int
        Frames from one that is offered to the next.
    """

    def __init__(self, elbo, streams, weight=0.5, every=10):
        super().__init__(elbo, streams)
        self.weight = weight
        self.every = every

    def check(self, model):
        """Refuses a model that scores no frames."""
        if not hasattr(model, "watch"):
            raise ValueError(
                f"Got a {type(model).__name__}, which scores no frames; expected a FrameDetector."
            )

    def predict(self, model, episode, generator=None):
        """Answers streams, and scores some of their frames as every target: `Watched`."""
        streams = self._streams(episode, generator)
        summary = model.summarize(episode.enrollment)
        weights, kl = model.head.draw(summary, generator)
        log_probs, codes = model.watch(streams.feats)
        output = model.answer(log_probs, model.head(codes, weights))
        offered, speakers = (x[:, :: self.every].flatten(0, 1) for x in (codes, streams.speakers))
        own = torch.arange(len(kl), device=speakers.device).unsqueeze(1) == speakers
        asked = (speakers != NOBODY) & summary.present.unsqueeze(1)
        scores = model.head.all_pairs(offered, weights)
        return Watched(output, streams.labels(), kl, scores, own & asked, ~own & asked)

    def objective(self, predictions, episode):
        """Computes all loss terms of `Watched`, {name: scalar}, the sum as "loss"."""
        terms = super().objective(predictions, episode)
        claims = predictions.scores, predictions.accepted, predictions.rejected
        terms |= {"prototype": prototype_softmax(*claims), "pairwise": pairwise_loss(*claims)}
        loss = terms["loss"] + self.weight * (terms["prototype"] + terms["pairwise"])
        return {**terms, "loss": loss}
