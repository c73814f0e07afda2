"""Export: one speaker's model with its features, from audio to answers, in one file."""

import torch
from torch import nn

from vofp_plugin.utils.files import reason_of, whole_file

TOLERANCE = 1e-4  # of log-probabilities, between the file and what it was made of


class AudioModel(nn.Module):
    """A front end and a main model in one: clips (B, L) to its output."""

    def __init__(self, front_end, main_model):
        super().__init__()
        self.front_end, self.main_model = front_end, main_model
        if isinstance(front_end.compute_features, nn.Module):
            self.compute_features = front_end.compute_features  # so that its tensors are seen

    def forward(self, clips):
        """Answers clips (B, L) of the front end's length, full scale at 1."""
        feats = self.front_end(clips)
        return self.main_model(feats, feats.new_ones(len(feats)))


def export(spotter, profile, path):
    """Writes a speaker's model as a program of torch.export, which torch alone runs.

    `torch.export.load(path).module()` takes a clip (1, L) of the front end's length and rate, full
    scale at 1, and puts out log-probabilities (1, classes). It is tried before it is kept.

    Arguments
    ---------
    spotter : PersonalizedInterface
        On the CPU.
    profile : Profile
        Of the speaker; None exports the model for everybody.
    path : str or Path

    Raises
    ------
    TypeError
        If the model is not personalized.
    ValueError
        If it cannot be exported, or the program answers otherwise by more than `TOLERANCE`.
    OSError
        If the file cannot be written.
    """
    front_end = spotter.hparams.front_end
    profile = spotter.empty_profile() if profile is None else profile
    model = AudioModel(front_end, spotter.merge(profile)).eval()
    noise = torch.randn(1, front_end.num_samples, generator=torch.Generator().manual_seed(0))
    program = _program(model, 0.1 * noise)
    with torch.no_grad():
        louder = noise.flip(1)
        error = (program.module()(louder) - model(louder)).abs().max().item()
    if not error <= TOLERANCE:
        raise ValueError(
            f"The exported model answers otherwise by {error:g}; expected at most {TOLERANCE:g}: "
            "its forward pass depends on more than its input."
        )
    with whole_file(path) as partial, partial.open("wb") as file:
        torch.export.save(program, file)


def _program(model, clip):
    try:
        return torch.export.export(model, (clip,))
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"Cannot export a {type(model.main_model).__name__} ({reason_of(error)}); expected a "
            "main model of tensor operations that do not depend on values."
        ) from error
