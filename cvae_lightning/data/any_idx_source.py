"""The user's own IDX files: images of any size with any labels, in the layout of MNIST or a single pair."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from cvae_lightning.core.errors import DataUnavailable, UserError, quoted, refuse
from cvae_lightning.data.arrays import TEST, TRAIN, VAL, WHOLE, ArraySource
from cvae_lightning.data.columns import Found
from cvae_lightning.data.idx import read_any, shape_of
from cvae_lightning.data.pixels import Array, refuse_array, stored_shape

PART = re.compile(r"(?<![a-z0-9])(train|val|validation|t10k|test)(?![a-z0-9])")
PARTS = {"train": TRAIN, "val": VAL, "validation": VAL, "t10k": TEST, "test": TEST}
IMAGES, LABELS, LABEL = "images", "labels", "label"
ENDING = re.compile(r"[-.]idx\d+-[a-z]+(\.gz)?$")
NAMES = "train-images-idx3-ubyte and train-labels-idx1-ubyte"


class Pair(NamedTuple):
    """The files of one part of a data set."""

    images: Path
    labels: Path | None


class AnyIdxSource(ArraySource):
    """The data set in the IDX files of a folder, or in one file of images and the file of labels beside it.

    A file of labels is named as the images are, with "labels" instead of "images"; each file may be gzip. In a folder,
    "train", "val", "test" and "t10k" in the names are official parts. Images have 3 dimensions, or 4 if they are in
    colour.
    """

    def __init__(self, name: str, path: Any, **shared: Any) -> None:
        """`shared` are the arguments of ArraySource."""
        super().__init__(name, **shared)
        if not path:
            refuse("a folder or a file of images", "data.path", path, "As in data=idx data.path=<folder>.")
        self.path = Path(str(path))

    def available(self) -> bool:
        return self.path.exists()

    def prepare(self) -> None:
        if not self.available():
            got = f"got {quoted(self.path)}, which does not exist"
            raise DataUnavailable(f"Expected IDX files (data.path), {got}. Name the folder that holds {NAMES}.")

    def _parts(self) -> Sequence[str]:
        return [part for part in (TRAIN, VAL, TEST, WHOLE) if part in self._pairs]

    def _number(self, part: str) -> int:
        return shape_of(self._pairs[part].images)[0]

    def _shape(self) -> tuple[int, int, int]:
        shapes = {pair.images: self._shape_of(pair.images) for pair in self._pairs.values()}
        first = next(iter(shapes))
        for file, shape in shapes.items():
            if shape != shapes[first]:
                got = f"{shapes[first]} in {first} and {shape} in {file} (channels, height, width)"
                raise UserError(f"Expected images of one shape (data.path), got {got}. Resize them.")
        return shapes[first]

    def _images(self, part: str) -> Array:
        return self._read(self._pairs[part].images)

    def _columns(self, part: str) -> dict[str, Found]:
        """The labels; none if no part has any."""
        file = self._pairs[part].labels
        if file is None and not any(pair.labels for pair in self._pairs.values()):
            return {}
        if file is None:
            raise UserError(
                f"Expected labels for each part (data.path), got none beside {self._pairs[part].images}. "
                "Add the file, or remove the others."
            )
        values = self._read(file)
        if len(values) != self._number(part):
            got = f"{len(values)} for {self._number(part)} in {file}"
            raise UserError(f"Expected one label per image (data.path), got {got}. Replace the file.")
        is_classes = values.dtype.kind in "iu" and (values.ndim == 1 or values.shape[1] == 1)
        return {LABEL: Found(values, "classes" if is_classes else None)}

    def _read(self, path: Path) -> Array:
        array, self.digests[path.name.removesuffix(".gz")] = read_any(path)
        return array

    def _shape_of(self, images: Path) -> tuple[int, int, int]:
        try:
            return stored_shape(shape_of(images))
        except ValueError as error:
            refuse_array(error, str(images), self.key)

    @cached_property
    def _pairs(self) -> dict[str, Pair]:
        """The files of each part."""
        if not self.path.is_dir():
            return {WHOLE: Pair(self.path, _labels_of(self.path))}
        pairs: dict[str, Pair] = {}
        for file in sorted(path for path in self.path.iterdir() if _holds_images(path)):
            words = PART.findall(file.name)
            part = PARTS[words[-1]] if words else WHOLE
            if part in pairs and pairs[part].images != file.with_name(file.name.removesuffix(".gz")):
                got = f"{pairs[part].images.name} and {file.name}"
                raise UserError(
                    f"Expected one file of images for {part} in {self.path} (data.path), got {got}. Name one."
                )
            pairs.setdefault(part, Pair(file, _labels_of(file)))
        if TRAIN not in pairs and (WHOLE not in pairs or len(pairs) > 1):
            got = f"images of {', '.join(pairs)} only" if pairs else "none"
            raise DataUnavailable(
                f"Expected IDX files in {self.path} (data.path), such as {NAMES}, got {got}. Name the folder with them."
            )
        if WHOLE in pairs and len(pairs) > 1:
            raise UserError(
                f"Expected train, val or test in the name of each file in {self.path} (data.path), got "
                f"{pairs[WHOLE].images.name}. Rename it, or move it away."
            )
        return pairs


def _holds_images(path: Path) -> bool:
    """Whether the name of a file says that it is IDX and holds images."""
    return IMAGES in path.name and ENDING.search(path.name) is not None and path.is_file()


def _labels_of(images: Path) -> Path | None:
    """The file of labels beside a file of images; None if there is none."""
    stem = ENDING.sub("", images.name)
    wanted = stem.replace(IMAGES, LABELS)
    if wanted == stem:
        return None
    files = sorted(images.parent.iterdir())
    return next((file for file in files if ENDING.search(file.name) and ENDING.sub("", file.name) == wanted), None)
