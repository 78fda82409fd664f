"""p(z | y), the prior of the latents: the standard normal, or a density that is learned together with the model."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import nn

from cvae_lightning.core.errors import check_integer, check_positive
from cvae_lightning.core.shapes import AnyLabels, as_labels
from cvae_lightning.models.latents import DiagonalGaussian, DiagonalMixture, LatentDistribution, StandardGaussian


class StandardGaussianPrior(nn.Module):
    """N(0, I): Kingma & Welling 2014, and the paper."""

    def __init__(self, latent_dim: int, num_classes: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def forward(self, y: AnyLabels) -> LatentDistribution:
        labels = as_labels(y)
        return StandardGaussian(len(labels), self.latent_dim, labels.device)


class LearnedPrior(nn.Module):
    """A mixture of diagonal normals, of each class where there are any; its parameters are learned with the model's.

    With one component and classes this is the conditional prior of Sohn et al. 2015; with many and no classes the
    mixture of Gaussians that Tomczak & Welling 2018 compare with. The components start with equal weights, variance 1,
    and means drawn from N(0, initial_spread^2), so that they can part.
    """

    def __init__(self, latent_dim: int, num_classes: int, num_components: int, initial_spread: float = 1.0) -> None:
        super().__init__()
        remedy = "1 is a single normal."
        size = check_integer("prior.num_components", num_components, 1, remedy)
        spread = check_positive("prior.initial_spread", initial_spread, "Latents have a spread of about 1.")
        self.num_classes = num_classes
        shape = (max(num_classes, 1), size)
        self.logits = nn.Parameter(torch.zeros(shape))
        self.means = nn.Parameter(spread * torch.randn(*shape, latent_dim))
        self.log_vars = nn.Parameter(torch.zeros(*shape, latent_dim))

    def forward(self, y: AnyLabels) -> LatentDistribution:
        labels = as_labels(y, num_classes=self.num_classes or None, device=self.means.device)
        group = labels if self.num_classes else torch.zeros_like(labels)
        if self.means.shape[1] == 1:
            return DiagonalGaussian(self.means[group, 0], self.log_vars[group, 0])
        return DiagonalMixture(group, self.logits.log_softmax(1), self.means, self.log_vars)


PriorFactory: TypeAlias = Callable[..., StandardGaussianPrior | LearnedPrior]
"""(latent_dim, num_classes) -> a prior; the model knows its sizes."""
