"""What the latents contain: how many of them are in use, and how much of the label can be read from them."""

from collections.abc import Iterable

import torch
from torch import Tensor

from cvae_lightning.core.shapes import Batch, Labels, Latents
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import NO_CLASSES, NO_LATENTS, Absent, Evaluator, Measured
from cvae_lightning.evaluators.samples import classes_in
from cvae_lightning.models.latents import DiagonalGaussian
from cvae_lightning.models.protocols import Generative, LatentVariableModel

ACTIVE = 0.01  # variance of the posterior mean, Burda et al. 2016


class LatentSpace(Evaluator):
    """`active_units`, the number of latents in use, and `label_leak`, how well z predicts the label.

    `active_units` is the number of latents whose posterior mean has a variance above 0.01 over the split, Burda et al.
    2016. `label_leak` is the share of the labels that a linear probe reads from draws of the posterior; it is fitted to
    a random half of the split and tested on the other half, images of unknown class left out. Naming the most frequent
    class every time reads its share. Draws are what the decoder sees: in the means, a latent that drowns in noise would
    count too. A CVAE whose z leaks the label takes the class of a sample from both z and y.
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
        leak = _label_leak(q, classes_in(train, y))
        return {"active_units": int((q.mean.var(0) > ACTIVE).sum()), "label_leak": leak}


def _label_leak(q: DiagonalGaussian, classes: Labels) -> float | Absent:
    """The accuracy of the probe on the images of known class, or the reason why there is none."""
    known = classes >= 0
    if not known.any():
        return NO_CLASSES
    if classes[known].unique().numel() < 2:
        return Absent("this split has one class")
    return held_out_accuracy(q.rsample()[known], classes[known])


def held_out_accuracy(z: Latents, y: Labels) -> float:
    """The accuracy of a linear probe that is fitted to a random half of the pairs, on the other half."""
    fitted, held_out = torch.randperm(len(y)).to(y.device).chunk(2)
    scores = _discriminants(z[fitted].double(), y[fitted], z[held_out].double())
    return float((scores.argmax(1) == y[held_out]).double().mean())


def _discriminants(z: Tensor, y: Labels, new: Tensor) -> Tensor:
    """Fisher's linear discriminants, (new, classes): log p(class | z) up to a constant.

    Classes are Gaussians with one covariance. On 60 draws like those of MNIST's latents scikit-learn's
    LinearDiscriminantAnalysis(solver="lsqr") predicts the same classes, but it raises or warns for the small splits
    that a run may have: a half with one class, or with one image of a class.
    """
    classes = y.unique()
    one_hot = (y[:, None] == torch.arange(int(classes.max()) + 1, device=y.device)).double()
    counts = one_hot.sum(0)
    means = one_hot.T @ z / counts.clamp(min=1)[:, None]
    residuals = z - means[y]
    covariance = residuals.T @ residuals / len(y) + 1e-6 * torch.eye(z.shape[1], device=z.device)
    weights = torch.linalg.solve(covariance, means.T)
    return new @ weights - 0.5 * (means.T * weights).sum(0) + counts.log()
