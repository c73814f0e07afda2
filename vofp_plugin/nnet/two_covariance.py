"""Two-covariance model of a speaker: closed forms of its posterior and of the layer that detects.

A speaker y ~ N(0, I) and an utterance x ~ N(y, 1 / p), with one precision p for each dimension.
After K utterances the posterior of y is Gaussian, and the log-likelihood ratio of a query is linear
in [x, x^2]. So the weights that are injected into a linear layer are exact, uncertainty included.
"""

import torch

from vofp_plugin.nnet.posterior import DiagonalGaussian


def speaker_posterior(total, count, precision):
    """Gives the posterior of speakers after some utterances.

    Arguments
    ---------
    total : torch.Tensor
        Sum of each speaker's utterances, (N, D).
    count : torch.Tensor
        Number K of each speaker's utterances, (N, 1).
    precision : torch.Tensor
        Of an utterance around its speaker, (D,), above 0.

    Returns
    -------
    DiagonalGaussian
        Of mean p sum(x) / (1 + K p) and variance 1 / (1 + K p), (N, D); N(0, I) where K is 0.

    Source
    ------
    Brummer, de Villiers. The speaker partitioning problem. Odyssey 2010.

    Example
    -------
    >>> total, count = torch.tensor([[3.0], [0.0]]), torch.tensor([[1.0], [0.0]])
    >>> posterior = speaker_posterior(total, count, precision=torch.ones(1))
    >>> posterior.mean
    tensor([[1.5000],
            [0.0000]])
    """
    posterior_precision = 1 + count * precision
    mean = precision * total / posterior_precision
    return DiagonalGaussian(mean, -posterior_precision.log())


def speaker_weights(total, count, precision):
    """Makes the linear layer that detects each speaker, exactly.

    Its output is the log-likelihood ratio of a query, in nats: its density given the speaker's
    utterances, over its density given none. The uncertainty about the speaker is integrated out.

    Arguments
    ---------
    total : torch.Tensor
        Sum of each speaker's utterances, (N, D).
    count : torch.Tensor
        Number K of each speaker's utterances, (N, 1). Where it is 0 all weights are 0: an
        unknown speaker rejects nobody.
    precision : torch.Tensor
        Of an utterance around its speaker, (D,), above 0.

    Returns
    -------
    dict
        "weight" (N, 1, 2 D) on `with_squares` of a query and "bias" (N, 1).

    Example
    -------
    >>> x = torch.tensor([[1.0, -1.0]])
    >>> weights = speaker_weights(x, torch.ones(1, 1), precision=torch.full((2,), 3.0))
    >>> layer = torch.nn.functional.linear(
    ...     with_squares(torch.cat([x, -x])), weights["weight"][0], weights["bias"][0]
    ... )
    >>> bool(layer[0] > 0 > layer[1])
    True
    """
    posterior = speaker_posterior(total, count, precision)
    spread = posterior.log_var.exp() + 1 / precision  # of a query of this speaker, (N, D)
    prior_spread = 1 + 1 / precision  # of a query of anybody, (D,)
    linear = posterior.mean / spread
    quadratic = (1 / prior_spread - 1 / spread) / 2
    terms = prior_spread.log() - spread.log() - posterior.mean * linear
    return {
        "weight": torch.cat([linear, quadratic], dim=1).unsqueeze(1),
        "bias": terms.sum(dim=1, keepdim=True) / 2,
    }


def with_squares(x):
    """Puts the squares of `x` (*, D) behind it: (*, 2 D).

    Example
    -------
    >>> with_squares(torch.tensor([[2.0, -3.0]]))
    tensor([[ 2., -3.,  4.,  9.]])
    """
    return torch.cat([x, x.square()], dim=-1)
