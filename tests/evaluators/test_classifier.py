"""The classifier of a model that has one."""

import math
from typing import Any

import pytest
import torch
from helpers import TRAIN, batches_of, numbers_of, untrained_model
from torch import Tensor, nn

from cvae_lightning.evaluators.classifier import NO_CLASSIFIER, ClassifierQuality
from cvae_lightning.evaluators.evaluator import NO_CLASSES


class Reader(nn.Module):
    """Gives the class at the first pixel the probability 0.7, and 0.2 and 0.1 to the next ones."""

    def class_log_probabilities(self, x: Tensor) -> Tensor:
        shares = torch.tensor([0.7, 0.2, 0.1])
        return torch.stack([shares.roll(int(image.flatten()[0])) for image in x]).log()


X = torch.tensor([0.0, 1, 2, 0, 1])[:, None, None, None].expand(5, 1, 2, 2)


def measured(y: list[int], model: Any = None) -> Any:
    read: Any = model or Reader()
    return ClassifierQuality().evaluate(read, batches_of(X, torch.tensor(y), 2), TRAIN)


def test_accuracy_nll_and_calibration_are_those_of_known_probabilities() -> None:
    numbers = numbers_of(measured([0, 1, 2, 1, 0]))
    assert numbers["classifier_accuracy"] == pytest.approx(0.6)
    assert numbers["classifier_nll"] == pytest.approx(-(3 * math.log(0.7) + math.log(0.2) + math.log(0.1)) / 5)
    assert numbers["classifier_ece"] == pytest.approx(0.1)


def test_images_of_unknown_class_are_left_out() -> None:
    assert measured([0, 1, -1, -1, -1])["classifier_accuracy"] == 1
    assert set(measured([-1] * 5).values()) == {NO_CLASSES}


def test_a_model_without_a_classifier_has_a_reason() -> None:
    model = untrained_model("data=digits", "network.hidden=[8]")
    assert set(measured([0] * 5, model).values()) == {NO_CLASSIFIER}
