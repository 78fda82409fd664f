"""The VAE and the CVAE of the paper, and what separates them."""

from functools import partial
from typing import Any, cast

import pytest
import torch
from helpers import labelled

from cvae_lightning.core.errors import UserError
from cvae_lightning.models.bounds import ELBOBound
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, GaussianLearned, GaussianOptimal
from cvae_lightning.models.optimizers import adam
from cvae_lightning.models.vae import VAE
from cvae_lightning.networks.conv import Conv
from cvae_lightning.networks.injection import Layers
from cvae_lightning.networks.mlp import MLP
from cvae_lightning.networks.residual import Block, Residual

NETWORKS = pytest.mark.parametrize(
    "network", [MLP(), MLP([]), Conv(), Conv(channels=4, hidden=8), Residual(), Residual(4, 0)]
)
X = torch.rand(3, 1, 28, 28)
ONE_TWO_THREE = torch.tensor([1, 2, 3])


def new(model: type[VAE], network: Any = None, **arguments: Any) -> VAE:
    if model is CVAE:
        arguments.setdefault("num_classes", 10)
    return model(network or MLP(), Gaussian(), adam(lr=0.002), **arguments)


def seeded(function: Any, *arguments: Any) -> Any:
    torch.manual_seed(0)
    return function(*arguments)


def test_sizes_are_those_of_the_paper() -> None:
    widths = {
        name: tuple(p.shape) for name, p in new(CVAE, latent_dim=20).named_parameters() if name.endswith("weight")
    }
    assert list(widths.values()) == [(400, 794), (400, 400), (40, 400), (400, 30), (400, 400), (784, 400)]
    assert sum(parameter.numel() for parameter in new(CVAE).parameters()) == 981_624


def test_the_convolutional_network_is_of_comparable_size() -> None:
    sizes = [sum(p.numel() for p in new(CVAE, network).parameters()) for network in (MLP(), Conv())]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_the_residual_network_has_half_the_parameters() -> None:
    sizes = [sum(p.numel() for p in new(CVAE, network).parameters()) for network in (MLP(), Residual())]
    assert sizes[1] < sizes[0] / 2


def test_residual_blocks_start_as_the_identity() -> None:
    """Their number changes nothing at first."""
    deep, shallow = new(CVAE, Residual(4, 3)), new(CVAE, Residual(4, 0))
    for one, other in ((deep.encoder, shallow.encoder), (deep.decoder, shallow.decoder)):
        plain = [layer for layer in cast(Layers, one) if not isinstance(layer, Block)]
        for layer, same in zip(plain, cast(Layers, other), strict=True):
            same.load_state_dict(layer.state_dict())
    assert torch.equal(deep.posterior(X, labelled(X, 3)).mean, shallow.posterior(X, labelled(X, 3)).mean)
    z = torch.randn(3, 20)
    assert torch.equal(deep.likelihood(z, labelled(z, 3)).mean, shallow.likelihood(z, labelled(z, 3)).mean)


@pytest.mark.parametrize("model", [VAE, CVAE])
def test_a_residual_network_starts_with_dark_images(model: type[VAE]) -> None:
    images = new(model, Residual()).sample(torch.arange(10))
    torch.testing.assert_close(images, torch.full_like(images, -2).sigmoid(), atol=0.1, rtol=0)


@pytest.mark.parametrize("network", [Conv(4, 8), Residual(4)])
def test_convolutions_find_their_maps_channels_last(network: Any) -> None:
    model = new(CVAE, network)
    seen = []
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.reconstruct(X, labelled(X, 3))
    assert len(seen) >= 4
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in seen)


@pytest.mark.parametrize("likelihood", [Gaussian, GaussianOptimal, GaussianLearned, Bernoulli, ContinuousBernoulli])
@pytest.mark.parametrize("network", [MLP([16]), Conv(4, 8), Residual(4), Residual(4, injection="modulate")])
def test_distributions_are_float32_where_networks_multiply_in_bfloat16(network: Any, likelihood: Any) -> None:
    model = CVAE(network, likelihood(), adam(lr=0.002), num_classes=10)

    def measures() -> list[torch.Tensor]:
        prior = model.prior(ONE_TWO_THREE)
        return [pixels.log_prob(X), pixels.mean, q.log_prob(z), prior.log_prob(z), prior.kl(q, z)]

    with torch.autocast("cpu", torch.bfloat16):
        q = model.posterior(X, ONE_TWO_THREE)
        z = q.rsample()
        pixels = model.likelihood(z, ONE_TWO_THREE)
        rounded = measures()
        assert model.elbo(X, labelled(X, 3)).value.dtype == torch.float32
    for inside, outside in zip(rounded, measures(), strict=True):
        assert inside.dtype == torch.float32
        assert torch.equal(inside, outside)
    exact = model.posterior(X, ONE_TWO_THREE).mean
    assert not torch.equal(q.mean, exact), "the networks did round"
    torch.testing.assert_close(q.mean, exact, atol=0.02, rtol=0)


@NETWORKS
@pytest.mark.parametrize("latent_dim", [1, 15])
@pytest.mark.parametrize("model", [VAE, CVAE])
def test_images_and_latents_have_the_shapes_they_should(model: type[VAE], latent_dim: int, network: Any) -> None:
    vae = new(model, network, latent_dim=latent_dim)
    labels = ONE_TWO_THREE
    assert vae.posterior(X, labels).mean.shape == (3, latent_dim)
    for images in (vae.reconstruct(X, labels), vae.sample(labels)):
        assert images.shape == X.shape
        assert images.min() >= 0
        assert images.max() <= 1
    assert vae.elbo(X, labels).value.shape == (3,)


@NETWORKS
def test_only_the_conditional_model_sees_the_label(network: Any) -> None:
    for model, sees in ((new(VAE, network), False), (new(CVAE, network), True)):
        z = torch.randn(3, 20)
        posteriors = [model.posterior(X, labelled(X, label)).mean for label in (1, 2)]
        images = [model.likelihood(z, labelled(z, label)).mean for label in (1, 2)]
        assert torch.equal(*posteriors) is not sees
        assert torch.equal(*images) is not sees


@pytest.mark.parametrize("places", [["encoder"], ["decoder"], ["encoder", "decoder"], []])
@pytest.mark.parametrize("injection", ["concatenate", "add", "modulate"])
@pytest.mark.parametrize("network", [partial(MLP, [16]), partial(Conv, 4, 8), partial(Residual, 4)])
def test_a_label_is_seen_where_it_is_injected(network: Any, injection: str, places: list[str]) -> None:
    model = new(CVAE, network(injection=injection, inject_into=places))
    for parameter in model.parameters():  # modulation starts as identity
        torch.nn.init.normal_(parameter, std=0.1)
    z = torch.randn(3, 20)
    posteriors = [model.posterior(X, labelled(X, label)).mean for label in (1, 2)]
    images = [model.likelihood(z, labelled(z, label)).mean for label in (1, 2)]
    assert torch.equal(*posteriors) is ("encoder" not in places)
    assert torch.equal(*images) is ("decoder" not in places)


@pytest.mark.parametrize("network", [partial(MLP, [16]), partial(Conv, 4, 8), partial(Residual, 4)])
def test_modulation_starts_as_identity(network: Any) -> None:
    model = new(CVAE, network(injection="modulate"))
    assert torch.equal(model.posterior(X, labelled(X, 1)).mean, model.posterior(X, labelled(X, 2)).mean)


@pytest.mark.parametrize("network", [MLP, Conv, Residual])
def test_an_injection_that_is_none_is_refused(network: Any) -> None:
    with pytest.raises(UserError, match=r"one of concatenate, add, modulate \(network\.injection\), got 'multiply'"):
        network(injection="multiply")
    for places in ("encoder", ["latent"]):
        with pytest.raises(UserError, match=r"a list of encoder, decoder \(network\.inject_into\), got"):
            network(inject_into=places)


def test_a_cvae_whose_label_weights_are_zero_is_the_vae() -> None:
    """Both models take one path; they differ in the context only."""
    cvae, vae = new(CVAE), new(VAE)
    state = cvae.state_dict()
    for name, width in (("encoder.layers.1.weight", 784), ("decoder.layers.1.weight", 20)):
        state[name][:, width:] = 0
        state[name] = state[name][:, :width]
    vae.load_state_dict(state)
    labels = torch.tensor([3, 1, 4])
    torch.testing.assert_close(seeded(cvae.elbo, X, labels).value, seeded(vae.elbo, X, labels).value)
    torch.testing.assert_close(seeded(cvae.sample, labels), seeded(vae.sample, labels))


@pytest.mark.parametrize("latent_dim", [0, -3])
def test_a_latent_dim_that_is_none_is_refused(latent_dim: Any) -> None:
    with pytest.raises(UserError, match=r"Expected an integer of at least 1 \(latent_dim\)"):
        new(VAE, latent_dim=latent_dim)


@pytest.mark.parametrize("beta", [-1, float("nan"), float("inf")])
def test_a_beta_that_is_none_is_refused(beta: Any) -> None:
    with pytest.raises(UserError, match=r"Expected a finite number of at least 0 \(beta\)"):
        ELBOBound(beta=beta)


def test_widths_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match=r"Expected an integer of at least 1 \(network\.hidden\), got 0"):
        MLP([400, 0])
    with pytest.raises(UserError, match=r"\(network\.channels\), got 0"):
        Conv(channels=0)
    with pytest.raises(UserError, match=r"Expected an integer of at least 0 \(network\.blocks\), got -1"):
        Residual(blocks=-1)


@pytest.mark.parametrize("likelihood", [Bernoulli, ContinuousBernoulli, GaussianLearned, GaussianOptimal])
def test_any_likelihood_goes_with_any_model(likelihood: Any) -> None:
    model = CVAE(MLP(), likelihood(), adam(lr=0.002), num_classes=10)
    assert model.elbo(X.round(), labelled(X, 3)).value.isfinite().all()
    assert model.reconstruct(X, labelled(X, 3)).shape == X.shape


def test_a_step_uphill_in_the_elbo_is_what_training_does() -> None:
    torch.manual_seed(0)
    model = new(CVAE)
    optimizer = model.optimizer(model.parameters())
    losses = []
    for _ in range(30):
        loss = model.elbo(X, ONE_TWO_THREE).loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 50


@pytest.mark.parametrize("likelihood", [GaussianLearned, GaussianOptimal])
@pytest.mark.parametrize("network", [MLP([32]), Conv(8, 32), Residual(8)])
def test_colour_images_of_an_odd_size_are_learned(network: Any, likelihood: Any) -> None:
    """Six colours; and what was learned, a variance per channel among it, is in the state of the model."""
    colours = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]]).float()
    x, y = colours[:, :, None, None].repeat(1, 1, 9, 14), torch.arange(6)

    def model() -> CVAE:
        return CVAE(network, likelihood(), adam(lr=0.005), image_shape=(3, 9, 14), latent_dim=2, num_classes=6)

    torch.manual_seed(0)
    trained = model()
    optimizer = trained.optimizer(trained.parameters())
    before = (trained.reconstruct(x, y) - x).square().mean()
    for _ in range(100):
        loss, _ = trained.bound.loss(trained, x, y, epoch=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trained.eval()
    images = trained.reconstruct(x, y)
    assert (images - x).square().mean() < before / 4
    assert images.is_contiguous(), "as torchmetrics wants it"
    again = model().eval()
    again.load_state_dict(trained.state_dict())
    assert torch.equal(seeded(again.elbo, x, y).value, seeded(trained.elbo, x, y).value)
    (variance,) = (value for name, value in again.state_dict().items() if name.endswith("variance"))
    assert variance.shape == (3,)
