"""Real images and samples as evaluators compare them: rounded to 8 bits, and independent of the batch size."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

from cvae_lightning.core.shapes import Batch, ByteImages, Features, Labels
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import Absent
from cvae_lightning.evaluators.grader import rounded
from cvae_lightning.models.protocols import Generative

CHUNK = 1000

Distance = TypeVar("Distance")


def whole(batches: Iterable[Batch]) -> Split:
    """All images of a split, rounded to 8 bits, with their labels."""
    images, labels = zip(*((rounded(x), y) for x, y in batches), strict=True)
    return Split(torch.cat(images), torch.cat(labels))


def some(split: Split, num: int) -> Tensor:
    """The indices of `num` random images without repetition; of all images, in order, if there are no more."""
    size = len(split.labels)
    index = torch.arange(size) if num >= size else torch.randperm(size)[:num]
    return index.to(split.labels.device)


def with_labels(split: Split, labels: Labels, most_draws: int = 1) -> list[ByteImages]:
    """Return sets of images of `split` with the same number of each label, in the order of classes.

    There are as many sets as possible without sharing an image, but at least one and at most `most_draws`. A class with
    too few images for one set gives all of them.
    """
    order = torch.randperm(len(split.labels)).to(split.labels.device)
    sizes = labels.bincount().tolist()
    classes = [order[split.labels[order] == label] for label in range(len(sizes))]
    enough_for = min(len(members) // max(size, 1) for members, size in zip(classes, sizes, strict=True))
    parts = [members.split(max(size, 1)) for members, size in zip(classes, sizes, strict=True) if size]
    draws = range(max(1, min(most_draws, enough_for)))
    return [split.images[torch.cat([part[draw] for part in parts])] for draw in draws]


def drawn(model: Generative, labels: Labels) -> ByteImages:
    """One sample per label, rounded to 8 bits."""
    return torch.cat([rounded(model.sample(chunk)) for chunk in labels.split(CHUNK)])


def compared(
    distance: Callable[[Features, Features], Distance], real: Features, fake: Features, at_least: int = 2
) -> Distance | Absent:
    """`distance` between two sets of images, or a reason if one of them has fewer than `at_least` images."""
    num = min(len(real), len(fake))
    return distance(real, fake) if num >= at_least else Absent(f"{num} images on one side are too few to compare")
