"""Audio model: from a waveform of any length to an answer, by operations that can be exported."""

import copy

import torch
from torch import nn

from vofp_plugin.dataio.window import loudest_window


class AudioModel(nn.Module):
    """A front end and a main model in one: a waveform to the main model's output.

    Arguments
    ---------
    front_end : FrontEnd
    main_model : torch.nn.Module
        Called as `main_model(feats, lens)`.
    conclude : callable
        What is made of its output, such as a method of an inference class; None leaves it.
    whole : bool
        Whether all audio is heard; otherwise the loudest stretch of a clip's length is.

    Example
    -------
    >>> from speechbrain.lobes.features import Fbank
    >>> from vofp_plugin.dataio.front_end import FrontEnd
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> AudioModel(FrontEnd(Fbank(n_mels=40)), DSCNN(num_classes=10))(torch.rand(1, 20000)).shape
    torch.Size([1, 10])
    """

    def __init__(self, front_end, main_model, conclude=None, whole=False):
        super().__init__()
        self.main_model = main_model
        self.whole = whole
        self.conclude = nn.Identity() if conclude is None else conclude
        self._set_front_end(front_end)

    def _set_front_end(self, front_end):
        self.front_end = front_end
        if isinstance(front_end.compute_features, nn.Module):
            self.compute_features = front_end.compute_features  # so that its tensors are seen

    def with_front_end(self, front_end):
        """Gives a copy that shares the main model and has another front end."""
        twin = copy.copy(self)
        twin._modules = dict(self._modules)
        twin._set_front_end(front_end)
        return twin

    def forward(self, audio):
        """Answers waveforms (B, L) of the front end's sampling rate, full scale at 1."""
        return self.conclude(self.main_model(*self.features(audio)))

    def features(self, audio):
        """Features (B, T, F) and relative lengths (B,) of what is heard."""
        if self.whole:
            return self.front_end(audio), torch.ones_like(audio[:, 0])
        size, rate = self.front_end.num_samples, self.front_end.sample_rate
        feats = self.front_end(loudest_window(audio, size, rate))
        lens = (torch.ones_like(audio).sum(dim=1) / size).clamp(max=1)
        return feats, lens


class Enroller(AudioModel):
    """Adds an utterance to a summary, and makes the weights of what it is then.

    Arguments
    ---------
    front_end : FrontEnd
    model : PersonalizedModel
        Or another with `summarize_each` and `personalize`.
    """

    def forward(self, audio, summary):
        """Maps an utterance (1, L) and a summary (1, S) to a summary (1, S) and weights (1, W).

        A summary is that of `Profile`, its parts one after another, and zeros before the first
        utterance.
        """
        each = self.main_model.summarize_each(*self.features(audio))
        summary = summary + joined(each)
        parts = summary.split([part.shape[1] for part in each], dim=1)
        weights = self.main_model.personalize(type(each)(*parts))
        return summary, joined(weights.values())


class Answerer(AudioModel):
    """Answers with weights that are an input.

    Arguments
    ---------
    front_end : FrontEnd
    model : PersonalizedModel
        Or another that is called as `model(feats, lens, weights)`.
    shapes : dict
        {parameter name: shape} of one speaker's weights.
    conclude : callable
        As for `AudioModel`.
    whole : bool
        As for `AudioModel`.
    """

    def __init__(self, front_end, model, shapes, conclude=None, whole=False):
        super().__init__(front_end, model, conclude, whole)
        self.shapes = {name: torch.Size(shape) for name, shape in shapes.items()}

    def forward(self, audio, weights):
        """Maps a waveform (1, L) and weights (1, W), one after another, to scores (1, ...)."""
        parts = weights.split([shape.numel() for shape in self.shapes.values()], dim=1)
        weights = {
            name: part.view(1, *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
        return self.conclude(self.main_model(*self.features(audio), weights))


def joined(tensors):
    """Puts tensors (N, ...) one after another: (N, all their numbers).

    Example
    -------
    >>> joined([torch.zeros(1, 2, 3), torch.ones(1, 1)]).shape
    torch.Size([1, 7])
    """
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)
