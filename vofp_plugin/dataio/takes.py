"""Takes: is a recording one whole word, and is it like the other takes of the word?"""

from vofp_plugin.dataio.quality import Quality

CUT_OFF, TWO_WORDS, UNLIKE = "cut off", "two words", "unlike the other takes"
STEP = 0.010  # s
LOUD = 20.0  # dB below the loudest step: speech
EDGE = 0.020  # s, at both ends, where a whole word is not loud
PAUSE, SHORTEST = 0.30, 0.15  # s: a pause between two words, and the shortest of these


def assess_take(wav, sample_rate=16000):
    """Assesses whether a recording holds one word from its beginning to its end.

    Arguments
    ---------
    wav : torch.Tensor
        (L,), as it was recorded, with what was before and after the word.
    sample_rate : int
        In Hz.

    Returns
    -------
    Quality
        With a score below 0.5 and a reason, if it seems cut off, or to hold two words.

    Example
    -------
    >>> import torch
    >>> word = torch.randn(8000)
    >>> silence = 0.001 * torch.randn(8000)
    >>> assess_take(torch.cat([silence, word, silence])).reason
    ''
    >>> assess_take(torch.cat([word, silence])).reason
    'cut off'
    >>> assess_take(torch.cat([silence, word, silence, word, silence])).reason
    'two words'
    """
    edge = round(EDGE / STEP)
    if len(wav) < 3 * EDGE * sample_rate:
        return Quality(0.3, CUT_OFF)
    loud = _loud_steps(wav, sample_rate)
    if loud[:edge].all() or loud[-edge:].all():
        return Quality(0.3, CUT_OFF)
    return Quality(0.3, TWO_WORDS) if _parts(loud) > 1 else Quality(1.0)


def _loud_steps(wav, sample_rate):
    """Whether every step of a waveform holds speech, (steps,), bool."""
    size = round(STEP * sample_rate)
    steps = wav[: len(wav) // size * size].view(-1, size)
    level = 10 * (steps.var(dim=1, unbiased=False) + 1e-12).log10()
    return level > level.max() - LOUD


def _parts(loud):
    """Number of words: stretches of speech with a pause between them."""
    places = loud.nonzero().flatten().tolist()
    parts, first = [], places[0]
    for before, after in zip(places, places[1:] + [None], strict=True):
        if after is None or (after - before) * STEP > PAUSE:
            parts.append((first, before))
            first = after
    return sum((last - first + 1) * STEP >= SHORTEST for first, last in parts)


def likeness_of_takes(codes):
    """Cosine of every take to the other one that is most like it.

    One odd take among others is unlike all of them; of two that differ, both are.

    Arguments
    ---------
    codes : torch.Tensor
        Unit codes of K takes of a word, (K, D).

    Returns
    -------
    torch.Tensor
        (K,); empty for a single take.

    Example
    -------
    >>> import torch
    >>> likeness_of_takes(torch.eye(3)[[0, 0, 1]]).round(decimals=1).tolist()[2]
    0.0
    """
    if len(codes) < 2:
        return codes.new_zeros(0)
    cosines = codes @ codes.t()
    return cosines.fill_diagonal_(-1).amax(dim=1)
