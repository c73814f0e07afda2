"""Posteriors: divergences and densities against torch.distributions, and their samples."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from vofp_plugin.nnet.posterior import Delta, DiagonalGaussian, standard_prior


def random_posterior(num_speakers=3, num_numbers=5):
    mean = torch.randn(num_speakers, num_numbers, dtype=torch.float64, requires_grad=True)
    log_var = torch.randn(num_speakers, num_numbers, dtype=torch.float64, requires_grad=True)
    return DiagonalGaussian(mean, log_var)


def oracle(gaussian):
    return Independent(Normal(gaussian.mean, gaussian.std), 1)


def test_std_is_the_root_of_the_variance():
    gaussian = DiagonalGaussian(torch.zeros(1, 2), torch.tensor([[math.log(4.0), math.log(9.0)]]))
    torch.testing.assert_close(gaussian.std, torch.tensor([[2.0, 3.0]]))


def test_kl_between_gaussians_is_that_of_torch():
    posterior, prior = random_posterior(), random_posterior()
    kl, expected = posterior.kl(prior), kl_divergence(oracle(posterior), oracle(prior))
    torch.testing.assert_close(kl, expected)
    inputs = [posterior.mean, posterior.log_var, prior.mean, prior.log_var]
    torch.testing.assert_close(
        torch.autograd.grad(kl.sum(), inputs), torch.autograd.grad(expected.sum(), inputs)
    )


@pytest.mark.parametrize("std", [0.1, 1.0, 3.0])
def test_kl_to_the_standard_prior_is_summed_over_numbers(std):
    posterior = random_posterior(num_speakers=4, num_numbers=7)
    prior = Normal(torch.zeros(()).double(), torch.tensor(std).double())
    expected = kl_divergence(Normal(posterior.mean, posterior.std), prior).sum(dim=1)
    torch.testing.assert_close(posterior.kl(standard_prior(std)), expected, rtol=1e-5, atol=1e-5)


def test_kl_is_zero_only_at_the_prior():
    prior = standard_prior(0.5)
    same = DiagonalGaussian(torch.zeros(2, 3), torch.full((2, 3), 2 * math.log(0.5)))
    torch.testing.assert_close(same.kl(prior), torch.zeros(2))
    assert (DiagonalGaussian(same.mean + 0.1, same.log_var).kl(prior) > 0.01).all()
    assert (DiagonalGaussian(same.mean, same.log_var + 0.5).kl(prior) > 0.01).all()
    assert (DiagonalGaussian(same.mean, same.log_var - 0.5).kl(prior) > 0.01).all()


def test_one_log_var_serves_all_speakers():
    gaussian = DiagonalGaussian(torch.randn(3, 5), torch.randn(5))
    assert gaussian.std.shape == (3, 5)
    assert gaussian.kl(standard_prior(1.0)).shape == (3,)


def test_samples_have_the_moments_of_the_posterior():
    mean, log_var = torch.tensor([[1.0, -2.0, 0.0]]), torch.tensor([[0.0, -2.0, -6.0]])
    draws = 40000
    samples = DiagonalGaussian(mean.expand(draws, 3), log_var).sample()
    std = torch.exp(0.5 * log_var[0])
    # Within five standard errors.
    assert ((samples.mean(dim=0) - mean[0]).abs() < 5 * std / draws**0.5).all()
    assert ((samples.std(dim=0) / std - 1).abs() < 5 / (2 * draws) ** 0.5).all()
    assert (torch.corrcoef(samples.T) - torch.eye(3)).abs().max() < 5 / draws**0.5


def test_sample_is_differentiable_in_mean_and_log_var():
    gaussian = random_posterior()
    sample = gaussian.sample()
    noise = ((sample - gaussian.mean) / gaussian.std).detach()
    mean_grad, log_var_grad = torch.autograd.grad(sample.sum(), [gaussian.mean, gaussian.log_var])
    torch.testing.assert_close(mean_grad, torch.ones_like(mean_grad))
    torch.testing.assert_close(log_var_grad, 0.5 * noise * gaussian.std.detach())


def test_sample_depends_on_the_generator_alone():
    gaussian = random_posterior()
    first = gaussian.sample(torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    assert torch.equal(gaussian.sample(torch.Generator().manual_seed(1)), first)
    assert not torch.equal(gaussian.sample(torch.Generator().manual_seed(2)), first)
    state = torch.get_rng_state()
    gaussian.sample(torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_delta_is_its_mean_without_divergence():
    mean = torch.randn(3, 5, requires_grad=True)
    delta = Delta(mean)
    assert delta.sample() is mean and delta.sample(torch.Generator()) is mean
    torch.testing.assert_close(delta.kl(standard_prior(0.3)), torch.zeros(3))


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_prior_without_a_positive_std_is_refused(std):
    with pytest.raises(ValueError, match=f"Got prior_std {std}; expected a number above 0"):
        standard_prior(std)
