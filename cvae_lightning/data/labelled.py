"""Semi-supervised data: few images of a split keep their class, and the classes of the others are hidden."""

from typing import Any

import torch

from cvae_lightning.core.errors import check_integer, refuse
from cvae_lightning.data.splits import Split

ALL = "all"


def check_labelled(labelled: Any) -> int | None:
    """The number of images that keep their class; None for "all". Raises UserError for anything else."""
    if labelled == ALL:
        return None
    return check_integer("data.labelled", labelled, 1, "all keeps the classes of all images.")


def partly_labelled(split: Split, num: int, seed: int) -> Split:
    """`split` with the classes of all but `num` images unknown; other columns of the condition stay.

    The images that keep theirs are drawn by `seed`, equally many of each class as far as there are so many. Raises
    UserError for fewer than one image of each class, and for more than have a class.
    """
    classes = split.classes.cpu()
    names, sizes = classes[classes >= 0].unique(return_counts=True)
    known = int(sizes.sum())
    if not len(names):
        refuse("all, as the images have no classes", "data.labelled", num, "Leave it out.")
    if not len(names) <= num <= known:
        what = f"all, or {len(names)} to {known} images"
        refuse(what, "data.labelled", num, "Each class keeps one label at least.")
    shuffled = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))
    shuffled = shuffled[classes[shuffled] >= 0]
    by_class = shuffled[classes[shuffled].argsort(stable=True)]
    rank = torch.arange(known) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)  # of an image within its class
    kept = torch.zeros(len(classes), dtype=torch.bool)
    kept[by_class[rank.argsort(stable=True)[:num]]] = True
    labels, here = split.labels, split.labels.device
    hidden = torch.full_like(labels, -1) if split.condition is None else split.condition.without_class(labels)
    return split._replace(labels=torch.where(kept.to(here).view(-1, *[1] * (labels.ndim - 1)), labels, hidden))
