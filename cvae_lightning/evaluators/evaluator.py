"""What all evaluators have in common: named metrics, reasons for missing ones, and a random stream of their own."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias
from zlib import crc32

from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Batch, Labels
from cvae_lightning.data.splits import Split
from cvae_lightning.models.protocols import Generative

MOST_NAMED = 20  # classes in one reason


class Absent(NamedTuple):
    """The reason why a number does not exist; it stands in the number's place."""

    reason: str


Measured: TypeAlias = dict[str, float | Absent]
"""The value of each metric by its name, or the reason why it has none."""

UNCONDITIONAL = Absent("the model is not conditioned on a class")
NO_CLASSES = Absent("the images have no classes")
NO_LATENTS = Absent("the model has no latents")


class Evaluator(ABC):
    """Measures a trained model on one split, val or test.

    Its draws come from a random stream of its own, so they change neither the training nor another evaluator's numbers.

    >>> class Brightness(Evaluator):
    ...     names = ("brightness",)
    ...
    ...     def evaluate(self, model, batches, train):
    ...         return {"brightness": float(model.sample(train.labels[:100]).mean())}
    """

    names: tuple[str, ...]
    """The names of all its metrics. Each gets a value or a reason, for every model and every split."""

    stream = ""
    """The name of its random stream. If it is empty, the name of the class is used."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @abstractmethod
    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        """The metrics of a split, given as `batches` of (x, y); whatever has to be fitted is fitted to `train`.

        `batches` may be gone through more than once, which saves memory where not all images are needed at once. Their
        tensors are on the model's device. The images of `train` are uint8; if they are too many for a GPU, `train` is
        in the main memory. `train.condition` says what labels mean, and `train.classes` are its classes.
        """

    def measure(self, model: Generative, batches: Iterable[Batch], train: Split, split: str) -> Measured:
        """`evaluate` in the random stream of `split`: a finite number or a reason for each of `names`."""
        with random_stream(self.seed, crc32(f"{self.stream or type(self).__name__} {split}".encode())):
            measured = self.evaluate(model, batches, train)
        return {name: finite(measured.get(name, Absent("it was not measured"))) for name in self.names}


def finite(value: float | Absent) -> float | Absent:
    """`value`, or a reason if it is nan or infinite: files contain only finite numbers."""
    if isinstance(value, Absent) or math.isfinite(value):
        return value
    return Absent(f"it is {value}")


def classes_without_images(labels: Labels, num_classes: int) -> list[int]:
    """The classes 0, ..., num_classes - 1 that do not occur among `labels`."""
    return (labels[labels >= 0].bincount(minlength=num_classes)[:num_classes] == 0).nonzero()[:, 0].tolist()


def no_images_of(classes: list[int], where: str) -> Absent:
    """The reason why a number that needs images of every class does not exist."""
    named = f"class {classes[0]}" if len(classes) == 1 else f"classes {', '.join(map(str, classes[:MOST_NAMED]))}"
    if len(classes) > MOST_NAMED:
        named += f" and {len(classes) - MOST_NAMED} more"
    return Absent(f"no image of {named} in {where}")
