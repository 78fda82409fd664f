"""A split of a data set: one tensor of images, one of labels; and how the splits are drawn."""

from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from cvae_lightning.shapes import ByteImages, Labels


class Split(NamedTuple):
    images: ByteImages
    labels: Labels

    def take(self, index: Tensor) -> "Split":
        return Split(self.images.index_select(0, index), self.labels.index_select(0, index))  # faster than [index]

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


class Source(Protocol):
    """A data set that knows how it is split 5:1:1.

    One that may have to be downloaded also has a method `available`, which says whether all its files are here.
    """

    name: str
    digests: dict[str, str]
    """SHA-256 of each file that was read."""

    def prepare(self) -> None:
        """Make the data available on this machine. Raises errors.DataUnavailable."""
        ...

    def fit_splits(self) -> tuple[Split, Split]:
        """Train and val; nothing of the test set is read."""
        ...

    def test_split(self) -> Split: ...


class ReadOnce:
    """A source that is read once, however many data modules share it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name = source.name
        self.digests = source.digests
        self.prepare = source.prepare

    def available(self) -> bool:
        """Whether all files are on this machine."""
        return getattr(self.source, "available", lambda: True)()

    def fit_splits(self) -> tuple[Split, Split]:
        return self._fit

    def test_split(self) -> Split:
        return self._test

    @cached_property
    def _fit(self) -> tuple[Split, Split]:
        return self.source.fit_splits()

    @cached_property
    def _test(self) -> Split:
        return self.source.test_split()


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
