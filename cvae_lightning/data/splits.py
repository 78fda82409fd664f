"""A split of a data set: a tensor of images and one of labels; and splitting at random."""

from typing import NamedTuple

import torch
from torch import Tensor

from cvae_lightning.core.shapes import ByteImages, Labels


class Split(NamedTuple):
    """Images (N, C, H, W) as bytes, and their labels (N,)."""

    images: ByteImages
    labels: Labels

    def take(self, index: Tensor) -> "Split":
        """The images and labels at the positions `index`."""
        return Split(self.images.index_select(0, index), self.labels.index_select(0, index))  # faster than [index]

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


def split_off(split: Split, fraction: float, seed: int, stratified: bool = False) -> tuple[Split, Split]:
    """Split into (rest, part) at random; `part` has round(fraction * size) images.

    If `stratified`, that holds for each class: round(fraction * size of the class) of its images.
    """
    generator = torch.Generator().manual_seed(seed)
    groups = [torch.arange(len(split.labels))]
    if stratified:
        groups = [(split.labels == label).nonzero()[:, 0] for label in split.labels.unique()]
    rest, part = [], []
    for group in groups:
        shuffled = group[torch.randperm(len(group), generator=generator)]
        size = round(fraction * len(group))
        rest.append(shuffled[size:])
        part.append(shuffled[:size])
    return split.take(torch.cat(rest)), split.take(torch.cat(part))
