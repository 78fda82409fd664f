"""Distributions and the ELBO, against torch.distributions and against exact integrals; test_bounds.py has the rest."""

import math
from typing import Any

import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli
from torch.distributions import Normal, kl_divergence

from cvae_lightning.core.errors import UserError
from cvae_lightning.models.bounds import ELBO
from cvae_lightning.models.latents import DiagonalGaussian, StandardGaussian
from cvae_lightning.models.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, GaussianLearned, GaussianOptimal
from cvae_lightning.models.optimizers import adam
from cvae_lightning.models.vae import VAE
from cvae_lightning.networks.mlp import MLP

PRIOR = StandardGaussian(1, 7, torch.device("cpu"))


def test_elbo_is_tight_when_the_posterior_is_exact() -> None:
    """With z ~ N(0, 1) and x | z ~ N(z, 1): q = N(x / 2, 1 / 2) and log p(x) = log N(x; 0, 2)."""
    x = torch.tensor([[0.7]])
    q = DiagonalGaussian(x / 2, torch.tensor([[0.5]]).log())
    z = DiagonalGaussian(*(parameter.expand(200_000, 1) for parameter in q)).rsample()
    elbo = ELBO(Normal(z, 1.0).log_prob(x).mean(0), PRIOR.kl(q, q.mean))
    torch.testing.assert_close(elbo.value, Normal(0.0, 2**0.5).log_prob(x)[0], atol=1e-2, rtol=0)


def test_elbo_is_below_log_p_by_the_kl_to_the_exact_posterior() -> None:
    """log p(x) = ELBO + KL(q || p(z | x)), for a q that is not exact."""
    x = torch.tensor([[0.7]])
    q = DiagonalGaussian(torch.tensor([[-0.2]]), torch.tensor([[-1.0]]))
    z = DiagonalGaussian(*(parameter.expand(400_000, 1) for parameter in q)).rsample()
    elbo = ELBO(Normal(z, 1.0).log_prob(x).mean(0), PRIOR.kl(q, q.mean))
    gap = kl_divergence(Normal(q.mean, (0.5 * q.log_var).exp()), Normal(x / 2, 0.5**0.5))
    torch.testing.assert_close(elbo.value + gap[0], Normal(0.0, 2**0.5).log_prob(x)[0], atol=1e-2, rtol=0)


def test_kl_equals_the_closed_form_of_torch_and_is_zero_at_the_prior() -> None:
    mean, log_var = torch.randn(2, 5, 7)
    expected = kl_divergence(Normal(mean, (0.5 * log_var).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(PRIOR.kl(DiagonalGaussian(mean, log_var), mean), expected)
    at_the_prior = DiagonalGaussian(*torch.zeros(2, 1, 3))
    assert PRIOR.kl(at_the_prior, at_the_prior.mean) == 0


def test_draws_have_the_mean_and_variance_they_are_asked_for() -> None:
    q = DiagonalGaussian(torch.full((100_000, 1), 2.0), torch.full((100_000, 1), math.log(0.25)))
    z = q.rsample()
    assert z.mean().item() == pytest.approx(2.0, abs=0.01)
    assert z.var().item() == pytest.approx(0.25, abs=0.01)


def test_gradients_flow_through_draws() -> None:
    mean, log_var = torch.zeros(1, 2, requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    DiagonalGaussian(mean, log_var).rsample().sum().backward()
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
    """The paper's reconstruction term, up to a constant."""
    output, x = torch.randn(3, 1, 28, 28), torch.rand(3, 1, 28, 28)
    pixels = Gaussian(0.5)(output)
    squared_errors = (x - pixels.mean).square().sum((1, 2, 3))
    torch.testing.assert_close(-pixels.log_prob(x), squared_errors + 392 * math.log(math.pi))


def test_a_learned_variance_is_a_parameter_whose_optimum_is_the_mean_squared_error() -> None:
    output, x = torch.randn(30, 1, 28, 28), torch.rand(30, 1, 28, 28)
    mse = (output.sigmoid() - x).square().mean().item()
    likelihood = GaussianLearned(initial_variance=mse)
    log_prob = likelihood(output).log_prob(x)
    torch.testing.assert_close(log_prob, Gaussian(mse)(output).log_prob(x))
    log_prob.mean().backward()
    assert likelihood.log_variance.grad is not None
    assert likelihood.log_variance.grad.abs() < 1e-2, "of 784 / 2, what either half of it comes to"


def test_the_optimal_variance_has_the_gradient_of_the_log_of_the_mean_squared_error() -> None:
    """Rybkin et al. 2021: the loss is n / 2 log(mse) and a constant."""
    output, x = torch.randn(5, 1, 28, 28, requires_grad=True), torch.rand(5, 1, 28, 28)
    mse = (output.sigmoid() - x).square().mean()
    loss = -GaussianOptimal()(output).log_prob(x).mean()
    torch.testing.assert_close(loss, 392 * (mse.log() + 1 + math.log(2 * math.pi)))
    (gradient,) = torch.autograd.grad(loss, output)
    (expected,) = torch.autograd.grad(392 * mse.log(), output)
    torch.testing.assert_close(gradient, expected)


def test_no_other_variance_makes_the_batch_likelier() -> None:
    output, x = torch.randn(5, 1, 28, 28), torch.rand(5, 1, 28, 28)
    best = GaussianOptimal()(output).log_prob(x).mean()
    mse = (output.sigmoid() - x).square().mean().item()
    assert best.item() == pytest.approx(Gaussian(mse)(output).log_prob(x).mean().item(), rel=1e-6)
    assert all(Gaussian(factor * mse)(output).log_prob(x).mean() < best for factor in (0.5, 0.9, 1.1, 2))


def test_the_variance_of_the_evaluation_is_a_running_mean_over_the_training() -> None:
    likelihood = GaussianOptimal()
    variances = [1.0, 2.0, 6.0]
    for number, variance in enumerate(variances, start=1):
        likelihood.note(torch.tensor(variance))
        assert likelihood.variance == pytest.approx(sum(variances[:number]) / number)
    for _ in range(40 * GaussianOptimal.MEMORY):
        likelihood.note(torch.tensor(0.25))
    assert likelihood.variance == pytest.approx(0.25, rel=1e-5), "what is long past is forgotten"
    assert likelihood.state_dict().keys() == {"variance", "num_batches"}
    assert not list(likelihood.parameters())


def test_in_evaluation_an_image_has_one_density_whatever_batch_it_is_in() -> None:
    likelihood = GaussianOptimal()
    output, x = torch.randn(6, 1, 28, 28), torch.rand(6, 1, 28, 28)
    likelihood(output).log_prob(x)
    likelihood.eval()
    whole, state = likelihood(output).log_prob(x), likelihood.variance.item()
    parts = [likelihood(output[part]).log_prob(x[part]) for part in torch.arange(6).split(2)]
    torch.testing.assert_close(torch.cat(parts), whole)
    torch.testing.assert_close(whole, Gaussian(state)(output).log_prob(x))
    assert likelihood.variance == state


def coloured(part: Any, channels: int = 3) -> Any:
    """The likelihood of a model of images with that many channels."""
    return VAE(MLP([4]), part, adam(0.1), image_shape=(channels, 4, 5), latent_dim=2).likelihood_head


@pytest.mark.parametrize(
    "likelihood", [Gaussian(0.1), GaussianLearned(0.1), GaussianOptimal(), Bernoulli(), ContinuousBernoulli()]
)
def test_the_likelihood_of_colours_is_that_of_torch_summed_over_channels(likelihood: Any) -> None:
    output, x = torch.randn(6, 3, 4, 5), torch.rand(6, 3, 4, 5)
    if isinstance(likelihood, Bernoulli):
        x = x.round()
    part = coloured(likelihood).eval()
    variances = torch.tensor([0.02, 0.1, 0.7])
    if isinstance(part, GaussianLearned):
        part.log_variance.data.copy_(variances.log())
    if isinstance(part, GaussianOptimal):
        part.variance.copy_(variances)
    if isinstance(part, Gaussian):
        variances = torch.full((3,), part.variance)
    expected = {
        Bernoulli: TorchBernoulli(logits=output, validate_args=False),
        ContinuousBernoulli: TorchContinuousBernoulli(logits=output, validate_args=False),
    }.get(type(part), Normal(output.sigmoid(), variances.sqrt()[:, None, None]))
    torch.testing.assert_close(part(output).log_prob(x), expected.log_prob(x).sum((1, 2, 3)), rtol=1e-4, atol=1e-3)
    assert part(output).mean.shape == x.shape


@pytest.mark.parametrize("likelihood", [Gaussian(0.03), GaussianLearned(), GaussianOptimal(), ContinuousBernoulli()])
def test_the_density_of_a_pixel_of_three_colours_integrates_to_one(likelihood: Any) -> None:
    """Over a grid of its three values, far enough beyond [0, 1] for a Gaussian."""
    part = coloured(likelihood).eval()
    if isinstance(part, GaussianLearned):
        part.log_variance.data.copy_(torch.tensor([0.02, 0.05, 0.1]).log())
    if isinstance(part, GaussianOptimal):
        part.variance.copy_(torch.tensor([0.02, 0.05, 0.1]))
    low, high = (0.0, 1.0) if isinstance(part, ContinuousBernoulli) else (-2.0, 3.0)
    steps = low + (high - low) * (torch.arange(80, dtype=torch.double) + 0.5) / 80
    x = torch.cartesian_prod(steps, steps, steps)[..., None, None]
    output = torch.tensor([-0.5, 0.2, 1.0], dtype=torch.double).reshape(1, 3, 1, 1).expand_as(x)
    density = part(output).log_prob(x).exp()
    assert density.mean().item() * (high - low) ** 3 == pytest.approx(1, abs=1e-3)


def test_each_channel_learns_a_variance_of_its_own() -> None:
    """Whose optimum is the mean squared error of that channel."""
    output, x = torch.randn(30, 3, 4, 5), torch.rand(30, 3, 4, 5) * torch.tensor([1.0, 0.5, 0.1])[:, None, None]
    mse = (output.sigmoid() - x).square().mean((0, 2, 3))
    likelihood = coloured(GaussianLearned(0.05))
    torch.testing.assert_close(likelihood.log_variance.exp(), torch.full((3,), 0.05))
    likelihood.log_variance.data.copy_(mse.log())
    likelihood(output).log_prob(x).mean().backward()
    assert likelihood.log_variance.grad.abs().max() < 1e-4, "of 20 / 2, the size of either half of it"


def test_the_optimal_variances_are_the_mean_squared_errors_of_the_channels() -> None:
    output = torch.randn(30, 3, 4, 5, requires_grad=True)
    x = torch.rand(30, 3, 4, 5) * torch.tensor([1.0, 0.5, 0.1])[:, None, None]
    mse = (output.sigmoid() - x).square().mean((0, 2, 3))
    likelihood = coloured(GaussianOptimal())
    loss = -likelihood(output).log_prob(x).mean()
    torch.testing.assert_close(loss, 10 * (mse.log() + 1 + math.log(2 * math.pi)).sum())
    (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
    (expected,) = torch.autograd.grad(10 * mse.log().sum(), output)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(likelihood.variance, mse.detach())
    shared = GaussianOptimal()(output).log_prob(x).mean()
    assert -loss > shared, "one variance for all channels is a worse fit"


@pytest.mark.parametrize("part", [GaussianLearned, GaussianOptimal])
def test_a_single_channel_keeps_its_one_variance(part: Any) -> None:
    alone, in_a_model = part(), coloured(part(), channels=1)
    assert [(name, value.shape) for name, value in alone.state_dict().items()] == [
        (name, value.shape) for name, value in in_a_model.state_dict().items()
    ]
    output, x = torch.randn(6, 1, 4, 5), torch.rand(6, 1, 4, 5)
    assert torch.equal(alone(output).log_prob(x), in_a_model(output).log_prob(x))
    assert coloured(part()).state_dict().keys() == alone.state_dict().keys()


def test_a_likelihood_may_leave_the_number_of_channels_aside() -> None:
    """As one from outside does that knows nothing of them."""

    class Laplace(torch.nn.Module):
        def forward(self, output: torch.Tensor) -> torch.Tensor:
            return output

    part = Laplace()
    assert coloured(part) is part


def test_a_channel_of_one_colour_does_not_make_the_density_infinite() -> None:
    """Red letters on black have no green: an exact reconstruction is as likely as rounding to 256 levels allows."""
    output, x = torch.full((4, 3, 4, 5), -200.0), torch.zeros(4, 3, 4, 5)
    likelihood = coloured(GaussianOptimal())
    log_prob = likelihood(output).log_prob(x)
    torch.testing.assert_close(log_prob, Normal(0, (1 / 12) ** 0.5 / 255).log_prob(x).sum((1, 2, 3)))
    torch.testing.assert_close(likelihood.eval()(output).log_prob(x), log_prob, rtol=0.01, atol=0)


LOGITS = [-300.0, -30.0, -3.0, -0.61, -0.59, -1e-3, 0.0, 1e-6, 0.5999, 0.6001, 2.0, 20.0, 300.0]


@pytest.mark.parametrize("logit", LOGITS)
def test_the_continuous_bernoulli_integrates_to_one_and_its_mean_is_the_mean(logit: float) -> None:
    x = (torch.arange(100_000, dtype=torch.double) + 0.5) / 100_000
    density = ContinuousBernoulli()(torch.full((100_000, 1, 1, 1), logit)).log_prob(x.reshape(-1, 1, 1, 1)).exp()
    assert density.mean().item() == pytest.approx(1, abs=1e-4)
    mean = ContinuousBernoulli()(torch.full((1, 1, 1, 1), logit)).mean.item()
    assert (density * x).mean().item() == pytest.approx(mean, abs=1e-4)


def test_the_continuous_bernoulli_is_torchs_where_that_is_precise() -> None:
    output, x = 3 * torch.randn(3, 1, 28, 28).double(), torch.rand(3, 1, 28, 28).double()
    expected = TorchContinuousBernoulli(logits=output, lims=(0.4999, 0.5001))
    pixels = ContinuousBernoulli()(output)
    torch.testing.assert_close(pixels.log_prob(x), expected.log_prob(x).sum((1, 2, 3)), rtol=1e-6, atol=1e-3)
    torch.testing.assert_close(pixels.mean, expected.mean, rtol=0, atol=1e-5)


def test_the_continuous_bernoulli_is_smooth_for_every_lambda() -> None:
    output = torch.tensor(LOGITS).reshape(1, 1, 1, -1).requires_grad_()
    x = torch.full((1, 1, 1, len(LOGITS)), 0.3)
    pixels = ContinuousBernoulli()(output)
    (gradient,) = torch.autograd.grad(pixels.log_prob(x).sum(), output)
    torch.testing.assert_close(gradient, x - pixels.mean, rtol=0, atol=1e-5)
    assert pixels.mean.isfinite().all()
    assert (pixels.mean.diff() > 0).all()


def test_a_continuous_bernoulli_is_a_cross_entropy_and_a_constant_of_its_own() -> None:
    """By which it differs from `Bernoulli`: the log of 2 artanh(1 - 2 lambda) / (1 - 2 lambda)."""
    output, x = torch.randn(3, 1, 4, 4), torch.rand(3, 1, 4, 4)
    off = 1 - 2 * output.sigmoid()
    constant = (2 * off.atanh() / off).log().sum((1, 2, 3))
    torch.testing.assert_close(
        ContinuousBernoulli()(output).log_prob(x) - Bernoulli()(output).log_prob(x), constant, rtol=1e-4, atol=1e-4
    )


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
    with pytest.raises(UserError, match=r"\(likelihood.initial_variance\), got"):
        GaussianLearned(variance)


@pytest.mark.parametrize("lr", [0, -0.1, float("nan"), float("inf"), "fast", None, True])
def test_a_learning_rate_that_is_none_is_refused(lr: float) -> None:
    with pytest.raises(UserError, match=r"Expected a finite number above 0 \(lr\), got"):
        adam(lr)
