"""What training minimises: importance weights, warm-up and free bits, on a model whose log p(x) is known."""

import math
from typing import Any

import pytest
import torch
from helpers import labelled
from linear_gaussian import LinearGaussian
from torch import Tensor

from cvae_lightning.core.errors import UserError
from cvae_lightning.models.bounds import ELBO, Bound, ELBOBound, IWAEBound, log_mean_exp, weighted_draws
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.latents import DiagonalGaussian, StandardGaussian
from cvae_lightning.models.likelihoods import Gaussian
from cvae_lightning.models.optimizers import adam
from cvae_lightning.models.priors import Prior
from cvae_lightning.networks.mlp import MLP

NUM = 200_000  # draws, which the mean over a batch of equal images averages


def copies(model: LinearGaussian) -> Tensor:
    return model.draw(1).expand(NUM, -1, -1, -1)


def loss_of(bound: Bound, model: Any, x: Tensor, epoch: int = 0) -> Tensor:
    torch.manual_seed(1)
    return bound.loss(model, x, labelled(x), epoch)[0]


def test_densities_of_latents_are_torchs() -> None:
    from torch.distributions import Normal

    q = DiagonalGaussian(torch.randn(5, 3), torch.randn(5, 3))
    z = torch.randn(5, 3)
    torch.testing.assert_close(q.log_prob(z), Normal(q.mean, (0.5 * q.log_var).exp()).log_prob(z).sum(1))
    prior = StandardGaussian(5, 3, z.device)
    torch.testing.assert_close(prior.log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(1))


def test_without_warm_up_and_free_bits_the_loss_is_the_elbos_to_the_last_bit() -> None:
    model = CVAE(MLP([16]), Gaussian(), adam(lr=0.01), num_classes=10)
    x, y = torch.rand(8, 1, 28, 28), torch.arange(8)
    for beta in (1.0, 4.0):
        torch.manual_seed(0)
        elbo = model.elbo(x, y)
        expected = torch.autograd.grad(elbo.loss(beta), list(model.parameters()))
        torch.manual_seed(0)
        loss, same = ELBOBound(beta).loss(model, x, y, epoch=0)
        assert loss == elbo.loss(beta)
        assert torch.equal(same.value, elbo.value)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        assert all(torch.equal(*pair) for pair in zip(gradients, expected, strict=True))


def test_importance_weights_of_the_exact_posterior_are_all_p_of_x() -> None:
    """Then the bound is tight, with one draw too."""
    model = LinearGaussian(latent_dim=1)
    x = model.draw(50)
    for num_samples in (1, 7):
        draws = weighted_draws(model, model.posterior(x, labelled(x)), x, labelled(x), num_samples)
        assert draws.log_weight.shape == (num_samples, 50)
        torch.testing.assert_close(draws.log_weight, model.log_p(x).expand(num_samples, 50), atol=1e-3, rtol=0)
        torch.testing.assert_close(log_mean_exp(draws.log_weight), model.log_p(x), atol=1e-3, rtol=0)


def test_with_one_sample_the_importance_weighted_bound_estimates_the_elbo() -> None:
    model = LinearGaussian(error=0.2)
    x = copies(model)
    losses = [loss_of(bound, model, x) for bound in (IWAEBound(1), IWAEBound(1, dreg=False), ELBOBound())]
    torch.testing.assert_close(losses[0], losses[2], atol=0.02, rtol=0)
    assert losses[0] == losses[1], "the gradient alone differs"


def test_more_samples_are_a_tighter_bound() -> None:
    model = LinearGaussian(error=0.2)
    x = model.draw(4000)
    bounds = [-loss_of(IWAEBound(num_samples), model, x).item() for num_samples in (1, 2, 5, 20, 100)]
    assert bounds == sorted(bounds)
    exact = model.log_p(x).mean().item()
    assert bounds[0] < exact - 0.1
    assert bounds[-1] == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("num_samples", [1, 2, 8])
def test_doubly_reparameterised_gradients_are_those_of_the_bound_on_average(num_samples: int) -> None:
    model = LinearGaussian(error=0.2)
    x = copies(model)
    plain, dreg = (model.gradients(loss_of(IWAEBound(num_samples, dreg), model, x)) for dreg in (False, True))
    for name in ("weights", "bias"):
        assert torch.equal(plain[name], dreg[name]), "the decoder's are the same, draw by draw"
    for name in ("encoder", "offset", "log_var"):
        assert not torch.equal(plain[name], dreg[name])
        torch.testing.assert_close(dreg[name], plain[name], atol=0.02, rtol=0.02)


def test_doubly_reparameterised_gradients_are_less_noisy() -> None:
    model = LinearGaussian(error=0.2)
    x = model.draw(1)
    spreads = []
    for dreg in (False, True):
        torch.manual_seed(1)
        bound = IWAEBound(64, dreg)
        draws = [model.gradients(bound.loss(model, x, labelled(x), 0)[0])["offset"] for _ in range(300)]
        spreads.append(torch.stack(draws).std(0))
    assert (spreads[1] < spreads[0] / 3).all()


def test_what_is_logged_is_the_elbo_whatever_is_minimised() -> None:
    model = LinearGaussian(error=0.2)
    x = copies(model)
    expected = ELBO.at_a_draw(model, model.posterior(x, labelled(x)), x, labelled(x)).value.mean()
    for bound in (IWAEBound(4), ELBOBound(warmup_epochs=5), ELBOBound(free_bits=3.0)):
        elbo = bound.loss(model, x, labelled(x), 0)[1]
        torch.testing.assert_close(elbo.value.mean(), expected, atol=0.02, rtol=0)


def test_the_weight_of_the_kl_term_rises_to_beta_and_stays() -> None:
    bound = ELBOBound(beta=4.0, warmup_epochs=3)
    assert [bound.weight(epoch) for epoch in range(6)] == [1.0, 2.0, 3.0, 4.0, 4.0, 4.0]
    assert {ELBOBound(beta=4.0).weight(epoch) for epoch in range(6)} == {4.0}
    model = LinearGaussian()
    x = model.draw(10)
    torch.manual_seed(1)
    elbo = ELBO.at_a_draw(model, model.posterior(x, labelled(x)), x, labelled(x))
    for epoch, weight in ((0, 1.0), (3, 4.0)):
        torch.testing.assert_close(loss_of(bound, model, x, epoch), elbo.loss(weight))


def test_a_latent_below_its_free_bits_costs_them_and_has_no_gradient() -> None:
    model = LinearGaussian(latent_dim=2)
    x = model.draw(10)
    prior: Any = model.prior(labelled(x))
    by_latent = prior.kl_by_latent(model.posterior(x, labelled(x))).mean(0)
    between = by_latent.mean().item()
    low, high = by_latent.argmin(), by_latent.argmax()
    for free_bits, kl in ((0.0, by_latent.sum()), (between, between + by_latent[high]), (99.0, torch.tensor(198.0))):
        loss = loss_of(ELBOBound(free_bits=free_bits), model, x)
        likelihood = loss_of(ELBOBound(beta=0.0), model, x)
        torch.testing.assert_close(loss - likelihood, kl, atol=1e-4, rtol=1e-5)
        if free_bits == between:
            gradient = model.gradients(loss - likelihood)["offset"]
            assert gradient[low].abs() < 1e-5 < gradient[high].abs()


class Picky(ELBOBound):
    """Works with no prior."""

    def check(self, prior: Prior) -> None:
        raise UserError(f"Expected another prior, got {type(prior).__name__}.")


def test_a_bound_of_ones_own_may_refuse_a_prior_before_the_training() -> None:
    with pytest.raises(UserError, match=r"Expected another prior, got StandardGaussianPrior\."):
        CVAE(MLP([16]), Gaussian(), adam(lr=0.01), Picky(), num_classes=10)


@pytest.mark.parametrize(
    ("bound", "arguments", "key"),
    [
        (ELBOBound, {"beta": -1}, r"of at least 0 \(beta\), got -1"),
        (ELBOBound, {"warmup_epochs": -1}, r"an integer of at least 0 \(bound\.warmup_epochs\), got -1"),
        (ELBOBound, {"free_bits": -0.1}, r"of at least 0 \(bound\.free_bits\), got -0\.1"),
        (IWAEBound, {"num_samples": 0}, r"of at least 1 \(bound\.num_samples\), got 0"),
        (IWAEBound, {"beta": 4.0}, r"Expected 1, .* \(beta\), got 4\.0\. Use bound=elbo"),
    ],
)
def test_settings_of_a_bound_that_are_none_are_refused(bound: Any, arguments: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=key):
        bound(**arguments)


def test_a_model_learns_with_importance_weights() -> None:
    torch.manual_seed(0)
    model = CVAE(MLP([16]), Gaussian(), adam(lr=0.01), IWAEBound(5), latent_dim=3, num_classes=10)
    x, y = torch.rand(8, 1, 28, 28), torch.arange(8)
    optimizer = model.optimizer(model.parameters())
    losses = []
    for _ in range(30):
        loss, _ = model.bound.loss(model, x, y, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 5
    assert math.isfinite(losses[-1])
