"""What data sets in arrays share: which images are train, val and test, how they look, and what they are labelled with.

A source of this kind holds its images in memory.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import check_seed, refuse
from cvae_lightning.data.columns import Found, described_by, read_columns
from cvae_lightning.data.pixels import Array, Look, refuse_array
from cvae_lightning.data.sources import Facts
from cvae_lightning.data.splits import Split, split_off

log = logging.getLogger(__name__)

TRAIN, VAL, TEST, WHOLE = "train", "val", "test", "whole"
SMALLEST_STRATUM = 4  # images, of which a seventh and a sixth are at least one

Rows = npt.NDArray[np.int64]
Columns = Mapping[str, Found]


class Taken(NamedTuple):
    """The images of a split: `rows` of an official `part`; None are all of them."""

    part: str
    rows: Rows | None


class ArraySource:
    """A data set whose official parts are arrays; a subclass reads them.

    The parts are `train` and perhaps `val` and `test`, or `whole` alone. A split that is no part of its own is split
    off at random with `split_seed`, of the whole or of train: 1/7 for test, and 1/6 of the rest for val. The same share
    of each class is taken if every class has four images or more.
    """

    def __init__(
        self,
        name: str,
        condition: Any = None,
        size: Any = None,
        channels: Any = None,
        fit: Any = "pad",
        split_seed: Any = 0,
        image_shape: Any = None,
        key: str = "data.path",
    ) -> None:
        """`condition` is data.condition, see columns.py; `key` is what a person changes to name other files.

        `image_shape`, which a run directory states, decides where `size` and `channels` do not.
        """
        self.name = name
        self.key = key
        self.look = Look.from_config(size, channels, fit, image_shape)
        self.split_seed = check_seed("data.split_seed", split_seed)
        self.asked = condition
        self.digests: dict[str, str] = {}
        self._seen: set[int] = set()

    def prepare(self) -> None:
        """Make the data available on this machine. Raises DataUnavailable."""
        raise NotImplementedError

    def _parts(self) -> Sequence[str]:
        """The names of the official parts."""
        raise NotImplementedError

    def _number(self, part: str) -> int:
        """The number of images in an official part."""
        raise NotImplementedError

    def _shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images as they are stored."""
        raise NotImplementedError

    def _columns(self, part: str) -> Columns:
        """What is known of the images of an official part, the same columns for each part."""
        raise NotImplementedError

    def _images(self, part: str) -> Array:
        """The images of an official part, in a layout of pixels.stored_shape; records the digests of its files too."""
        raise NotImplementedError

    def facts(self) -> Facts:
        """The shape of the images as the model gets them, and their condition."""
        return Facts(self.look.shape_of(self._shape()), self._condition)

    def fit_splits(self) -> tuple[Split, Split]:
        train, val = self._splits(TRAIN, VAL)
        self._seen = {*_fingerprints(train), *_fingerprints(val)}
        return train, val

    def test_split(self) -> Split:
        """The test split. A warning says how many of its images are in train or val too, if these have been read."""
        (test,) = self._splits(TEST)
        if shared := sum(image in self._seen for image in _fingerprints(test)):
            share = f"{shared:,} of the {len(test.labels):,} test images of {self.name}"
            log.warning("%s are also in train or val, pixel by pixel: test metrics flatter the model.", share)
        return test

    @cached_property
    def _condition(self) -> Condition:
        """The condition that data.condition describes, or that the columns of all parts make.

        The means and ranges of numbers are those of train.
        """
        if (described := described_by(self.asked)) is not None:
            return described
        tables = {part: self._columns(part) for part in self._parts()}
        columns = {
            name: found._replace(values=self._joined(name, [table[name].values for table in tables.values()]))
            for name, found in next(iter(tables.values())).items()
        }
        part, rows = self._taken[TRAIN]  # the first part
        train = np.arange(self._number(part)) if rows is None else rows
        return read_columns(columns, train, self.asked).condition

    def _joined(self, name: str, parts: Sequence[Array]) -> Array:
        """The values of all parts one after another."""
        shapes = [values.shape for values in parts]
        if len({shape[1:] for shape in shapes}) > 1:
            refuse(f"the same number of values per image in all parts of {name}", self.key, shapes, "Correct them.")
        return np.concatenate(parts)

    @cached_property
    def _taken(self) -> dict[str, Taken]:
        first = WHOLE if WHOLE in self._parts() else TRAIN
        groups = strata(self._columns(first).values(), self._number(first))
        return taken(self._parts(), groups, self.split_seed)

    def _splits(self, *names: str) -> list[Split]:
        """The splits of these names; each part is read once."""
        splits, read = [], ""
        for name in names:
            part, rows = self._taken[name]
            if part != read:
                read, images = part, self._images(part)
                everything = np.arange(len(images))
                labels = read_columns(self._columns(part), everything, self._condition.described()).labels
            try:
                pixels = self.look.bytes_of(images if rows is None else images[rows])
            except ValueError as error:
                refuse_array(error, f"{part} of {self.name}", self.key)
            mine = torch.from_numpy(everything if rows is None else rows)
            splits.append(Split(pixels, labels[mine], self._condition))
        return splits


def taken(parts: Sequence[str], groups: Rows, seed: int) -> dict[str, Taken]:
    """Which images of the official `parts` are train, val and test; see ArraySource.

    `groups` numbers the class of each image of train, or of the whole.
    """
    rows = np.arange(len(groups))
    first = WHOLE if WHOLE in parts else TRAIN
    splits = {part: Taken(part, None) for part in (TRAIN, VAL, TEST) if part in parts}
    for part, share in ((TEST, 1 / 7), (VAL, 1 / 6)):
        if part not in parts:
            rows, split = _divided(rows, groups, share, seed)
            splits |= {TRAIN: Taken(first, rows), part: Taken(first, split)}
    return splits


def strata(columns: Iterable[Found], num: int) -> Rows:
    """The group of each of `num` images, of which all splits have the same share.

    These are the values of the first column of which each value has at least four images; without such a column, all
    images are one group.
    """
    for column in columns:
        values = np.asarray(column.values)
        numbers = np.unique(values, axis=0 if values.ndim == 2 else None, return_inverse=True)[1].reshape(-1)
        if len(numbers) and np.bincount(numbers).min() >= SMALLEST_STRATUM:
            return numbers.astype("i8")
    return np.zeros(num, "i8")


def _divided(rows: Rows, groups: Rows, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """The rows without and with those that are split off at random, both in order."""
    numbered = Split(torch.from_numpy(rows), torch.from_numpy(groups[rows]))  # the rows stand for their images
    rest, part = split_off(numbered, fraction, seed, stratified=True)
    return rest.images.sort().values.numpy(), part.images.sort().values.numpy()


def _fingerprints(split: Split) -> list[int]:
    """A number for each image, equal for equal images within this process."""
    return [hash(image.tobytes()) for image in split.images.numpy()]
