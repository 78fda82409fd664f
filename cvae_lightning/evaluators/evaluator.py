"""What every evaluator has in common: the numbers it gives or the reasons why not, and a random stream of its own."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias
from zlib import crc32

from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Batch, Labels
from cvae_lightning.data.splits import Split
from cvae_lightning.models.protocols import Generative


class Absent(NamedTuple):
    """Stands in the place of a number that does not exist."""

    reason: str


Measured: TypeAlias = dict[str, float | Absent]
"""The value of each metric by its name, or why it has none."""

UNCONDITIONAL = Absent("the model is not conditioned on the label")
NO_LATENTS = Absent("the model has no latents")


class Evaluator(ABC):
    """Measures a trained model on one split, val or test.

    Its draws come from a stream of its own: they change neither the training nor another evaluator's numbers.
    """

    names: tuple[str, ...]
    """Everything that it can measure. Each name has a value or a reason for each model and each split."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @abstractmethod
    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        """The metrics of all images of a split; what has to be fitted first is fitted to `train`."""

    def measure(self, model: Generative, batches: Iterable[Batch], train: Split, split: str) -> Measured:
        """`evaluate` with the random stream of the split `split`: a finite number or a reason for each of `names`."""
        with random_stream(self.seed, crc32(f"{type(self).__name__} {split}".encode())):
            measured = self.evaluate(model, batches, train)
        return {name: finite(measured.get(name, Absent("it was not measured"))) for name in self.names}


def finite(value: float | Absent) -> float | Absent:
    """`value`, or a reason where it is nan or infinite: files hold numbers only."""
    if isinstance(value, Absent) or math.isfinite(value):
        return value
    return Absent(f"it is {value}")


def classes_without_images(labels: Labels, num_classes: int) -> list[int]:
    """The classes 0, ..., num_classes - 1 that do not occur among `labels`."""
    return (labels.bincount(minlength=num_classes)[:num_classes] == 0).nonzero()[:, 0].tolist()


def no_images_of(classes: list[int], where: str) -> Absent:
    """Why a number that needs images of every class does not exist."""
    named = f"class {classes[0]}" if len(classes) == 1 else f"classes {', '.join(map(str, classes))}"
    return Absent(f"no image of {named} in {where}")
