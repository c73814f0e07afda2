"""Voice activity detection: speech or none in every frame of a query."""

import torch

from vofp_plugin.tasks.base import Task

SPEECH_RANGE = 30.0  # dB below the loudest frame
LOUD_BANDS = 8  # of a frame, whose mean is its level


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
    level = feats.topk(min(LOUD_BANDS, feats.shape[2]), dim=2).values.mean(dim=2)
    return level > level.amax(dim=1, keepdim=True) - SPEECH_RANGE
