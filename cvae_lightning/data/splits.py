"""A split of a data set: one tensor of images, one of labels; and how splits are drawn."""

from typing import NamedTuple

import torch
from torch import Tensor

from cvae_lightning.core.shapes import ByteImages, Labels


class Split(NamedTuple):
    images: ByteImages
    labels: Labels

    def take(self, index: Tensor) -> "Split":
        return Split(self.images.index_select(0, index), self.labels.index_select(0, index))  # faster than [index]

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


def split_off(split: Split, fraction: float, seed: int, stratified: bool = False) -> tuple[Split, Split]:
    """(rest, part): `part` is a seeded draw of round(fraction * size) images; of each class, if stratified."""
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
