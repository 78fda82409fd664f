"""What the latents hold: how many of them are in use, and how much they tell about the label."""

from collections.abc import Iterable

import torch
from torch import Tensor

from cvae_lightning.core.shapes import Batch, Labels, Latents
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import NO_LATENTS, Absent, Evaluator, Measured
from cvae_lightning.models.latents import DiagonalGaussian
from cvae_lightning.models.protocols import Generative, LatentVariableModel

ACTIVE = 0.01  # variance of the posterior mean, Burda et al. 2016


class LatentSpace(Evaluator):
    """`active_units` and `label_leak`.

    `active_units`: latents whose posterior mean varies by more than 0.01 over the split, Burda et al. 2016.
    `label_leak`: share of the labels that a linear probe reads from draws of the posterior, fitted to a random half of
    the split and tested on the other; 0.1 is none of ten. Draws, as what the decoder sees: in a mean, a latent that is
    drowned in noise would speak too. A CVAE whose z leaks its label takes a sample's class from z and y both.
    """

    names = ("active_units", "label_leak")

    @torch.no_grad()
    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        if not isinstance(model, LatentVariableModel):
            return dict.fromkeys(self.names, NO_LATENTS)
        posteriors, labels = zip(*((model.posterior(x, y), y) for x, y in batches), strict=True)
        q, y = DiagonalGaussian(*(torch.cat(parts) for parts in zip(*posteriors, strict=True))), torch.cat(labels)
        if len(y) < 2:
            return dict.fromkeys(self.names, Absent("this split has one image"))
        leak = held_out_accuracy(q.rsample(), y) if y.unique().numel() > 1 else Absent("this split has one class")
        return {"active_units": int((q.mean.var(0) > ACTIVE).sum()), "label_leak": leak}


def held_out_accuracy(z: Latents, y: Labels) -> float:
    """Of a linear probe that is fitted to one half of the pairs, drawn at random, on the other half."""
    fitted, held_out = torch.randperm(len(y)).to(y.device).chunk(2)
    scores = _discriminants(z[fitted].double(), y[fitted], z[held_out].double())
    return float((scores.argmax(1) == y[held_out]).double().mean())


def _discriminants(z: Tensor, y: Labels, new: Tensor) -> Tensor:
    """Fisher's, (new, classes): log p(class | z) up to a constant for normal classes with one covariance."""
    classes = y.unique()
    one_hot = (y[:, None] == torch.arange(int(classes.max()) + 1, device=y.device)).double()
    counts = one_hot.sum(0)
    means = one_hot.T @ z / counts.clamp(min=1)[:, None]
    residuals = z - means[y]
    covariance = residuals.T @ residuals / len(y) + 1e-6 * torch.eye(z.shape[1], device=z.device)
    weights = torch.linalg.solve(covariance, means.T)
    return new @ weights - 0.5 * (means.T * weights).sum(0) + counts.log()
