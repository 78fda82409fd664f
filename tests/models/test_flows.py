"""The flow as a prior: its inverse, its determinant, its density, and what it learns."""

import math
from typing import Any

import pytest
import torch
from helpers import MakeRun
from torch import Tensor

from cvae_lightning.core.errors import UserError
from cvae_lightning.models.bounds import ELBOBound
from cvae_lightning.models.flows import CouplingFlow
from cvae_lightning.models.latents import DiagonalGaussian, StandardGaussian
from cvae_lightning.models.priors import FlowPrior, StandardGaussianPrior, approximate_mixtures
from cvae_lightning.training.train import train

CPU = torch.device("cpu")


def randomised(module: Any, spread: float = 0.25) -> Any:
    """The module with parameters unlike those it starts from."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=spread)
    return module


@pytest.mark.parametrize(("latent_dim", "context_dim"), [(2, 0), (5, 3), (40, 10)])
def test_a_flow_is_invertible(latent_dim: int, context_dim: int) -> None:
    flow = randomised(CouplingFlow(latent_dim, context_dim, 6, [16, 16]))
    z, context = torch.randn(50, latent_dim), torch.randn(50, context_dim)
    u, _ = flow(z, context)
    assert (u - z).abs().max() > 0.3, "it is not the identity"
    torch.testing.assert_close(flow.inverse(u, context), z, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(flow(flow.inverse(z, context), context)[0], z, atol=2e-3, rtol=1e-3)


def test_the_log_determinant_is_autograds() -> None:
    flow = randomised(CouplingFlow(5, 3, 4, [16]))
    z, context = torch.randn(20, 5), torch.randn(20, 3)
    _, log_determinant = flow(z, context)
    for row in range(len(z)):
        jacobian: Any = torch.autograd.functional.jacobian(
            lambda one, c=context[row : row + 1]: flow(one[None], c)[0][0], z[row]
        )
        torch.testing.assert_close(log_determinant[row], torch.linalg.slogdet(jacobian)[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_it_starts_as_the_standard_gaussian(num_classes: int) -> None:
    prior, y, z = FlowPrior(4, num_classes), torch.tensor([0, 2, 1]), 2 * torch.randn(3, 4)
    y = y if num_classes else torch.zeros_like(y)
    standard = StandardGaussian(3, 4, CPU)
    torch.testing.assert_close(prior(y).log_prob(z), standard.log_prob(z))
    torch.manual_seed(0)
    drawn = prior(y).sample().sort(1)[0]
    torch.manual_seed(0)
    torch.testing.assert_close(drawn, standard.sample().sort(1)[0])
    moments, standards = (approximate_mixtures(each).moments() for each in (prior, StandardGaussianPrior(4, 0)))
    torch.testing.assert_close(moments.mean, standards.mean.expand_as(moments.mean), atol=0.05, rtol=0)
    torch.testing.assert_close(moments.log_var, standards.log_var.expand_as(moments.mean), atol=0.06, rtol=0)


def test_the_density_of_each_class_integrates_to_one() -> None:
    prior = randomised(FlowPrior(2, 3, num_couplings=4, hidden=[16]))
    ends = torch.linspace(-20, 20, 1001)
    grid = torch.cartesian_prod(ends, ends)
    densities = []
    with torch.no_grad():
        for y in range(3):
            density = prior(torch.full((len(grid),), y)).log_prob(grid).exp()
            assert float(density.sum()) * (40 / 1000) ** 2 == pytest.approx(1, abs=0.02)
            densities.append(density)
    assert float((densities[0] - densities[1]).abs().max()) > 0.01, "classes have densities of their own"


def test_draws_follow_the_density() -> None:
    prior = randomised(FlowPrior(3, 2, num_couplings=3, hidden=[8]))
    y = torch.ones(100_000, dtype=torch.long)
    with torch.no_grad():
        z = prior(y).sample()
        log_prob = prior(y).log_prob(z)
        narrow = DiagonalGaussian(z.mean(0).expand_as(z), (0.3 * z.var(0)).log().expand_as(z))
        ratios = (narrow.log_prob(z) - log_prob).exp()
        error = float(ratios.std()) / math.sqrt(len(z))
        assert abs(float(ratios.mean()) - 1) < 5 * error < 0.1, "the mean of q / p under p is 1, for any density q"
    torch.manual_seed(1)
    gaussians = prior.gaussians()
    torch.testing.assert_close(gaussians.means[1, 0], z.mean(0), atol=0.1, rtol=0.05)
    factor = gaussians.factors[1, 0]
    torch.testing.assert_close(factor @ factor.T, z.T.cov(), atol=0.3, rtol=0.1)
    assert torch.equal(prior.gaussians().means, gaussians.means), "the same at each call"


def test_a_temperature_shrinks_the_noise() -> None:
    prior = randomised(FlowPrior(4, 2))
    y = torch.tensor([0, 1, 1])
    context = torch.eye(2)[y]
    with torch.no_grad():
        torch.testing.assert_close(prior(y).sample(0.0), prior.flow.inverse(torch.zeros(3, 4), context))
        torch.manual_seed(3)
        noise = torch.randn(3, 4)
        torch.manual_seed(3)
        torch.testing.assert_close(prior(y).sample(0.5), prior.flow.inverse(0.5 * noise, context))
    assert not prior(y).sample().requires_grad


def test_the_kl_is_unbiased() -> None:
    """Against the exact KL to the standard Gaussian, at which the flow starts."""
    q = DiagonalGaussian(torch.randn(1, 4).repeat(100_000, 1), 0.5 * torch.randn(1, 4).repeat(100_000, 1))
    y = torch.zeros(100_000, dtype=torch.long)
    estimate = FlowPrior(4, 0)(y).kl(q, q.rsample()).detach()
    exact = StandardGaussian(len(y), 4, CPU).kl(q, q.mean)[0]
    assert abs(float(estimate.mean() - exact)) < 5 * float(estimate.std()) / math.sqrt(len(y))


def test_it_learns_a_density_that_no_gaussian_has() -> None:
    """A banana: z1 = z0^2 / 2 + noise, whose entropy is known."""
    prior = FlowPrior(2, 0, num_couplings=4, hidden=[32])
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.01)

    def banana(num: int) -> Tensor:
        first = torch.randn(num)
        return torch.stack([first, 0.5 * first.square() + 0.2 * torch.randn(num)], 1)

    for _ in range(400):
        z = banana(500)
        optimizer.zero_grad()
        (-prior(torch.zeros(500, dtype=torch.long)).log_prob(z).mean()).backward()
        optimizer.step()
    z = banana(20_000)
    reached = -float(prior(torch.zeros(len(z), dtype=torch.long)).log_prob(z).mean().detach())
    entropy = math.log(2 * math.pi * math.e) + math.log(0.2)
    gaussian = math.log(2 * math.pi * math.e) + 0.5 * math.log(0.5 + 0.04)
    assert entropy - 0.02 < reached < entropy + 0.15
    assert gaussian > entropy + 1, "the best Gaussian is far from it"


def test_the_density_is_float32_where_the_training_multiplies_in_bfloat16() -> None:
    prior, z = randomised(FlowPrior(4, 0)), torch.randn(5, 4)
    y = torch.zeros(5, dtype=torch.long)
    exact = prior(y).log_prob(z)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(prior(y).log_prob(z), exact)


def test_free_bits_and_a_single_latent_are_refused() -> None:
    with pytest.raises(UserError, match=r"mixture or a flow \(bound\.free_bits\)"):
        ELBOBound(free_bits=0.1).check(FlowPrior(3, 0))
    with pytest.raises(UserError, match=r"latent_dim"):
        FlowPrior(1, 0)


def test_a_run_keeps_its_flow_with_its_weights(make_run: MakeRun) -> None:
    run = make_run("run", "model=cvae", "prior=flow", "prior.num_couplings=3", "prior.hidden=[8]")
    train(run)
    assert (run.metrics["prior"], run.metrics["prior_components"]) == ("flow", None)
    state = torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    prior: Any = run.model().prior_net
    assert torch.equal(prior.flow.orders, state["prior_net.flow.orders"])
    assert any(parameter.abs().sum() > 0 for parameter in prior.flow.couplings[0].layers[-1].parameters())
