"""Where a model draws its latents from when it makes new images: the prior, or a density fitted after the training."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from cvae_lightning.core.errors import check_integer, check_positive, check_seed
from cvae_lightning.core.shapes import Labels, Latents
from cvae_lightning.models.latents import LatentDistribution

Encoded: TypeAlias = Iterable[tuple[Latents, Labels]]
"""Draws from the posteriors of the training images, batch by batch, with their labels."""


class PriorSampler(nn.Module):
    """The prior of the model itself; nothing is fitted."""

    def __init__(self, latent_dim: int, num_classes: int) -> None:
        super().__init__()

    def fit(self, encoded: Encoded) -> None:
        """Nothing to do, and nothing is encoded for it."""

    def forward(self, y: Labels, prior: LatentDistribution, temperature: float | None = None) -> Latents:
        """One draw a label; `prior` is p(z | y) of these labels. `temperature` is 1 by default."""
        return prior.sample(1.0 if temperature is None else temperature)


class MixtureSampler(nn.Module):
    """Normals with full covariances, fitted to the latents of the training images; of each class, where there are any.

    Images from it follow the data even where the aggregated posterior is not the prior, as it never quite is (Ghosh et
    al. 2020, section 4). A class has at most one component for each `IMAGES_PER_COMPONENT` of its images; a class with
    fewer than two images keeps N(0, I). A `temperature` below 1 shrinks the components' standard deviations: images
    more typical, and less diverse.
    """

    IMAGES_PER_COMPONENT = 100

    weights: Tensor  # (groups, components)
    means: Tensor  # (groups, components, latent)
    factors: Tensor  # (groups, components, latent, latent): lower triangular, factor @ factor.T is the covariance

    def __init__(
        self, latent_dim: int, num_classes: int, num_components: int, temperature: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__()
        remedy = "1 is a single normal; the default is sampler.num_components=40."
        size = check_integer("sampler.num_components", num_components, 1, remedy)
        self.temperature = check_positive("sampler.temperature", temperature, "1 is the density that was fitted.")
        self.seed = check_seed("sampler.seed", seed)
        self.conditional = num_classes > 0
        groups = max(num_classes, 1)
        self.register_buffer("weights", torch.full((groups, size), 1 / size))
        self.register_buffer("means", torch.zeros(groups, size, latent_dim))
        self.register_buffer("factors", torch.eye(latent_dim).repeat(groups, size, 1, 1))

    def fit(self, encoded: Encoded) -> None:
        """Expectation maximisation (scikit-learn's), in float64 on the CPU; deterministic in `encoded` and `seed`."""
        pairs = [(z.cpu(), y.cpu()) for z, y in encoded]
        z, y = torch.cat([z for z, _ in pairs]), torch.cat([y for _, y in pairs])
        for group in range(len(self.weights)):
            self._fit_group(group, z[y == group] if self.conditional else z)

    def forward(self, y: Labels, prior: LatentDistribution, temperature: float | None = None) -> Latents:
        """One draw a label; without classes, the labels' number counts. `temperature` replaces the sampler's own."""
        group = y if self.conditional else torch.zeros_like(y)
        component = self.weights[group].multinomial(1)[:, 0]
        scale = self.temperature if temperature is None else temperature
        noise = scale * torch.randn(len(y), self.means.shape[2], 1, device=y.device)
        return self.means[group, component] + (self.factors[group, component] @ noise)[..., 0]

    def _fit_group(self, group: int, z: Latents) -> None:
        from sklearn.mixture import GaussianMixture  # takes seconds to import

        if len(z) < 2:
            return
        size = min(self.weights.shape[1], max(1, len(z) // self.IMAGES_PER_COMPONENT))
        mixture = GaussianMixture(size, reg_covar=1e-5, max_iter=200, random_state=self.seed).fit(z.double().numpy())
        self.weights[group] = 0
        self.weights[group, :size] = torch.from_numpy(mixture.weights_)
        self.means[group, :size] = torch.from_numpy(mixture.means_)
        self.factors[group, :size] = torch.linalg.cholesky(torch.from_numpy(mixture.covariances_))


Sampler: TypeAlias = PriorSampler | MixtureSampler
SamplerFactory: TypeAlias = Callable[..., Sampler]
"""(latent_dim, num_classes) -> a sampler; the model knows its sizes."""
