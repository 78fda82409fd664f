"""A conditional model as a classifier: log p(x | y) of each class, and p(y | x) by Bayes' theorem."""

from typing import NamedTuple

import torch
from torch import Tensor

from cvae_lightning.core.capacity import images_at_once
from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.shapes import Conditions, Images, Labels
from cvae_lightning.models.bounds import log_mean_exp, weighted_draws
from cvae_lightning.models.protocols import LatentVariableModel

ROWS = 4000  # images of 28x28 decoded at a time


def log_class_frequencies(classes: Labels, num_classes: int) -> Tensor:
    """Log p(y) in nats, (classes,): the shares of the classes among the known `classes`; the log of 0 is -inf."""
    counts = classes[classes >= 0].bincount(minlength=num_classes).double()
    return (counts / counts.sum()).log()


class Likelihoods(NamedTuple):
    """Two bounds on log p(x | y) in nats, by the same draws."""

    importance_weighted: Tensor
    """The log of the mean importance weight, Burda et al. 2016."""
    elbo: Tensor
    """The mean of the log importance weights."""


@torch.no_grad()
def likelihoods(model: LatentVariableModel, x: Images, y: Conditions, num_samples: int) -> Likelihoods:
    """The bounds on log p(x | y), (batch,), with `num_samples` draws of z for each image."""
    rows = max(1, images_at_once(x.shape[1:], ROWS) // max(1, len(x)))
    q = model.posterior(x, y)
    sizes = torch.arange(num_samples).split(rows)
    log_weight = torch.cat([weighted_draws(model, q, x, y, len(size)).log_weight for size in sizes])
    return Likelihoods(log_mean_exp(log_weight), log_weight.mean(0))


def likelihoods_by_class(
    model: LatentVariableModel, condition: Condition, x: Images, y: Conditions, num_samples: int
) -> Likelihoods:
    """The bounds on log p(x | y), (batch, classes), with each class of the model's `condition` put into `y`."""
    by_class = [
        likelihoods(model, x, condition.with_class(y, number), num_samples) for number in range(condition.num_classes)
    ]
    return Likelihoods(*(torch.stack(parts, 1) for parts in zip(*by_class, strict=True)))
