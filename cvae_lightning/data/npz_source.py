"""The images and columns of an .npz file, as numpy.savez writes it."""

import logging
import re
import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from cvae_lightning.core.capacity import check_memory
from cvae_lightning.core.errors import DataUnavailable, UserError, quoted, refuse
from cvae_lightning.core.files import sha256_of
from cvae_lightning.data.arrays import TEST, TRAIN, VAL, WHOLE, ArraySource
from cvae_lightning.data.columns import Found, Kind
from cvae_lightning.data.pixels import Array, refuse_array, stored_shape

log = logging.getLogger(__name__)

IMAGES, LABEL = "images", "label"
LABELS = (LABEL, "labels")
PARTS = (TRAIN, VAL, TEST)
KERAS = {"x_train": "train_images", "y_train": "train_labels", "x_test": "test_images", "y_test": "test_labels"}
WANTED = "the arrays images and labels, or train_images, train_labels, test_images, test_labels"


class NpzSource(ArraySource):
    """The data set in one .npz file, without pickled objects.

    The file holds `images`, or `train_images`, `test_images` and perhaps `val_images`, as in MedMNIST; or the names of
    Keras' mnist.npz. Every other array with a value per image is a column of the condition, under its own name, but
    `labels` is the column `label`; `train_age`, `val_age` and `test_age` are the column `age`. `class_names` are the
    names of the labels, `<column>_names` those of another column.

    Integers in `labels` are classes, however many there are, and so are floats that are all whole; -1 is unknown if
    there is a class 0 or if there are names.
    """

    def __init__(self, name: str, path: Any, **shared: Any) -> None:
        """`shared` are the arguments of ArraySource."""
        super().__init__(name, **shared)
        if not path:
            refuse("an .npz file", "data.path", path, "Name one, as in data=npz data.path=images.npz.")
        self.path = Path(str(path))

    def available(self) -> bool:
        return self.path.is_file()

    def prepare(self) -> None:
        if not self.available():
            raise DataUnavailable(
                f"Expected an .npz file (data.path), got {quoted(self.path)}. Name a file that exists."
            )

    def _parts(self) -> Sequence[str]:
        return list(self._keys)

    def _number(self, part: str) -> int:
        return self._headers[self._keys[part]][0]

    def _shape(self) -> tuple[int, int, int]:
        shapes = {key: self._shape_of(key) for key in self._keys.values()}
        first = next(iter(shapes))
        for key, shape in shapes.items():
            if shape != shapes[first]:
                got = f"{shapes[first]} in {first} and {shape} in {key} (channels, height, width)"
                self._refuse("images of one shape", got, "Resize them.")
        return shapes[first]

    def _images(self, part: str) -> Array:
        self.digests[self.path.name] = sha256_of(self.path)
        return self._array(self._keys[part])

    def _columns(self, part: str) -> dict[str, Found]:
        start = sum(self._number(other) for other in self._parts()[: self._parts().index(part)])
        rows = slice(start, start + self._number(part))
        return {name: found._replace(values=found.values[rows]) for name, found in self._all_columns.items()}

    @cached_property
    def _keys(self) -> dict[str, str]:
        """The array of the images of each part."""
        keys = {part: f"{part}_{IMAGES}" for part in PARTS if f"{part}_{IMAGES}" in self._headers}
        if IMAGES in self._headers:
            return {WHOLE: IMAGES}
        if TRAIN not in keys:
            self._refuse(WANTED, f"the arrays {', '.join(self._headers) or 'none'}", "Rename them.")
        return keys

    @cached_property
    def _all_columns(self) -> dict[str, Found]:
        """The columns of all parts one after another: the labels, then the others in the order of the file."""
        found = {}
        names = dict.fromkeys(_column_name(key, WHOLE in self._keys) for key in self._headers)
        for name in sorted(filter(None, names), key=lambda name: name not in LABELS):
            keys = [name if part == WHOLE else f"{part}_{name}" for part in self._parts()]
            if not self._is_column(name, keys):
                continue
            values = np.concatenate([self._array(key) for key in keys])
            key = "class_names" if name in LABELS else f"{name}_names"
            class_names = self._names(key) if key in self._headers else None
            if name in LABELS:
                found[LABEL] = _labels(values, class_names)
            else:
                found[name] = Found(values, names=class_names)
        return found

    def _is_column(self, name: str, keys: Sequence[str]) -> bool:
        """Whether the arrays have a value per image; a warning says if they do not. Wrong labels are refused."""
        sizes = [self._number(part) for part in self._parts()]
        missing = [key for key in keys if key not in self._headers]
        shapes = [self._headers.get(key, ()) for key in keys]
        one_shape = len({shape[1:] for shape in shapes}) == 1 and len(shapes[0]) <= 2
        if not missing and one_shape and [shape[:1] for shape in shapes] == [(size,) for size in sizes]:
            return True
        got = f"no {missing[0]}" if missing else f"the shapes {shapes} for {sizes} images"
        if name in LABELS:
            self._refuse("one label per image", got, "Leave the array out, or complete it.")
        log.warning("%s has %s: it is not part of the condition (%s).", name, got, self.path)
        return False

    @cached_property
    def _headers(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array, by its name; Keras' names are replaced."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                self._stored_names = {
                    KERAS.get(key, key): key for key in (name.removesuffix(".npy") for name in archive.namelist())
                }
                return {name: _shape_in(archive, f"{key}.npy") for name, key in self._stored_names.items()}
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError) as error:
            self._refuse("an .npz file", f"a file that is not one: {error}", "Write it with numpy.savez.")

    def _array(self, name: str) -> Array:
        key = self._stored_names[name]
        try:
            with np.load(self.path, allow_pickle=False) as content:
                check_memory(content.zip.getinfo(f"{key}.npy").file_size, f"The array {key}", "Store fewer images.")
                array: Array = content[key]
                return array
        except UserError:
            raise
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError) as error:
            reason = "Python objects, which are never loaded" if "pickle" in str(error) else str(error)
            self._refuse(f"numbers or text in the array {key}", reason, "Write it anew, with a plain dtype.")

    def _names(self, key: str) -> list[str]:
        array = self._array(key)
        text = np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array
        if text.ndim != 1 or len(np.unique(text)) != len(text):
            self._refuse(f"a list of different names in the array {key}", f"the shape {text.shape}", "Correct it.")
        return [str(name) for name in text]

    def _shape_of(self, key: str) -> tuple[int, int, int]:
        try:
            return stored_shape(self._headers[key])
        except ValueError as error:
            refuse_array(error, f"{key} of {self.path}", self.key)

    def _refuse(self, what: str, got: str, remedy: str) -> NoReturn:
        raise UserError(f"Expected {what} in {self.path} (data.path), got {got}. {remedy}")


def _shape_in(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """The shape of an array in the archive, of which only the header is read. Raises ValueError if it is not one."""
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape: tuple[int, ...] = read(file)[0]
        return shape


def _column_name(key: str, is_whole: bool) -> str | None:
    """The name of the column that the array `key` belongs to; None for images and for names."""
    match = re.fullmatch(r"(train|val|test)_(.+)", key)
    name = key if is_whole else match[2] if match else None
    return None if name is None or name == IMAGES or name.endswith("_names") else name


def _labels(values: Array, names: list[str] | None) -> Found:
    """The labels with nan for -1, if that is not a class, and their kind."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    kind: Kind | None = None
    if values.ndim == 1:
        if values.dtype.kind in "if" and ((values == 0).any() or names) and np.nanmin(values, initial=0) == -1:
            values = np.where(values == -1, np.nan, values)
        known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        is_whole = values.dtype.kind != "f" or bool((np.floor(known) == known).all() and np.isfinite(known).all())
        kind = "classes" if is_whole else None
    return Found(values, kind, names)
