"""The reparameterised gradient and REINFORCE: the same on average, on a model where that average is known."""

from typing import Any

import pytest
import torch
from helpers import labelled
from linear_gaussian import LinearGaussian
from torch import Tensor

from cvae_lightning.core.errors import UserError
from cvae_lightning.evaluators.gradient_estimators import (
    PosteriorGradient,
    draw,
    mean_of_the_others,
    reinforce,
    reparameterised,
    total_variance,
)
from cvae_lightning.evaluators.gradients import GradientVariance, untrained
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.likelihoods import Gaussian
from cvae_lightning.models.optimizers import adam
from cvae_lightning.models.vae import VAE
from cvae_lightning.networks.mlp import MLP

NUM = 100_000


def estimates(model: LinearGaussian, x: Tensor, num_draws: int = NUM) -> dict[str, PosteriorGradient]:
    q = model.posterior(x, labelled(x))
    draws = draw(model, q, x, labelled(x), num_draws)
    return {
        "reparameterised": reparameterised(q, draws),
        "reinforce": reinforce(q, draws),
        "reinforce_baseline": reinforce(q, draws, mean_of_the_others(draws.reward)),
    }


def exact_gradient(model: LinearGaussian, x: Tensor) -> tuple[Tensor, Tensor]:
    """Of E_q[log p(x | z)] = -(|x - b - W mean|^2 + sum_j |W_j|^2 exp(log_var_j)) / (2 variance), in mean, log_var."""
    q = model.posterior(x, labelled(x))
    error = (x.flatten(1) - model.bias - q.mean @ model.weights.T).square().sum(1)
    spread = (q.log_var.exp() * model.weights.square().sum(0)).sum(1)
    mean, log_var = torch.autograd.grad(-(error + spread).sum() / (2 * model.variance), (q.mean, q.log_var))
    return mean, log_var


@pytest.mark.parametrize("name", ["reparameterised", "reinforce", "reinforce_baseline"])
def test_each_estimator_is_the_exact_gradient_on_average(name: str) -> None:
    model = LinearGaussian(error=0.3)
    x = model.draw(3)
    for estimate, exact in zip(estimates(model, x)[name], exact_gradient(model, x), strict=True):
        standard_error = estimate.std(0) / NUM**0.5
        assert ((estimate.mean(0) - exact).abs() < 5 * standard_error).all()
        assert (standard_error < 0.05 * exact.abs().max()).all(), "too noisy to tell"


def test_the_reparameterised_gradient_varies_as_the_closed_form_says() -> None:
    """In `offset` it is W'(x - b - W z) / variance, whose covariance is A S A with A = W'W / variance, S that of z."""
    model = LinearGaussian()
    x = model.draw(1)
    q = model.posterior(x, labelled(x))
    variance = total_variance(q, estimates(model, x, 5_000)["reparameterised"], [model.offset])
    curvature = model.weights.T.detach() @ model.weights.detach() / model.variance
    expected = (curvature @ q.log_var[0].detach().exp().diag() @ curvature).trace()
    assert variance == pytest.approx(float(expected), rel=0.1)


def test_a_batch_of_equal_images_has_their_variance_divided_by_their_number() -> None:
    model = LinearGaussian()
    x = model.draw(1)

    def variance(images: Tensor) -> float:
        q = model.posterior(images, labelled(images))
        return total_variance(q, estimates(model, images, 2_000)["reparameterised"], [model.offset])

    one, many = variance(x), variance(x.expand(8, -1, -1, -1))
    assert one / many == pytest.approx(8, rel=0.2)


def test_the_variance_is_that_of_gradients_taken_one_by_one() -> None:
    """Through the loss itself, as training takes them."""
    model = CVAE(MLP([8]), Gaussian(), adam(lr=0.01), num_classes=10)
    x, y = torch.rand(4, 1, 28, 28), torch.arange(4)
    q = model.posterior(x, y)
    draws = draw(model, q, x, y, 30)
    parameters = list(model.encoder.parameters())
    gradients = []
    for noise in draws.noise:
        z = q.mean + noise * (q.log_var / 2).exp()
        loss = model.likelihood(z, y).log_prob(x).mean()
        parts = torch.autograd.grad(loss, parameters, retain_graph=True)
        gradients.append(torch.cat([part.flatten() for part in parts]))
    expected = torch.stack(gradients).double().var(0).sum()
    everything = list(model.parameters())
    assert total_variance(q, reparameterised(q, draws), everything) == pytest.approx(float(expected), rel=1e-4)


def test_a_baseline_takes_away_what_a_constant_adds() -> None:
    model = LinearGaussian()
    x = model.draw(2)
    q = model.posterior(x, labelled(x))
    draws = draw(model, q, x, labelled(x), 500)
    shifted = draws._replace(reward=draws.reward - 50)

    def variance(these: Any, baseline: Any) -> float:
        return total_variance(q, reinforce(q, these, baseline), [*model.parameters()])

    assert variance(shifted, 0.0) > 10 * variance(draws, 0.0)
    with_baseline = [variance(these, mean_of_the_others(these.reward)) for these in (draws, shifted)]
    assert with_baseline[1] == pytest.approx(with_baseline[0], rel=1e-3)


def test_the_reward_of_a_gaussian_is_the_papers_loss() -> None:
    """The sum of squared errors at variance 0.5, without a constant."""
    model = VAE(MLP([8]), Gaussian(0.5), adam(lr=0.01))
    x = torch.rand(2, 1, 28, 28)
    q = model.posterior(x, labelled(x))
    draws = draw(model, q, x, labelled(x), 3)
    z = q.mean + draws.noise * (q.log_var / 2).exp()
    images = torch.stack([model.likelihood(one, labelled(one)).mean for one in z])
    torch.testing.assert_close(draws.reward, -(images - x).square().flatten(2).sum(2))


def test_an_untrained_copy_has_weights_of_its_own() -> None:
    model = VAE(MLP([8]), Gaussian(), adam(lr=0.01))
    before = [parameter.clone() for parameter in model.parameters()]
    copy = untrained(model)
    assert isinstance(copy, VAE)
    for mine, kept, others in zip(model.parameters(), before, copy.parameters(), strict=True):
        assert torch.equal(mine, kept)
        assert not torch.equal(mine, others)


@pytest.mark.parametrize(("key", "least"), [("num_images", 1), ("num_draws", 2)])
def test_too_few_images_or_draws_are_refused(key: str, least: int) -> None:
    with pytest.raises(UserError, match=rf"Expected an integer of at least {least} \(evaluators.gradients.{key}\)"):
        GradientVariance(**{key: least - 1})
