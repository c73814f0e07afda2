"""Energy clock: places in a word told by how much of its energy has been heard.

Pauses, position and length of a word then change nothing, and the order of its sounds is kept.
"""

import torch

from vofp_plugin.utils.frame_level import frame_levels

FLOOR = 0.1  # quantile of the frames that is taken for silence
SOFTENING = 5.0  # dB, added to the range of levels, so that noise alone has no clear loudest frame


def clock_weights(feats, num_segments):
    """Weights by which frames are averaged over segments of equal shares of energy.

    Arguments
    ---------
    feats : torch.Tensor
        Log-mels, (B, T, F), in dB.
    num_segments : int
        S.

    Returns
    -------
    torch.Tensor
        (B, S, T), which sum to 1 over the frames. A segment's weights fall to both sides of its
        middle, to zero at the middles of its neighbours.

    Example
    -------
    >>> feats = torch.full((1, 8, 40), -80.0)
    >>> feats[:, 2:6] = 0.0
    >>> (100 * clock_weights(feats, num_segments=2)[0, 0]).int().tolist()
    [0, 0, 42, 42, 14, 0, 0, 0]
    """
    share = _energy_shares(feats)
    middle = (share.cumsum(dim=1) - share / 2).unsqueeze(1)  # share heard at the middle of a frame
    segments = (torch.arange(num_segments, device=feats.device) + 0.5) / num_segments
    nearness = (1 - (middle - segments.unsqueeze(1)).abs() * num_segments).clamp(min=0)
    weights = nearness * share.unsqueeze(1)
    weights = weights + 1e-6 / feats.shape[1]
    return weights / weights.sum(dim=2, keepdim=True)


def _energy_shares(feats):
    """Share of every frame in the energy of its clip, (B, T)."""
    level = frame_levels(feats)
    ordered = level.sort(dim=1).values
    floor = ordered[:, int(FLOOR * (feats.shape[1] - 1))].unsqueeze(1)
    span = ordered[:, -1:] - floor + SOFTENING
    energy = ((level - floor) / span).clamp(0, 1).square() + 1e-6
    return energy / energy.sum(dim=1, keepdim=True)
