"""A split of a data set: a tensor of images, one of labels, and what these mean; and splitting at random."""

from typing import NamedTuple

import torch
from torch import Tensor

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.shapes import ByteImages, Conditions, Labels


class Split(NamedTuple):
    """Images (N, C, H, W) as bytes, and their labels: classes (N,), or what `condition` describes."""

    images: ByteImages
    labels: Conditions
    condition: Condition | None = None
    """What the labels mean; None for the classes 0, 1, ..."""

    @property
    def classes(self) -> Labels:
        """The class of each image, (N,) int64, in the first column of classes; -1 if it is unknown or there is none."""
        return self.labels if self.condition is None else self.condition.classes(self.labels)

    def take(self, index: Tensor) -> "Split":
        """The images and labels at the positions `index`."""
        images, labels = (part.index_select(0, index) for part in (self.images, self.labels))  # faster than [index]
        return self._replace(images=images, labels=labels)

    def to(self, device: torch.device) -> "Split":
        return self._replace(images=self.images.to(device), labels=self.labels.to(device))


def split_off(split: Split, fraction: float, seed: int, stratified: bool = False) -> tuple[Split, Split]:
    """Split into (rest, part) at random; `part` has round(fraction * size) images.

    If `stratified`, that holds for each class: round(fraction * size of the class) of its images.
    """
    generator = torch.Generator().manual_seed(seed)
    groups: tuple[Tensor, ...] = (torch.arange(len(split.labels)),)
    if stratified:
        classes = split.classes
        groups = classes.argsort(stable=True).split(classes.unique(return_counts=True)[1].tolist())
    rest, part = [], []
    for group in groups:
        shuffled = group[torch.randperm(len(group), generator=generator)]
        size = round(fraction * len(group))
        rest.append(shuffled[size:])
        part.append(shuffled[:size])
    return split.take(torch.cat(rest)), split.take(torch.cat(part))
