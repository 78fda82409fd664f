"""Samplers for the latents of new images: the prior itself, or a density fitted to the latents after the training."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from cvae_lightning.core.errors import check_integer, check_positive, check_seed, refuse
from cvae_lightning.core.shapes import Labels, Latents
from cvae_lightning.models.em import fit_mixture
from cvae_lightning.models.latents import GaussianMixtures, LatentDistribution
from cvae_lightning.models.priors import FlowPrior, Prior

Encoded: TypeAlias = Iterable[tuple[Latents, Labels]]
"""Draws from the posteriors of the training images, batch by batch, with their labels."""


@runtime_checkable
class Sampler(Protocol):
    """A module that draws the latents of new images; what it fits is kept with the model's weights."""

    def fit(self, encoded: Encoded) -> None:
        """Fit the density to the latents of the training images."""
        ...

    def __call__(self, y: Labels, prior: LatentDistribution, temperature: float | None = None) -> Latents:
        """One draw per label; `prior` is p(z | y) of these labels.

        `temperature` multiplies the standard deviations; None is the sampler's own temperature.
        """
        ...

    def mixtures(self, prior: Prior) -> GaussianMixtures:
        """The density that is drawn from, at the sampler's own temperature: what traversals and exports compute with.

        `prior` is the model's. A sampler that is not a mixture of Gaussians raises UserError.
        """
        ...


class PriorSampler(nn.Module):
    """Draws from the model's prior; nothing is fitted."""

    def __init__(self, latent_dim: int, num_classes: int) -> None:
        super().__init__()

    def fit(self, encoded: Encoded) -> None:
        """Does nothing; no image is encoded for it."""

    def forward(self, y: Labels, prior: LatentDistribution, temperature: float | None = None) -> Latents:
        return prior.sample(1.0 if temperature is None else temperature)

    def mixtures(self, prior: Prior) -> GaussianMixtures:
        return prior.mixtures()


class MixtureSampler(nn.Module):
    """A mixture of Gaussians with full covariances, fitted to the latents of the training images.

    If there are classes, each has a mixture of its own. Its images follow the data even if the aggregated posterior
    differs from the prior, which it always does to some extent (Ghosh et al. 2020, section 4). A class has at most one
    component per `images_per_component` of its images; a class with fewer than two images keeps N(0, I). A
    `temperature` below 1 shrinks the components' standard deviations: the images become more typical and less diverse.
    """

    weights: Tensor  # the three fields of GaussianMixtures
    means: Tensor
    factors: Tensor

    def __init__(
        self,
        latent_dim: int,
        num_classes: int,
        num_components: int,
        temperature: float = 1.0,
        seed: int = 0,
        images_per_component: int = 100,
    ) -> None:
        super().__init__()
        remedy = "1 is a single Gaussian; the default is sampler.num_components=40."
        size = check_integer("sampler.num_components", num_components, 1, remedy)
        remedy = "The default is sampler.images_per_component=100."
        self.images_per_component = check_integer("sampler.images_per_component", images_per_component, 1, remedy)
        self.temperature = check_positive("sampler.temperature", temperature, "1 is the density that was fitted.")
        self.seed = check_seed("sampler.seed", seed)
        self.conditional = num_classes > 0
        groups = max(num_classes, 1)
        self.register_buffer("weights", torch.full((groups, size), 1 / size))
        self.register_buffer("means", torch.zeros(groups, size, latent_dim))
        self.register_buffer("factors", torch.eye(latent_dim).repeat(groups, size, 1, 1))

    def fit(self, encoded: Encoded) -> None:
        """Expectation maximisation in float64 on the CPU (models/em.py); deterministic in `encoded` and `seed`.

        Raises UserError if a latent is not finite.
        """
        pairs = [(z.cpu(), y.cpu()) for z, y in encoded]
        z, y = torch.cat([z for z, _ in pairs]), torch.cat([y for _, y in pairs])
        if not z.isfinite().all():
            refuse("finite latents of the training images", "sampler", "nan or infinity", "Lower lr and train again.")
        for group in range(len(self.weights)):
            self._fit_group(group, z[y == group] if self.conditional else z)

    def forward(self, y: Labels, prior: LatentDistribution, temperature: float | None = None) -> Latents:
        group = y if self.conditional else torch.zeros_like(y)
        fitted = GaussianMixtures(self.weights, self.means, self.factors)
        return fitted.sample(group, self.temperature if temperature is None else temperature)

    def mixtures(self, prior: Prior) -> GaussianMixtures:
        return GaussianMixtures(self.weights, self.means, self.temperature * self.factors)

    def _fit_group(self, group: int, z: Latents) -> None:
        if len(z) < 2:
            return
        size = min(self.weights.shape[1], max(1, len(z) // self.images_per_component))
        mixture = fit_mixture(z, size, self.seed)
        self.weights[group] = 0
        self.weights[group, :size] = mixture.weights
        self.means[group, :size] = mixture.means
        self.factors[group, :size] = mixture.factors


def density_of(sampler: Sampler, prior: Prior) -> GaussianMixtures | FlowPrior:
    """The density that new images are drawn from, in a form that an export can compute with.

    Raises UserError for a sampler or a prior that is neither.
    """
    if isinstance(sampler, PriorSampler) and isinstance(prior, FlowPrior):
        return prior
    return sampler.mixtures(prior)


def approximate_density(sampler: Sampler, prior: Prior) -> GaussianMixtures:
    """The mixtures that new images are drawn from, or Gaussians with the moments of a flow. Raises as `density_of`."""
    density = density_of(sampler, prior)
    return density.gaussians() if isinstance(density, FlowPrior) else density


SamplerFactory: TypeAlias = Callable[[int, int], Sampler]
"""(latent_dim, num_classes) -> a sampler; the model passes its sizes, and counts an unknown class as one more."""
