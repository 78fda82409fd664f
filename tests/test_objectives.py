"""Distributions and the ELBO, against torch.distributions and against exact integrals."""

import math

import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Normal, kl_divergence

from cvae_lightning.distributions import Bernoulli, DiagonalNormal, Gaussian
from cvae_lightning.errors import UserError
from cvae_lightning.objectives import ELBO
from cvae_lightning.optimizers import adam


def test_elbo_is_tight_when_the_posterior_is_exact() -> None:
    """With z ~ N(0, 1) and x | z ~ N(z, 1): q = N(x / 2, 1 / 2) and log p(x) = log N(x; 0, 2)."""
    x = torch.tensor([[0.7]])
    q = DiagonalNormal(x / 2, torch.tensor([[0.5]]).log())
    z = DiagonalNormal(*(parameter.expand(200_000, 1) for parameter in q)).rsample()
    elbo = ELBO(Normal(z, 1.0).log_prob(x).mean(0), q.kl_from_prior())
    torch.testing.assert_close(elbo.value, Normal(0.0, 2**0.5).log_prob(x)[0], atol=1e-2, rtol=0)


def test_elbo_is_below_log_p_by_the_kl_to_the_exact_posterior() -> None:
    """log p(x) = ELBO + KL(q || p(z | x)), for a q that is not exact."""
    x = torch.tensor([[0.7]])
    q = DiagonalNormal(torch.tensor([[-0.2]]), torch.tensor([[-1.0]]))
    z = DiagonalNormal(*(parameter.expand(400_000, 1) for parameter in q)).rsample()
    elbo = ELBO(Normal(z, 1.0).log_prob(x).mean(0), q.kl_from_prior())
    gap = kl_divergence(Normal(q.mean, (0.5 * q.log_var).exp()), Normal(x / 2, 0.5**0.5))
    torch.testing.assert_close(elbo.value + gap[0], Normal(0.0, 2**0.5).log_prob(x)[0], atol=1e-2, rtol=0)


def test_kl_equals_the_closed_form_of_torch_and_is_zero_at_the_prior() -> None:
    mean, log_var = torch.randn(2, 5, 7)
    expected = kl_divergence(Normal(mean, (0.5 * log_var).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(DiagonalNormal(mean, log_var).kl_from_prior(), expected)
    assert DiagonalNormal(torch.zeros(1, 3), torch.zeros(1, 3)).kl_from_prior() == 0


def test_draws_have_the_mean_and_variance_they_are_asked_for() -> None:
    q = DiagonalNormal(torch.full((100_000, 1), 2.0), torch.full((100_000, 1), math.log(0.25)))
    z = q.rsample()
    assert z.mean().item() == pytest.approx(2.0, abs=0.01)
    assert z.var().item() == pytest.approx(0.25, abs=0.01)


def test_gradients_flow_through_draws() -> None:
    mean, log_var = torch.zeros(1, 2, requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    DiagonalNormal(mean, log_var).rsample().sum().backward()
    assert mean.grad is not None
    torch.testing.assert_close(mean.grad, torch.ones(1, 2))
    assert log_var.grad is not None
    assert log_var.grad.abs().sum() > 0


@pytest.mark.parametrize("variance", [0.01, 0.5, 2.0])
def test_gaussian_log_prob_is_torchs_with_its_constant(variance: float) -> None:
    output, x = torch.randn(3, 1, 4, 4), torch.rand(3, 1, 4, 4)
    expected = Normal(output.sigmoid(), variance**0.5).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(Gaussian(variance)(output).log_prob(x), expected)


def test_at_variance_one_half_the_loss_is_the_sum_of_squared_errors() -> None:
    """The report's reconstruction term, up to a constant."""
    output, x = torch.randn(3, 1, 28, 28), torch.rand(3, 1, 28, 28)
    pixels = Gaussian(0.5)(output)
    squared_errors = (x - pixels.mean).square().sum((1, 2, 3))
    torch.testing.assert_close(-pixels.log_prob(x), squared_errors + 392 * math.log(math.pi))


def test_bernoulli_log_prob_is_torchs_on_binary_images() -> None:
    output, x = torch.randn(3, 1, 4, 4), torch.rand(3, 1, 4, 4).round()
    expected = TorchBernoulli(logits=output).log_prob(x).sum((1, 2, 3))
    pixels = Bernoulli()(output)
    torch.testing.assert_close(pixels.log_prob(x), expected)
    torch.testing.assert_close(pixels.mean, output.sigmoid())


def test_beta_weighs_the_kl_term_alone() -> None:
    elbo = ELBO(log_likelihood=torch.tensor([-3.0, -5.0]), kl=torch.tensor([1.0, 3.0]))
    assert elbo.loss(beta=1.0) == -elbo.value.mean() == 6.0
    assert elbo.loss(beta=0.0) == 4.0
    assert elbo.loss(beta=10.0) == 24.0


@pytest.mark.parametrize("variance", [0, -1.0, float("nan"), float("inf")])
def test_a_variance_that_is_none_is_refused(variance: float) -> None:
    with pytest.raises(UserError, match=r"Expected a finite number above 0 \(likelihood.variance\), got"):
        Gaussian(variance)


@pytest.mark.parametrize("lr", [0, -0.1, float("nan"), float("inf"), "fast", None, True])
def test_a_learning_rate_that_is_none_is_refused(lr: float) -> None:
    with pytest.raises(UserError, match=r"Expected a finite number above 0 \(lr\), got"):
        adam(lr)
