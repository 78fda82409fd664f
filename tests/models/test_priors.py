"""p(z | y) as a choice: against torch.distributions, exact integrals, and the standard Gaussian."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from helpers import MakeRun, labelled, measured
from linear_gaussian import LinearMixture
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, kl_divergence
from torch.distributions import Normal as TorchNormal

from cvae_lightning.core.errors import UserError
from cvae_lightning.evaluators.likelihood import ImportanceWeighting
from cvae_lightning.models.bounds import ELBO, ELBOBound, IWAEBound, log_mean_exp, weighted_draws
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.latents import DiagonalGaussian
from cvae_lightning.models.likelihoods import Gaussian
from cvae_lightning.models.optimizers import adam
from cvae_lightning.models.priors import LearnedPrior, PriorFactory, StandardGaussianPrior
from cvae_lightning.models.vae import VAE
from cvae_lightning.networks.mlp import MLP
from cvae_lightning.training.train import train

NUM = 200_000
LABELS = torch.tensor([2, 0, 1, 1, 2])


def learned(num_components: int, num_classes: int = 3, latent_dim: int = 4) -> LearnedPrior:
    """With parameters unlike those it starts from."""
    prior = LearnedPrior(latent_dim, num_classes, num_components)
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return prior


def standard(num_components: int) -> LearnedPrior:
    """All components N(0, I)."""
    prior = learned(num_components)
    for parameter in (prior.means, prior.log_vars):
        torch.nn.init.zeros_(parameter)
    return prior


def torchs(prior: LearnedPrior, group: int) -> Any:
    components = Independent(TorchNormal(prior.means[group], (0.5 * prior.log_vars[group]).exp()), 1)
    return MixtureSameFamily(Categorical(logits=prior.logits[group]), components)


def posterior() -> DiagonalGaussian:
    return DiagonalGaussian(torch.randn(5, 4), torch.randn(5, 4))


def vae(model: type[VAE], num_components: int, bound: Any = None) -> VAE:
    prior = partial(LearnedPrior, num_components=num_components)
    classes = 10 if model is CVAE else 0
    bound = bound or ELBOBound()
    return model(MLP([16]), Gaussian(), adam(0.01), bound, latent_dim=3, num_classes=classes, prior=prior)


@pytest.mark.parametrize("num_components", [1, 6])
def test_components_that_are_standard_gaussians_are_the_standard_gaussian(num_components: int) -> None:
    p, expected = standard(num_components)(LABELS), StandardGaussianPrior(4, 3)(LABELS)
    z, q = torch.randn(5, 4), posterior()
    torch.testing.assert_close(p.log_prob(z), expected.log_prob(z))
    if num_components == 1:
        torch.testing.assert_close(p.kl(q, z), expected.kl(q, z))
        torch.testing.assert_close(p.kl_by_latent(q), expected.kl_by_latent(q))
    else:
        torch.testing.assert_close(p.kl(q, z), q.log_prob(z) - expected.log_prob(z))


@pytest.mark.parametrize("num_components", [1, 2, 30])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_the_density_is_torchs_mixture_of_the_class(num_classes: int, num_components: int) -> None:
    prior, z = learned(num_components, num_classes), 2 * torch.randn(5, 4)
    groups = LABELS if num_classes else torch.zeros_like(LABELS)
    expected = torch.stack([torchs(prior, int(group)).log_prob(z[n]) for n, group in enumerate(groups)])
    torch.testing.assert_close(prior(LABELS).log_prob(z), expected)


def test_narrow_components_far_from_zero_keep_their_digits() -> None:
    """The squares of the expanded (z - m)^2 are then a thousand times their difference."""
    prior = learned(50, 0, latent_dim=40)
    prior.means.data *= 3
    prior.log_vars.data.fill_(math.log(0.02))
    z = prior(torch.zeros(500, dtype=torch.long)).sample()
    expected = torchs(prior.double(), 0).log_prob(z.double())
    torch.testing.assert_close(prior.float()(labelled(z)).log_prob(z).double(), expected, atol=0.02, rtol=0)


def test_with_one_component_the_kl_is_the_closed_form_of_torch_latent_by_latent() -> None:
    prior, q, z = learned(1), posterior(), torch.randn(5, 4)
    means, log_vars = prior.means[LABELS, 0], prior.log_vars[LABELS, 0]
    spreads = [(0.5 * log_var).exp() for log_var in (q.log_var, log_vars)]
    expected = kl_divergence(TorchNormal(q.mean, spreads[0]), TorchNormal(means, spreads[1]))
    torch.testing.assert_close(prior(LABELS).kl_by_latent(q), expected)
    torch.testing.assert_close(prior(LABELS).kl(q, z), expected.sum(1))
    assert prior(torch.tensor([2])).kl(DiagonalGaussian(prior.means[2], prior.log_vars[2]), z[:1]) == 0


def test_the_estimate_of_the_kl_to_a_mixture_is_unbiased() -> None:
    """The exact one by a sum over a fine grid, in one dimension."""
    prior, q = learned(3, 0, latent_dim=1), DiagonalGaussian(torch.tensor([[0.4]]), torch.tensor([[-0.5]]))
    grid = torch.linspace(-10, 10, 100_001)[:, None]
    density = q.log_prob(grid)
    exact = (density.exp() * (density - torchs(prior, 0).log_prob(grid))).sum() * (20 / 100_000)
    many = q.repeated(NUM)
    torch.testing.assert_close(prior(labelled(many.mean)).kl(many, many.rsample()).mean(), exact, atol=0.01, rtol=0)


@pytest.mark.parametrize("num_components", [1, 4])
def test_the_elbo_is_below_log_p_by_the_kl_to_the_posterior_on_average(num_components: int) -> None:
    """With one component and one latent the posterior is exact, and so is the bound."""
    model = LinearMixture(num_components, latent_dim=1)
    x = model.draw(1).expand(NUM, -1, -1, -1)
    with torch.no_grad():
        elbo = ELBO.at_a_draw(model, model.posterior(x, labelled(x)), x, labelled(x)).value
        gap = (model.log_p(x[:1]) - elbo.mean()).item()
        draws = weighted_draws(model, model.posterior(x, labelled(x)), x, labelled(x), 1).log_weight
    assert draws.mean().item() == pytest.approx(elbo.mean().item(), abs=0.02)
    assert gap == pytest.approx(0, abs=0.02) if num_components == 1 else gap > 0


@pytest.mark.parametrize("error", [0.0, 0.1])
@pytest.mark.parametrize("num_components", [1, 4])
def test_nll_iw_is_exact_with_a_learned_prior(num_components: int, error: float) -> None:
    model = LinearMixture(num_components, error=error)
    x = model.draw(400)
    nll = measured(ImportanceWeighting(num_samples=2000), model, x)["nll_iw"]
    assert nll == pytest.approx(-model.log_p(x).mean().item(), abs=0.05)


@pytest.mark.parametrize("dreg", [False, True])
def test_the_importance_weighted_bound_is_tight_with_a_learned_prior(dreg: bool) -> None:
    model = LinearMixture(4, error=0.2)
    x = model.draw(2000)
    losses = [IWAEBound(num, dreg).loss(model, x, labelled(x), 0)[0].item() for num in (1, 5, 200)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(-model.log_p(x).mean().item(), abs=0.02)


def test_doubly_reparameterised_gradients_of_a_learned_prior_are_those_of_the_bound() -> None:
    model = LinearMixture(3, error=0.2)
    x = model.draw(1).expand(NUM, -1, -1, -1)
    gradients = []
    for dreg in (False, True):
        torch.manual_seed(1)
        gradients.append(model.gradients(IWAEBound(4, dreg).loss(model, x, labelled(x), 0)[0]))
    plain, doubly = gradients
    for name in ("prior_net.logits", "prior_net.means", "prior_net.log_vars"):
        assert torch.equal(plain[name], doubly[name]), "draw by draw"
    for name in ("encoder", "offset", "log_var"):
        torch.testing.assert_close(doubly[name], plain[name], atol=0.03, rtol=0.03)


@pytest.mark.parametrize("num_components", [1, 5])
def test_draws_follow_the_moments_of_the_class(num_components: int) -> None:
    prior = learned(num_components)
    for label in range(3):
        z, expected = prior(torch.full((NUM,), label)).sample(), torchs(prior, label)
        torch.testing.assert_close(z.mean(0), expected.mean, atol=0.02, rtol=0)
        torch.testing.assert_close(z.var(0), expected.variance, atol=0.05, rtol=0.02)
        assert not z.requires_grad


def test_samples_are_drawn_from_the_prior_of_their_label() -> None:
    model = vae(CVAE, 4)
    prior: Any = model.prior_net
    prior.means.data[:] = 10 * torch.arange(10.0)[:, None, None]
    seen: list[Tensor] = []
    model.decoder.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model.sample(torch.tensor([0, 7, 3]))
    assert (seen[0] / 10).round().tolist() == [[label] * 3 for label in (0, 7, 3)]


def test_a_mixture_refuses_free_bits_before_the_training() -> None:
    x = torch.rand(2, 1, 28, 28)
    assert vae(CVAE, 1, ELBOBound(free_bits=0.5)).elbo(x, labelled(x, 3))
    with pytest.raises(UserError, match=r"\(bound\.free_bits\), got 0\.5\. Or use prior\.num_components=1"):
        vae(CVAE, 4, ELBOBound(free_bits=0.5))


@pytest.mark.parametrize(("key", "methods"), [("prior", r"mixtures\(\)"), ("sampler", r"fit\(\) and mixtures\(\)")])
def test_a_part_of_ones_own_that_lacks_a_method_is_refused_before_the_training(key: str, methods: str) -> None:
    own: Any = {key: lambda latent_dim, num_classes: torch.nn.Identity()}
    with pytest.raises(UserError, match=rf"Expected a module with {methods} \({key}\), got 'Identity'"):
        VAE(MLP([16]), Gaussian(), adam(0.01), **own)


@pytest.mark.parametrize("number", [0, -1, True])
def test_components_that_are_none_are_refused(number: Any) -> None:
    with pytest.raises(UserError, match=r"Expected an integer of at least 1 \(prior\.num_components\), got"):
        LearnedPrior(2, 0, number)
    with pytest.raises(UserError, match=r"above 0 \(prior\.initial_spread\), got 0"):
        LearnedPrior(2, 0, 3, initial_spread=0)


def test_networks_start_from_the_same_weights_whatever_the_prior() -> None:
    states = []
    priors: list[PriorFactory] = [StandardGaussianPrior, partial(LearnedPrior, num_components=5)]
    for prior in priors:
        torch.manual_seed(0)
        states.append(CVAE(MLP([16]), Gaussian(), adam(0.01), num_classes=10, prior=prior).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert sorted(states[1].keys() - states[0].keys()) == ["prior_net.log_vars", "prior_net.logits", "prior_net.means"]


@pytest.mark.parametrize("num_components", [1, 3])
def test_the_prior_learns_where_the_latents_of_each_class_are(num_components: int) -> None:
    """Networks that do not see the label leave the class to z."""
    torch.manual_seed(0)
    prior = partial(LearnedPrior, num_components=num_components, initial_spread=0.1)
    network = MLP([16], inject_into=[])
    model = CVAE(network, Gaussian(0.05), adam(0.02), latent_dim=3, num_classes=10, prior=prior)
    x, y = torch.rand(10, 1, 28, 28).round().repeat(8, 1, 1, 1), torch.arange(10).repeat(8)
    z = model.posterior(x, y).rsample()
    assert (model.prior(y).log_prob(z) - model.prior((y + 1) % 10).log_prob(z)).mean() < 0.2
    optimizer = model.optimizer(model.parameters())
    for _ in range(150):
        optimizer.zero_grad()
        model.elbo(x, y).loss().backward()
        optimizer.step()
    z = model.posterior(x, y).rsample()
    assert (model.prior(y).log_prob(z) - model.prior((y + 1) % 10).log_prob(z)).mean() > 2


def test_a_run_keeps_its_prior_with_its_weights(make_run: MakeRun) -> None:
    run = make_run("run", "model=cvae", "prior=learned", "prior.num_components=2", "evaluators=full")
    for name in ("judged", "inception", "pca"):
        del run.raw_config.evaluators[name]
    train(run)
    assert (run.metrics["prior"], run.metrics["prior_components"]) == ("learned", 2)
    for split in ("val", "test"):
        numbers: Any = run.metrics[split]
        assert numbers["nll_iw"] < -numbers["elbo"]
    state = torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    prior: Any = run.model().prior_net
    for name, parameter in prior.named_parameters():
        assert torch.equal(parameter, state[f"prior_net.{name}"])
    assert state["prior_net.log_vars"].abs().sum() > 0, "they start at 0"


def test_the_estimate_of_log_p_has_the_prior_of_each_image() -> None:
    model, x = vae(CVAE, 3), torch.rand(4, 1, 28, 28)
    weights = []
    for y in (torch.tensor([7, 7, 7, 7]), torch.tensor([7, 7, 7, 2])):
        torch.manual_seed(0)
        draws = weighted_draws(model, model.posterior(x, y), x, y, 5)
        weights.append(log_mean_exp(draws.log_weight))
    assert torch.equal(weights[0][:3], weights[1][:3])
    assert weights[0][3] != weights[1][3]


def test_the_density_is_float32_where_the_training_multiplies_in_bfloat16() -> None:
    prior, z = learned(6), torch.randn(5, 4)
    exact = prior(LABELS).log_prob(z)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(prior(LABELS).log_prob(z), exact)
