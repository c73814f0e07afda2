"""Words cut from running speech: stretches between dips of energy, whatever is said in them.

Nobody needs to know what they mean. They are real sounds of real voices, where a corpus of single
words has few speakers, or none of a language.
"""

import torch

SHORTEST, LONGEST = 0.3, 1.0  # s
STEP, SMOOTHING = 0.010, 5  # s; steps over which energy is averaged
QUIET = 30.0  # dB below the loudest step: no speech


def cut_words(samples, sample_rate=16000):
    """Finds stretches of speech from one dip of energy to another.

    From each beginning the deepest dip `SHORTEST` to `LONGEST` later is the end, and the next
    beginning. Stretches that are mostly quiet are left out.

    Arguments
    ---------
    samples : torch.Tensor
        (L,).
    sample_rate : int
        In Hz.

    Returns
    -------
    list of tuple
        (start, stop) in samples, one after another.

    Example
    -------
    >>> tone = torch.sin(torch.arange(8000) * 0.3)
    >>> speech = torch.cat([tone, torch.zeros(1600), tone])
    >>> [stop // 1600 for _, stop in cut_words(speech)]
    [5, 11]
    """
    if len(samples) < SHORTEST * sample_rate:
        return []
    level, step = _levels(samples, sample_rate)
    loud = level > level.max() - QUIET
    shortest, longest = round(SHORTEST / STEP), round(LONGEST / STEP)
    cuts, begin = [], 0
    while True:
        while begin < len(level) and not loud[begin]:
            begin += 1
        if len(level) - begin < shortest:
            return cuts
        window = level[begin + shortest : begin + longest]
        end = begin + shortest + int(window.argmin()) if len(window) else len(level)
        if begin + longest >= len(level):
            end = len(level) if not len(window) or loud[begin:].all() else end
        if loud[begin:end].float().mean() > 0.5:
            cuts.append((begin * step, min(end * step, len(samples))))
        begin = end


def _levels(samples, sample_rate):
    """Level of every step in dB, (steps,), smoothed, and a step in samples."""
    step = round(STEP * sample_rate)
    power = samples[: len(samples) // step * step].view(-1, step).square().mean(dim=1)
    kernel = torch.ones(1, 1, SMOOTHING) / SMOOTHING
    smooth = torch.nn.functional.conv1d(power.view(1, 1, -1), kernel, padding=SMOOTHING // 2)
    return 10 * (smooth.flatten() + 1e-10).log10(), step
