"""The densities of a model's latents as plain tensors, and which latents tell the most."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Labels, Latents
from cvae_lightning.models.latents import DiagonalGaussian
from cvae_lightning.models.priors import LearnedPrior, StandardGaussianPrior
from cvae_lightning.models.samplers import MixtureSampler, PriorSampler
from cvae_lightning.models.vae import VAE

NUM_IMAGES = 2000  # of the model's own, from which the KL of each latent is estimated


class GaussianMixtures(NamedTuple):
    """Mixtures of Gaussians: one per class, or one for all classes."""

    weights: Tensor  # (groups, components)
    means: Tensor  # (groups, components, latent)
    factors: Tensor  # (groups, components, latent, latent): lower triangular, factor @ factor.T is the covariance

    def by_class(self, num_classes: int) -> "GaussianMixtures":
        """One mixture per class, so that labels index them; one in all for a model without classes."""
        return GaussianMixtures(*(part.expand(max(num_classes, 1), *part.shape[1:]) for part in self))

    def as_single_gaussians(self) -> "GaussianMixtures":
        """One normal a group, of the mean and the covariance of its mixture."""
        means = torch.einsum("gk,gkl->gl", self.weights, self.means)
        scaled = self.weights.sqrt()[..., None, None] * torch.cat(
            [self.factors, (self.means - means[:, None])[..., None]], 3
        )
        covariances = torch.einsum("gkil,gkjl->gij", scaled, scaled)
        factors = torch.linalg.cholesky(covariances)
        return GaussianMixtures(torch.ones(len(means), 1), means[:, None], factors[:, None])

    def moments(self) -> DiagonalGaussian:
        """Of each latent in each group, (groups, latent): means, and variances as logarithms."""
        single = self.as_single_gaussians()
        return DiagonalGaussian(single.means[:, 0], single.factors[:, 0].square().sum(2).log())


class Draw(nn.Module):
    """A draw as a function of random numbers, for a graph that draws none itself."""

    thresholds: Tensor  # (groups, components - 1): below the first of them the first component is chosen, and so on
    means: Tensor
    factors: Tensor

    def __init__(self, mixtures: GaussianMixtures) -> None:
        """`mixtures` holds one per class."""
        super().__init__()
        self.register_buffer("thresholds", mixtures.weights.cumsum(1)[:, :-1])
        self.register_buffer("means", mixtures.means)
        self.register_buffer("factors", mixtures.factors)

    def forward(self, noise: Latents, uniform: Tensor, label: Labels | None = None) -> Latents:
        """`noise` from N(0, I), and `uniform`, (batch,) from [0, 1), which chooses the component."""
        group = torch.zeros_like(uniform, dtype=torch.long) if label is None else row_of(label, len(self.means))
        component = (uniform[:, None] >= self.thresholds[group]).sum(1)
        return self.means[group, component] + (self.factors[group, component] @ noise[..., None])[..., 0]


def row_of(label: Labels, num_classes: int) -> Labels:
    """The row of a table that belongs to `label`, out of bounds for a negative one, which would count from the end."""
    return torch.where(label < 0, num_classes, label)


def prior_of(model: VAE) -> GaussianMixtures:
    """p(z), or p(z | y) for each class. Raises UserError for a prior of another kind."""
    prior = model.prior_net
    if isinstance(prior, StandardGaussianPrior):
        factor = torch.eye(model.latent_dim)
        return GaussianMixtures(torch.ones(1, 1), torch.zeros(1, 1, model.latent_dim), factor[None, None])
    if isinstance(prior, LearnedPrior):
        factors = torch.diag_embed((0.5 * prior.log_vars).exp())
        return GaussianMixtures(*(values.detach() for values in (prior.logits.softmax(1), prior.means, factors)))
    return refuse("one of normal, learned", "prior", type(prior).__name__, "No other is known here.")


def sampler_of(model: VAE) -> GaussianMixtures:
    """What new images' latents are drawn from. Raises UserError for a sampler of another kind."""
    sampler = model.sampler
    if isinstance(sampler, PriorSampler):
        return prior_of(model)
    if isinstance(sampler, MixtureSampler):
        return GaussianMixtures(sampler.weights, sampler.means, sampler.temperature * sampler.factors)
    known = "one of prior, gaussian, mixture"
    return refuse(known, "sampler", type(sampler).__name__, "No other is known here.")


@torch.no_grad()
def draws(model: VAE, num: int) -> tuple[Labels, Latents]:
    """Of the sampler, the same each time; all classes alike."""
    labels = torch.arange(num) % max(model.num_classes, 1)
    with random_stream(0):
        return labels, model.sample_latents(labels)


def kl_by_latent(model: VAE) -> Tensor:
    """KL(q(z | x, y) || p(z | y)) of each latent in nats, (latent,): a mean over images that the model draws itself.

    So that no data set is needed; on the images it was trained on, the order is nearly the same. Where the prior is a
    mixture, whose KL is no sum over latents, a normal of its moments stands for it.
    """
    labels, z = draws(model, NUM_IMAGES)
    with torch.no_grad():
        q = model.posterior(model.likelihood(z, labels).mean, labels)
        moments = prior_of(model).by_class(model.num_classes).moments()
        return DiagonalGaussian(*(values[labels] for values in moments)).kl_by_latent(q).mean(0)
