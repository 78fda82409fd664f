"""Real images and samples as evaluators compare them: rounded to 8 bits, and independent of the batch size.

The images of a split are never held all at once: an evaluator goes through the batches once more instead.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from cvae_lightning.core.capacity import images_at_once
from cvae_lightning.core.shapes import Batch, ByteImages, Conditions, Features, Images, Labels
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import Absent
from cvae_lightning.models.protocols import Generative

CHUNK = 1000

Distance = TypeVar("Distance")


def rounded(x: Images) -> ByteImages:
    """Convert to 8 bits by rounding, as the grader does with reconstructions."""
    return (255 * x + 0.5).byte()


def truncated(x: Images) -> ByteImages:
    """Convert to 8 bits by truncation, as the grader does with generated images."""
    return (255 * x).byte()


def labels_of(batches: Iterable[Batch]) -> Conditions:
    """The labels of all images of a split."""
    return torch.cat([y for _, y in batches])


def some(num_images: int, num: int) -> Tensor:
    """The numbers of `num` random images without repetition; of all images, in order, if there are no more."""
    return torch.arange(num_images) if num >= num_images else torch.randperm(num_images)[:num]


def chosen(batches: Iterable[Batch], index: Tensor) -> Iterator[Batch]:
    """The images of a split with the numbers in `index`, which ascend, batch by batch."""
    start = 0
    for x, y in batches:
        first, last = torch.searchsorted(index, torch.tensor([start, start + len(x)])).tolist()
        here = (index[first:last] - start).to(x.device)
        start += len(x)
        if len(here):
            yield x[here], y[here]


def taken(batches: Iterable[Batch], index: Tensor) -> Batch:
    """The images of a split with the numbers in `index`, in that order."""
    order = index.argsort()
    x, y = (torch.cat(parts) for parts in zip(*chosen(batches, index[order]), strict=True))
    back = order.argsort().to(x.device)
    return x[back], y[back]


def in_parts(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """The same images in parts of `size`, of which the last may be smaller."""
    held: list[Batch] = []
    num_held = 0
    for batch in batches:
        held.append(batch)
        num_held += len(batch[0])
        if num_held >= size:
            x, y = (torch.cat(parts) for parts in zip(*held, strict=True))
            rest = num_held % size
            whole = num_held - rest
            yield from zip(x[:whole].split(size), y[:whole].split(size), strict=True)
            held, num_held = ([(x[whole:], y[whole:])] if rest else []), rest
    if held:
        x, y = (torch.cat(parts) for parts in zip(*held, strict=True))
        yield x, y


def classes_in(train: Split, y: Conditions) -> Labels:
    """The class of each of the labels `y` of the same data set, (B,); -1 where it is unknown or there is none."""
    return train._replace(labels=y).classes


def of_classes(train: Split, classes: Labels) -> Conditions:
    """A label of each of these classes; its other columns are those of a random image of the class in `train`.

    A class without images in `train` has typical values in the other columns.
    """
    condition = train.condition
    if condition is None or condition.is_one_class:
        return classes
    y = condition.examples().to(classes.device)[classes]
    members = by_group(train.classes, condition.num_classes)
    for label in classes.unique().tolist():
        places = (classes == label).nonzero()[:, 0]
        if len(members[label]):
            rows = members[label][torch.randint(len(members[label]), (len(places),)).to(members[label].device)]
            y[places] = train.labels[rows].to(y.device)
    return y


def by_group(groups: Labels, num_groups: int, order: Tensor | None = None) -> list[Tensor]:
    """The numbers of the images of each group 0, 1, ..., in their own order or in that of `order`."""
    order = torch.arange(len(groups), device=groups.device) if order is None else order
    order = order[groups[order] >= 0]
    grouped = groups[order]
    sizes = grouped.bincount(minlength=num_groups).tolist()
    return list(order[grouped.argsort(stable=True)].split(sizes))


def with_labels(split: Split, y: Conditions, most_draws: int = 1) -> list[Tensor]:
    """Return sets of numbers of images of `split`, with the same number of each class as `y`, in the order of classes.

    There are as many sets as possible without sharing an image, but at least one and at most `most_draws`. A class with
    too few images for one set gives all of them. Images of unknown class count as one class.
    """
    theirs, wanted = split.classes, classes_in(split, y).to(split.labels.device)
    unknown = int(max(theirs.max(), wanted.max())) + 1
    theirs, wanted = (torch.where(classes < 0, unknown, classes) for classes in (theirs, wanted))
    order = torch.randperm(len(theirs)).to(theirs.device)
    sizes = wanted.bincount(minlength=unknown + 1).tolist()
    classes = by_group(theirs, unknown + 1, order)
    needed = [(members, size) for members, size in zip(classes, sizes, strict=True) if size]
    enough_for = min(len(members) // size for members, size in needed)
    parts = [members.split(size) for members, size in needed]
    draws = range(max(1, min(most_draws, enough_for)))
    return [torch.cat([part[draw] for part in parts]) for draw in draws]


def images_of(split: Split, index: Tensor) -> Iterator[ByteImages]:
    """The images with the numbers in `index`, a part at a time."""
    return (split.images[part] for part in index.split(images_at_once(split.images.shape[1:], CHUNK)))


def drawn(model: Generative, y: Conditions) -> Iterator[ByteImages]:
    """One sample per label, rounded to 8 bits, a part at a time."""
    return (rounded(model.sample(part)) for part in torch.split(y, images_at_once(model.image_shape, CHUNK)))


def compared(
    distance: Callable[[Features, Features], Distance], real: Features, fake: Features, at_least: int = 2
) -> Distance | Absent:
    """`distance` between two sets of images, or a reason if one of them has fewer than `at_least` images.

    There is a reason too if features are not finite, on which routines of linear algebra may end the process.
    """
    if not (real.isfinite().all() and fake.isfinite().all()):
        return Absent("some features are not finite")
    num = min(len(real), len(fake))
    return distance(real, fake) if num >= at_least else Absent(f"{num} images on one side are too few to compare")
