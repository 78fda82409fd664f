"""How well the classifier q(y | x) of a model classifies images."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F

from cvae_lightning.core.shapes import Batch
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.bayes import calibration_error
from cvae_lightning.evaluators.evaluator import NO_CLASSES, Absent, Evaluator, Measured
from cvae_lightning.evaluators.samples import classes_in
from cvae_lightning.models.protocols import Classifying, Generative

NO_CLASSIFIER = Absent("the model has no classifier")


class ClassifierQuality(Evaluator):
    """q(y | x) of all images of known class, for a model that has such a classifier.

    `classifier_accuracy` is the share of the images whose class has the highest probability, `classifier_nll` the mean
    of -log q(y | x) at their classes, and `classifier_ece` the expected calibration error (Guo et al. 2017).
    """

    names = ("classifier_accuracy", "classifier_nll", "classifier_ece")

    @torch.no_grad()
    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        if not isinstance(model, Classifying):
            return dict.fromkeys(self.names, NO_CLASSIFIER)
        log_q, classes = (
            torch.cat(parts)
            for parts in zip(
                *((model.class_log_probabilities(x), classes_in(train, y)) for x, y in batches), strict=True
            )
        )
        known = classes >= 0
        if not known.any():
            return dict.fromkeys(self.names, NO_CLASSES)
        log_q, classes = log_q[known].double(), classes[known]
        return {
            "classifier_accuracy": float((log_q.argmax(1) == classes).double().mean()),
            "classifier_nll": float(F.nll_loss(log_q, classes)),
            "classifier_ece": calibration_error(log_q.exp(), classes),
        }
