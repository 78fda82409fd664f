"""A conditional model as a classifier: log p(x | y) of each class, and p(y | x) by Bayes' theorem."""

import torch
from torch import Tensor

from cvae_lightning.core.capacity import images_at_once
from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.shapes import Conditions, Images, Labels, Logits
from cvae_lightning.models.bounds import log_mean_exp, weighted_draws
from cvae_lightning.models.protocols import LatentVariableModel

ROWS = 4000  # images of 28x28 decoded at a time


def log_class_frequencies(classes: Labels, num_classes: int) -> Tensor:
    """Log p(y) in nats, (classes,): the shares of the classes among the known `classes`; the log of 0 is -inf."""
    counts = classes[classes >= 0].bincount(minlength=num_classes).double()
    return (counts / counts.sum()).log()


@torch.no_grad()
def log_likelihoods(
    model: LatentVariableModel, condition: Condition, x: Images, y: Conditions, num_samples: int
) -> Logits:
    """Log p(x | y) in nats, (batch, classes), with each class of `condition`, which is that of `model`, put into `y`.

    Each is the log of the mean of `num_samples` importance weights, as in Burda et al. 2016.
    """
    rows = max(1, images_at_once(x.shape[1:], ROWS) // max(1, len(x)))
    by_class = []
    for number in range(condition.num_classes):
        labels = condition.with_class(y, number)
        q = model.posterior(x, labels)
        sizes = torch.arange(num_samples).split(rows)
        weights = [weighted_draws(model, q, x, labels, len(size)).log_weight for size in sizes]
        by_class.append(log_mean_exp(torch.cat(weights)))
    return torch.stack(by_class, 1)
