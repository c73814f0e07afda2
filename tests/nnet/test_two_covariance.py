"""Two-covariance model: its closed forms against Gaussians multiplied and integrated."""

import pytest
import torch
from torch.distributions import Normal
from torch.nn.functional import linear, normalize

from vofp_plugin.nnet.injection import inject_, injected
from vofp_plugin.nnet.posterior import DiagonalGaussian
from vofp_plugin.nnet.two_covariance import speaker_posterior, speaker_weights, with_squares


def utterances(num_speakers=3, shots=4, size=5):
    """Codes (N, K, D) and a precision (D,)."""
    return torch.randn(num_speakers, shots, size).double(), torch.rand(size).double() * 5 + 0.2


def weights_of(x, precision):
    return speaker_weights(x.sum(1), torch.full((len(x), 1), x.shape[1]).double(), precision)


def scores(queries, weights):
    """Of queries (B, D) as every speaker: (N, B)."""
    return linear(with_squares(queries), weights["weight"][:, 0], weights["bias"][:, 0]).T


def integrated(x, query, precision, num_points=801):
    """Log-likelihood ratio of one query (D,) after utterances `x` (K, D), by sums over a grid."""
    size = x.shape[1]
    axis = torch.linspace(-9, 9, num_points, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * size).view(-1, size)  # speakers y
    std = precision**-0.5
    log_prior = Normal(0.0, 1.0).log_prob(grid).sum(1)
    log_seen = Normal(grid.unsqueeze(1), std).log_prob(x).sum((1, 2))
    log_query = Normal(grid, std).log_prob(query).sum(1)
    with_seen = (log_prior + log_seen + log_query).logsumexp(0) - (log_prior + log_seen).logsumexp(
        0
    )
    return with_seen - ((log_prior + log_query).logsumexp(0) - log_prior.logsumexp(0))


def test_posterior_is_the_product_of_gaussians():
    """A Gaussian prior times one Gaussian after another, by the rule for two."""
    x, precision = utterances()
    mean, variance = torch.zeros(3, 5).double(), torch.ones(3, 5).double()
    for k in range(x.shape[1]):
        product = 1 / (1 / variance + precision)
        mean, variance = product * (mean / variance + precision * x[:, k]), product
    posterior = speaker_posterior(x.sum(1), torch.full((3, 1), 4.0).double(), precision)
    torch.testing.assert_close(posterior.mean, mean)
    torch.testing.assert_close(posterior.std, variance.sqrt())


@pytest.mark.parametrize("size, num_points", [(1, 4001), (2, 401)])
@pytest.mark.parametrize("shots", [1, 3])
def test_score_is_the_integral_over_the_speaker(size, num_points, shots):
    x, precision = utterances(num_speakers=1, shots=shots, size=size)
    queries = torch.randn(3, size).double()
    expected = [integrated(x[0], query, precision, num_points) for query in queries]
    torch.testing.assert_close(scores(queries, weights_of(x, precision))[0], torch.stack(expected))


def test_many_utterances_give_the_ratio_of_a_known_speaker():
    precision, speaker, queries = torch.rand(4) + 0.5, torch.randn(1, 4), torch.randn(6, 4)
    count = torch.tensor([[1e6]])
    weights = speaker_weights(count * speaker, count, precision)
    known = Normal(speaker, precision**-0.5).log_prob(queries).sum(1)
    anybody = Normal(0.0, (1 + 1 / precision).sqrt()).log_prob(queries).sum(1)
    torch.testing.assert_close(scores(queries, weights)[0], known - anybody, rtol=1e-4, atol=1e-3)


def test_no_utterance_gives_zero_for_every_query():
    precision = torch.rand(5) + 0.1
    weights = speaker_weights(torch.zeros(2, 5), torch.zeros(2, 1), precision)
    assert not weights["weight"].any() and not weights["bias"].any()


def test_one_utterance_of_unit_length_is_affine_in_the_cosine():
    codes = normalize(torch.randn(40, 8).double(), dim=1)
    weights = weights_of(codes[:1].unsqueeze(1), torch.full((8,), 3.0).double())
    score, cosine = scores(codes[1:], weights)[0], codes[1:] @ codes[0]
    slope = (score[1] - score[0]) / (cosine[1] - cosine[0])
    assert slope > 0
    torch.testing.assert_close(score, score[0] + slope * (cosine - cosine[0]))


def test_more_utterances_narrow_the_posterior():
    posterior = speaker_posterior(
        torch.zeros(3, 2), torch.tensor([[0.0], [1.0], [5.0]]), torch.ones(2)
    )
    assert isinstance(posterior, DiagonalGaussian)
    assert (posterior.std[0] == 1).all() and (posterior.std.diff(dim=0) < 0).all()


def test_injected_layer_answers_as_a_layer_for_each_speaker():
    x, precision = utterances()
    weights, queries = weights_of(x, precision), torch.randn(6, 5).double()
    layer = inject_(torch.nn.Linear(10, 1).double(), ["*"])
    with injected(layer, weights):
        answers = layer(with_squares(queries))
    merged = []
    for n in range(3):
        plain = torch.nn.Linear(10, 1).double()
        plain.load_state_dict({name: weight[n] for name, weight in weights.items()})
        merged.append(plain(with_squares(queries[2 * n : 2 * n + 2])))
    torch.testing.assert_close(answers, torch.cat(merged))
