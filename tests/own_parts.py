"""A prior, a sampler and a logger as somebody's own project defines them: what a plug-in needs, and no more."""

from collections import Counter
from typing import Any

import torch
from pytorch_lightning.loggers import Logger
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


class CountingLogger(Logger):
    """Counts how often each number was logged."""

    name, version = "counting", "0"

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.counted.update(metrics.keys())

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None: ...
