"""Export: one speaker's model with its features, from audio to answers, in one file for torch."""

import io

import torch
from torch.export import Dim

from vofp_plugin.dataio.audio import SHORTEST
from vofp_plugin.inference.audio_model import AudioModel
from vofp_plugin.utils.files import reason_of, whole_file

TOLERANCE = 1e-4  # of outputs of scale 1, between a file and what it was made of


def export(spotter, profile, path):
    """Writes a speaker's model as a program of torch.export, which torch alone runs.

    `torch.export.load(path).module()` takes audio (1, L) of the front end's rate, of any length
    from 0.1 s on, full scale at 1, and puts out log-probabilities (1, classes). It is tried before
    it is kept.

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
    model = speaker_model(spotter, profile)
    program = _program(model)
    for audio in noises(model.front_end):
        check_parity(model(audio), program.module()(audio))
    data = io.BytesIO()
    torch.export.save(program, data)  # which kills the process where a disk is full
    with whole_file(path) as partial:
        partial.write_bytes(data.getvalue())


def speaker_model(spotter, profile):
    """Gives the `AudioModel` of a speaker, or of everybody if `profile` is None."""
    profile = spotter.empty_profile() if profile is None else profile
    front_end, model = spotter.hparams.front_end, spotter.merge(profile)
    return AudioModel(front_end, model, spotter.conclude, spotter.hears_whole).eval()


def noises(front_end):
    """Makes noise (1, L) of other lengths than clips have: shorter, longer."""
    generator = torch.Generator().manual_seed(0)
    lengths = front_end.num_samples // 2, 2 * front_end.num_samples + 77
    return [0.1 * torch.randn(1, length, generator=generator) for length in lengths]


def dynamic_length(front_end):
    """Tells torch.export that audio (1, L) may have any length from `SHORTEST` on."""
    return {1: Dim("samples", min=round(SHORTEST * front_end.sample_rate))}


def check_parity(expected, got):
    """Raises ValueError where an exported model answers otherwise."""
    scale = expected.abs().max().clamp(min=1)  # sums over an enrollment grow
    error = ((got - expected).abs().max() / scale).item()
    if not error <= TOLERANCE:
        raise ValueError(
            f"The exported model answers otherwise by {error:g}; expected at most {TOLERANCE:g}: "
            "its forward pass depends on more than its input."
        )


@torch.no_grad()
def _program(model):
    front_end = model.front_end
    lengths = {"audio": dynamic_length(front_end)}
    try:
        return torch.export.export(model, (noises(front_end)[1],), dynamic_shapes=lengths)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"Cannot export a {type(model.main_model).__name__} ({reason_of(error)}); expected a "
            "main model of tensor operations that do not depend on values."
        ) from error
