"""Level of frames: the mean of the loudest bands, which noise of other bands changes little."""

LOUD_BANDS = 8  # of a frame, whose mean is its level


def frame_levels(feats):
    """Mean of the loudest bands of every frame.

    Arguments
    ---------
    feats : torch.Tensor
        Log-mels, (..., T, F), in dB.

    Returns
    -------
    torch.Tensor
        (..., T), in dB.

    Example
    -------
    >>> import torch
    >>> frame_levels(torch.tensor([[1.0] * 8 + [0.0] * 32]))
    tensor([1.])
    """
    return feats.topk(min(LOUD_BANDS, feats.shape[-1]), dim=-1).values.mean(dim=-1)
