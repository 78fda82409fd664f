"""Means of the ELBO and its terms over a split: one definition for train, val and test."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from cvae_lightning.models.bounds import ELBO

NAMES = ("elbo", "log_likelihood", "kl", "loss")


def means_of(mean: ELBO, beta: float) -> dict[str, Tensor]:
    """Each of `NAMES`, given the means of both terms over all images, of shape (1,)."""
    return dict(zip(NAMES, (mean.value, mean.log_likelihood, mean.kl, mean.loss(beta)), strict=True))


class MeanELBO(Metric):
    """The means of `NAMES` over all images, in nats per image, with loss = beta * kl - log_likelihood."""

    is_differentiable = False
    full_state_update = False
    log_likelihood: Tensor
    kl: Tensor
    num_images: Tensor

    def __init__(self, beta: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beta = beta
        # The sums have shape (1,), so that their means form the ELBO of a batch of one image.
        self.add_state("log_likelihood", torch.zeros(1), dist_reduce_fx="sum")
        self.add_state("kl", torch.zeros(1), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, elbo: ELBO) -> None:
        """Add the images of a batch."""
        self.log_likelihood += elbo.log_likelihood.detach().sum()
        self.kl += elbo.kl.detach().sum()
        self.num_images += len(elbo.kl)

    def compute(self) -> dict[str, Tensor]:
        """The mean of each of `NAMES`, of shape (1,)."""
        return means_of(ELBO(self.log_likelihood / self.num_images, self.kl / self.num_images), self.beta)
