"""How well a conditional model classifies images, by Bayes' theorem."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.shapes import Batch, Labels
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import NO_CLASSES, NO_LATENTS, UNCONDITIONAL, Evaluator, Measured
from cvae_lightning.evaluators.samples import chosen, classes_in, in_parts, labels_of, some
from cvae_lightning.models.class_probabilities import ROWS, likelihoods_by_class, log_class_frequencies
from cvae_lightning.models.protocols import Generative, LatentVariableModel

BINS = 15


class BayesClassifier(Evaluator):
    """p(y | x) = p(x | y) p(y) / p(x) of `num_images` random images of known class, or of all if there are fewer.

    p(y) are the shares of the classes in `train`, and p(x | y) is estimated for every class y with `num_samples`
    importance weights. Other columns of the condition are those of the image. `bayes_accuracy` is the share of the
    images whose class has the highest probability, `bayes_nll` the mean of -log p(y | x) at their classes, `bayes_ece`
    the expected calibration error (Guo et al. 2017), and `nll_marginal` the mean of -log p(x), the sum over all
    classes. With more samples all four get closer to those of the model itself.
    """

    names = ("bayes_accuracy", "bayes_nll", "bayes_ece", "nll_marginal", "num_images_bayes", "bayes_samples")

    def __init__(self, num_samples: int = 50, num_images: int = 1000, seed: int = 0) -> None:
        super().__init__(seed)
        self.num_samples = check_integer("evaluators.bayes.num_samples", num_samples, 1, "50 is the default.")
        self.num_images = check_integer("evaluators.bayes.num_images", num_images, 1, "1000 is the default.")

    @torch.no_grad()
    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        condition = model.condition
        if not isinstance(model, LatentVariableModel):
            return dict.fromkeys(self.names, NO_LATENTS)
        if not condition.num_classes:
            return dict.fromkeys(self.names, UNCONDITIONAL)
        known = (classes_in(train, labels_of(batches)) >= 0).nonzero()[:, 0].cpu()
        if not len(known) or not (train.classes >= 0).any():
            return dict.fromkeys(self.names, NO_CLASSES)
        index = known[some(len(known), self.num_images)].sort().values
        log_joint, classes = [], []
        log_prior = log_class_frequencies(train.classes, condition.num_classes)
        for x, y in in_parts(chosen(batches, index), max(1, ROWS // self.num_samples)):
            bounds = likelihoods_by_class(model, condition, x, y, self.num_samples)
            log_joint.append(bounds.importance_weighted.double() + log_prior.to(x.device))
            classes.append(classes_in(train, y))
        joint, y = torch.cat(log_joint), torch.cat(classes)
        log_posterior = joint.log_softmax(1)
        return {
            "bayes_accuracy": float((log_posterior.argmax(1) == y).double().mean()),
            "bayes_nll": float(F.nll_loss(log_posterior, y)),
            "bayes_ece": calibration_error(log_posterior.exp(), y),
            "nll_marginal": -float(joint.logsumexp(1).mean()),
            "num_images_bayes": len(y),
            "bayes_samples": self.num_samples,
        }


def calibration_error(probabilities: Tensor, classes: Labels, bins: int = BINS) -> float:
    """The expected calibration error: in equal bins of the highest probability, the mean of |accuracy - confidence|."""
    confidence, read = probabilities.max(1)
    place = (confidence * bins).long().clamp(max=bins - 1)
    gaps = (read == classes).double() - confidence.double()
    by_bin = gaps.new_zeros(bins).index_add(0, place, gaps)
    return float(by_bin.abs().sum()) / len(gaps)
