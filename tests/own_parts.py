"""A prior and a sampler as somebody's own project defines them: what a plug-in needs, and no more."""

import torch
from torch import nn

from cvae_lightning.core.shapes import Labels, Latents
from cvae_lightning.models.latents import DiagonalGaussian, GaussianMixtures, LatentDistribution
from cvae_lightning.models.priors import Prior
from cvae_lightning.models.samplers import Encoded


class SteppedPrior(nn.Module):
    """p(z | y) = N(y / 4, I) in each latent."""

    def __init__(self, latent_dim: int, num_classes: int) -> None:
        super().__init__()
        self.means = nn.Buffer((torch.arange(max(num_classes, 1)) / 4)[:, None].repeat(1, latent_dim))

    def forward(self, y: Labels) -> LatentDistribution:
        return DiagonalGaussian(self.means[y], torch.zeros_like(self.means[y]))

    def mixtures(self) -> GaussianMixtures:
        means = self.means[:, None]
        return GaussianMixtures.diagonal(torch.ones(len(means), 1), means, torch.zeros_like(means))


class HalfSampler(nn.Module):
    """The prior with half of its standard deviation."""

    def __init__(self, latent_dim: int, num_classes: int) -> None:
        super().__init__()

    def fit(self, encoded: Encoded) -> None:
        pass

    def forward(self, y: Labels, prior: LatentDistribution, temperature: float | None = None) -> Latents:
        return prior.sample(0.5 if temperature is None else temperature)

    def mixtures(self, prior: Prior) -> GaussianMixtures:
        mixtures = prior.mixtures()
        return mixtures._replace(factors=0.5 * mixtures.factors)
