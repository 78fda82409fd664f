"""A folder of images, as torchvision's ImageFolder and Hugging Face's imagefolder have it."""

import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from PIL import ImageColor

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import DataUnavailable, check_boolean, quoted, refuse
from cvae_lightning.core.files import sha256_of
from cvae_lightning.core.shapes import Conditions
from cvae_lightning.data.cache import DecodedFolder, decoded_folder, refuse_broken, survey
from cvae_lightning.data.columns import BETWEEN_FLAGS, Found, Labelled, read_columns
from cvae_lightning.data.decoding import Decoding
from cvae_lightning.data.listing import EXTENSIONS, ImageFile, class_names, image_files, split_folders
from cvae_lightning.data.metadata import METADATA, read_metadata
from cvae_lightning.data.pixels import channels_of, size_of
from cvae_lightning.data.sources import Facts
from cvae_lightning.data.splits import Split, split_off

log = logging.getLogger(__name__)

FLAG_SEPARATOR = "|"  # between names in a cell of metadata.csv; alone, it stands for none of them
LABEL = "label"  # the column of the subfolders' names
OWN_NAME = "folder"  # of the data set, which stands for the name of the folder
LARGEST_OWN_SIZE = 256  # pixels; larger images are not trained on at their own size unless that is asked for
PROPOSED = 64  # pixels, at most
NAMES = 5  # of files in a warning


class LabelledFiles(NamedTuple):
    """The files of a folder, in their splits and with their labels."""

    splits: dict[str, list[ImageFile]]
    labels: dict[str, Conditions]
    condition: Condition


class Folder:
    """Images in a folder: a subfolder per class, or a metadata.csv as data/metadata.py describes it, or neither.

    Where there are no folders val and test, each class is split at random, 5:1:1 into train, val and test; one of them
    that is missing is split off train alone. All images are decoded once, to `size` (a side, or height and width) and
    `channels`, and kept in `<data_dir>/cache`. By default they have the size that all files agree on, and colour unless
    all are grey. Images of other proportions are padded with the `background` by default: nothing is cut off, and the
    commands that draw do the same with a user's own images. `fit="crop"` cuts off what is too long.
    """

    def __init__(
        self,
        path: str | None,
        data_dir: str,
        name: str = OWN_NAME,
        size: int | Sequence[int] | None = None,
        channels: int | None = None,
        fit: str = "pad",
        background: str | Sequence[int] = "black",
        skip_broken: bool = False,
        split_seed: int = 0,
        condition: Any = None,
        image_shape: Sequence[int] | None = None,
    ) -> None:
        self.folder = Path(os.path.abspath(str(path))) if path else None  # noqa: PTH100 # without ..
        self.data_dir = Path(str(data_dir)).absolute()
        self.name = self.folder.name if self.folder and name == OWN_NAME else name
        self.size = size_of(size, image_shape)
        self.channels = channels_of(channels, image_shape)
        if fit not in ("pad", "crop"):
            refuse("pad or crop", "data.fit", fit, "pad keeps the whole image; crop fills the whole size.")
        self.fit = fit
        self.background = _colour(background)
        self.skip_broken = check_boolean("data.skip_broken", skip_broken, "true leaves broken images out.")
        self.split_seed = split_seed
        self.condition = condition
        self.digests: dict[str, str] = {}

    @property
    def skipped(self) -> dict[str, str]:
        """Why each file that was left out is not an image, by its name, once the images have been decoded."""
        return self._decoded.record["skipped"]

    def available(self) -> bool:
        """Whether the folder is on this machine."""
        return self.folder is not None and self.folder.is_dir()

    def prepare(self) -> None:
        """Raises UserError if `path` is not a folder, and DataUnavailable if it does not exist."""
        what, key = "a folder of images", "data.path"
        if self.folder is None:
            refuse(what, key, None, "Name it, for example data.path=birds.")
        if not self.folder.exists():
            raise DataUnavailable(
                f"Expected {what} ({key}), got {quoted(self.folder)}, which does not exist. Name another."
            )
        if not self.folder.is_dir():
            unpack = "Unpack it, and name the folder."
            remedy = (
                unpack if self.folder.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z") else "Name a folder."
            )
            refuse(what, key, str(self.folder), remedy)

    def facts(self) -> Facts:
        return Facts(self._decoding.shape, self._labelled.condition)

    def fit_splits(self) -> tuple[Split, Split]:
        """The train and val splits. Files of test are decoded too, so that a broken one is known before training."""
        return self._split("train"), self._split("val")

    def test_split(self) -> Split:
        return self._split("test")

    def _split(self, split: str) -> Split:
        decoded, labelled = self._decoded, self._labelled
        labels = labelled.labels[split]
        if decoded.record["skipped"]:
            kept = [file.name not in decoded.record["skipped"] for file in labelled.splits[split]]
            labels = labels[torch.tensor(kept, dtype=torch.bool)]
        return Split(decoded.images(split), labels, labelled.condition)

    @cached_property
    def _files(self) -> list[ImageFile]:
        self.prepare()
        assert self.folder is not None
        files = image_files(self.folder)
        if not files:
            what = f"images ({', '.join(EXTENSIONS)})"
            refuse(what, "data.path", f"none in {self.folder}", "Name the folder that holds them.")
        return files

    @cached_property
    def _decoding(self) -> Decoding:
        size, channels = self.size, self.channels
        if size is None or channels is None:
            assert self.folder is not None
            found = survey(self.folder, self._files, self.data_dir)
            if found["problems"] and not self.skip_broken:
                refuse_broken(found["problems"], self.folder, len(self._files))
            size = size or _own_size([(size[0], size[1]) for size in found["sizes"]], found["median"])
            channels = channels or (1 if found["is_grey"] else 3)
        return Decoding((channels, *size), self.fit, self.background)

    @cached_property
    def _decoded(self) -> DecodedFolder:
        assert self.folder is not None
        decoded = decoded_folder(self.folder, self._labelled.splits, self._decoding, self.data_dir, self.skip_broken)
        record = decoded.record
        self.digests["images"] = record["content"]
        for file in (METADATA, *(f"{folder}/{METADATA}" for folder in self._split_folders.values())):
            if (self.folder / file).is_file():
                self.digests[file] = sha256_of(self.folder / file)
        if skipped := record["skipped"]:
            log.warning("Left out, because they are not images: %s (%d in all).", _listed(list(skipped)), len(skipped))
        for split, names in record["shared"].items():
            if names:
                what = "Images of %s that are also in train, which flatters its metrics: %s (%d in all)."
                log.warning(what, split, _listed(names), len(names))
        return decoded

    @cached_property
    def _split_folders(self) -> dict[str, str]:
        assert self.folder is not None
        return split_folders(self._files, self.folder)

    @cached_property
    def _labelled(self) -> LabelledFiles:
        columns = self._columns()
        provisional = self._read(columns, np.arange(len(self._files)), self.condition)
        positions = self._positions(provisional)
        kept = [column.name for column in provisional.condition.columns]  # without those that say nothing
        asked = kept if self.condition is None else self.condition
        condition, y = self._read(columns, positions["train"].numpy(), asked)
        _check_names(condition)
        splits = {split: [self._files[at] for at in place.tolist()] for split, place in positions.items()}
        return LabelledFiles(splits, {split: y[place] for split, place in positions.items()}, condition)

    def _read(self, columns: dict[str, Found], train: npt.NDArray[np.int64], condition: Any) -> Labelled:
        """The condition and the labels of all files, with the units of the `train` files."""
        if not columns and not condition:
            return Labelled(Condition(), torch.zeros(len(self._files), dtype=torch.long))
        return read_columns(columns, train, condition, lambda row: self._files[row].name)

    def _columns(self) -> dict[str, Found]:
        """What is known of each image: the columns of metadata.csv, or the subfolder of each class."""
        assert self.folder is not None
        names = [file.name for file in self._files]
        table = read_metadata(self.folder, list(self._split_folders.values()), names)
        asked = [self.condition] if isinstance(self.condition, str) else list(self.condition or ())
        columns = {name: _found(cells) for name, cells in (table or {}).items()}
        if table is not None and (LABEL not in asked or LABEL in table):
            return columns
        classes = class_names(self._files, self._split_folders, self.folder)
        if classes is None:
            return columns
        name = str(asked[0]) if table is None and len(asked) == 1 else LABEL
        return {name: Found(np.array(classes, np.str_), "classes"), **columns}

    def _positions(self, labelled: Labelled) -> dict[str, torch.Tensor]:
        """The positions of each split's files in the sorted list of all files, in that order."""
        condition, y = labelled
        folders = self._split_folders or {"train": ""}
        tops = [file.name.partition("/")[0] for file in self._files] if self._split_folders else [""] * len(y)
        positions = {
            split: torch.tensor([at for at, top in enumerate(tops) if top == folder], dtype=torch.long)
            for split, folder in folders.items()
        }
        for split, share in (("test", 1 / 7), ("val", 1 / 6)):
            if split not in positions:
                train = positions["train"]
                rest, part = _split_off(train, Split(train, y[train], condition), share, self.split_seed, split)
                positions |= {"train": rest, split: part}
        return {split: positions[split].sort().values for split in ("train", "val", "test")}


def _found(cells: Sequence[str]) -> Found:
    """A column of text, which is flags if some cell has several names."""
    if any(FLAG_SEPARATOR in cell for cell in cells):
        return Found(np.array([cell.replace(FLAG_SEPARATOR, BETWEEN_FLAGS) for cell in cells], np.str_), "flags")
    return Found(np.array(cells, np.str_))


def _check_names(condition: Condition) -> None:
    """Raises UserError for names of columns, classes or flags that a configuration cannot hold."""
    for name in (name for column in condition.columns for name in (column.name, *getattr(column, "names", ()))):
        if "${" in name or name == "???" or not name.isprintable():
            refuse("names in UTF-8, without ${ and other than ???", "data.condition", name, "Rename it.")


def _split_off(
    train: torch.Tensor, split: Split, share: float, seed: int, name: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """`train` without a share of each class, and that share; of all images if no class is large enough."""
    rest, part = split_off(split, share, seed, stratified=True)
    if not len(part.labels):
        rest, part = split_off(split, share, seed)
        if len(part.labels) and split.condition and split.condition.main:
            log.warning("No class has enough images for a share of %s: it is drawn from all images alike.", name)
    if not len(part.labels):
        got = f"{len(train)} images to draw {name} from"
        refuse("at least 5 images", "data.path", got, f"Add images, or a folder {name} beside train.")
    return rest.images, part.images


def _own_size(sizes: list[tuple[int, int]], median: float) -> tuple[int, int]:
    """Height and width that all images have. Raises UserError, proposing a size, if they have none or are large."""
    if not sizes:
        refuse("images", "data.path", "none that can be read", "Name another folder.")
    width, height = sizes[0]
    if len(sizes) > 1 or max(width, height) > LARGEST_OWN_SIZE:
        _propose_size(sizes, median)
    return height, width


def _propose_size(sizes: list[tuple[int, int]], median: float) -> NoReturn:
    smallest, largest = ("x".join(map(str, reversed(pick(sizes, key=lambda s: s[0] * s[1])))) for pick in (min, max))
    got = f"images of {smallest}" if len(sizes) == 1 else f"images of {len(sizes)} sizes from {smallest} to {largest}"
    what = "a size to which the images are brought"
    refuse(what, "data.size", got, f"For example data.size={min(round(median), PROPOSED)}; data.fit says how.")


def _colour(background: Any) -> tuple[int, int, int]:
    """Red, green and blue in 0..255 of a colour by its name, or as a list."""
    try:
        levels = list(ImageColor.getrgb(background)[:3] if isinstance(background, str) else background)
    except (ValueError, TypeError):
        levels = []
    if len(levels) != 3 or not all(type(level) is int and 0 <= level <= 255 for level in levels):
        refuse("a colour", "data.background", background, "For example black, white, '#808080' or [128,128,128].")
    return levels[0], levels[1], levels[2]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMES]) + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")
