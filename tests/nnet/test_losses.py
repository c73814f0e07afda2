"""The objective: a bound on the evidence where the evidence is known, and its arithmetic."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from vofp_plugin.nnet.losses import Elbo, SpeakerContrast
from vofp_plugin.nnet.posterior import DiagonalGaussian, standard_prior


class LinearSpeakers:
    """Conjugate toy: each speaker has normal weights, queries are linear in them plus noise.

    The inputs are orthogonal, so that the exact posterior is diagonal.
    """

    num_speakers, num_queries, num_weights = 3, 6, 4
    prior_std, noise_std = 0.7, 0.4

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        square = torch.randn(6, 6, generator=generator, dtype=torch.float64)
        self.x = torch.linalg.qr(square).Q[:, :4] * torch.tensor([0.5, 1.0, 2.0, 4.0])
        weights = self.prior_std * torch.randn(3, 4, generator=generator, dtype=torch.float64)
        noise = torch.randn(3, 6, generator=generator, dtype=torch.float64)
        self.y = weights @ self.x.T + self.noise_std * noise

    def evidence(self):
        """Exact log-evidence of every speaker's queries, in nats."""
        covariance = self.prior_std**2 * self.x @ self.x.T
        covariance += self.noise_std**2 * torch.eye(6).double()
        return MultivariateNormal(torch.zeros(6).double(), covariance).log_prob(self.y)

    def exact_posterior(self):
        precision = self.prior_std**-2 + self.x.square().sum(dim=0) / self.noise_std**2
        mean = self.y @ self.x / self.noise_std**2 / precision
        return DiagonalGaussian(mean, -precision.log())

    def expected_nll(self, posterior):
        """Mean over the posterior of every query's negative log-likelihood, in closed form."""
        mean, variance = posterior.mean @ self.x.T, posterior.std**2 @ self.x.square().T
        at_mean = -Normal(mean, self.noise_std).log_prob(self.y)
        return at_mean + variance / (2 * self.noise_std**2)

    def sampled_nll(self, posterior):
        """One draw's negative log-likelihood of every query."""
        return -Normal(posterior.sample() @ self.x.T, self.noise_std).log_prob(self.y)

    def loss(self, posterior, nll=None, beta=1.0):
        nll = self.expected_nll(posterior) if nll is None else nll
        elbo = Elbo(num_data=self.num_queries, beta=beta)
        return elbo(nll, posterior.kl(standard_prior(self.prior_std)))["loss"]


@pytest.fixture
def toy():
    return LinearSpeakers()


def test_bound_is_tight_at_the_exact_posterior(toy):
    expected = -toy.evidence().mean() / toy.num_queries
    torch.testing.assert_close(toy.loss(toy.exact_posterior()), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mean_change, std_ratio", [(0.1, 1.0), (0.0, 0.7), (0.0, 1.4), (1.0, 3.0)])
def test_bound_lies_below_the_evidence_elsewhere(toy, mean_change, std_ratio):
    exact = toy.exact_posterior()
    worse = DiagonalGaussian(exact.mean + mean_change, exact.log_var + 2 * math.log(std_ratio))
    assert -toy.num_queries * toy.loss(worse) < toy.evidence().mean() - 0.01


def test_bound_lies_below_the_evidence_at_the_prior_and_at_near_certainty(toy):
    shape = toy.exact_posterior().mean.shape
    for log_var in (2 * math.log(toy.prior_std), -10.0):
        guess = DiagonalGaussian(torch.zeros(shape).double(), torch.full(shape, log_var).double())
        assert -toy.num_queries * toy.loss(guess) < toy.evidence().mean() - 0.01


def test_smaller_beta_is_no_bound(toy):
    assert -toy.num_queries * toy.loss(toy.exact_posterior(), beta=0.01) > toy.evidence().mean()


def test_gradient_vanishes_at_the_exact_posterior(toy):
    exact = toy.exact_posterior()
    mean, log_var = exact.mean.clone().requires_grad_(), exact.log_var.clone().requires_grad_()
    toy.loss(DiagonalGaussian(mean, log_var)).backward()
    torch.testing.assert_close(mean.grad, torch.zeros_like(mean), rtol=0, atol=1e-6)
    torch.testing.assert_close(log_var.grad, torch.zeros_like(mean), rtol=0, atol=1e-6)


def test_single_draws_estimate_the_bound(toy):
    posterior = toy.exact_posterior()
    losses = torch.stack([toy.loss(posterior, nll=toy.sampled_nll(posterior)) for _ in range(2000)])
    error = (losses.mean() - toy.loss(posterior)).abs()
    assert error < 5 * losses.std() / len(losses) ** 0.5


def test_kl_is_divided_by_the_queries_it_is_shared_by():
    terms = Elbo(num_data=5, beta=0.5)(nll=torch.zeros(2, 5), kl=torch.tensor([10.0, 30.0]))
    assert terms["loss"].item() == pytest.approx(0.5 * 20 / 5)
    assert terms["kl"].item() == 20.0 and terms["nll"].item() == 0.0


def test_loss_is_the_mean_over_speakers_and_their_queries():
    nll = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    assert Elbo(num_data=2)(nll, torch.zeros(2))["loss"].item() == 4.0


@pytest.mark.parametrize("arguments", [{"num_data": 0}, {"num_data": 2, "beta": -1}])
def test_bad_settings_are_refused(arguments):
    with pytest.raises(ValueError, match="expected num_data >= 1 and beta >= 0"):
        Elbo(**arguments)


@pytest.mark.parametrize("nll, kl", [((6,), (3,)), ((3, 2), (2,)), ((3, 2), (3, 1)), ((3, 2), ())])
def test_terms_of_wrong_shape_are_refused(nll, kl):
    with pytest.raises(ValueError, match=r"expected \(speakers, queries\) and \(speakers,\)"):
        Elbo(num_data=2)(torch.zeros(nll), torch.zeros(kl))


def test_contrast_is_the_cross_entropy_of_cosine_similarities():
    codes, others = torch.randn(5, 3), torch.randn(5, 3)
    expected = 0.0
    for n in range(5):
        similar = torch.stack([torch.cosine_similarity(codes[n], other, dim=0) for other in others])
        expected += -(similar / 0.2).log_softmax(0)[n] / 5
    contrast = SpeakerContrast(weight=0.3, temperature=0.2)
    torch.testing.assert_close(contrast(codes, others), 0.3 * expected)


@pytest.mark.parametrize("num_speakers", [0, 1])
def test_contrast_of_one_speaker_or_none_is_zero(num_speakers):
    codes = torch.randn(num_speakers, 3)
    assert SpeakerContrast()(codes, torch.randn(num_speakers, 3)) == 0


@pytest.mark.parametrize("settings", [{"weight": -1.0}, {"temperature": 0.0}])
def test_contrast_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="expected weight >= 0 and temperature > 0"):
        SpeakerContrast(**settings)
