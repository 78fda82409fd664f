"""Data sets that torchvision's classes download and check: CIFAR, SVHN, EMNIST, USPS, QMNIST and Omniglot."""

import contextlib
import io
import logging
import os
import pickle
import shutil
import socket
import string
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
from filelock import FileLock
from PIL import Image

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import DataUnavailable, UserError, check_boolean, refuse
from cvae_lightning.core.files import sha256_of
from cvae_lightning.data.arrays import TEST, TRAIN, WHOLE, ArraySource
from cvae_lightning.data.columns import Found, read_columns
from cvae_lightning.data.download import LOCK, SECONDS_WITHOUT_DATA, reason_of, remove_empty
from cvae_lightning.data.pixels import Array

log = logging.getLogger(__name__)

LABEL, SUPERCLASS, ALPHABET = "label", "superclass", "alphabet"
SPLITS = {
    "EMNIST": ("byclass", "bymerge", "balanced", "letters", "digits", "mnist"),
    "Omniglot": ("background", "evaluation", "all"),
}
SHAPES = {
    "CIFAR10": (3, 32, 32),
    "CIFAR100": (3, 32, 32),
    "SVHN": (3, 32, 32),
    "EMNIST": (1, 28, 28),
    "QMNIST": (1, 28, 28),
    "USPS": (1, 16, 16),
    "Omniglot": (1, 105, 105),
}
"""Channels, height and width of the images of each class in torchvision.datasets that TorchvisionSource reads."""


class TorchvisionSource(ArraySource):
    """A data set that `dataset`, a class in torchvision.datasets, downloads to data_dir and checks.

    `data_dir` is what torchvision calls root, so what was downloaded with torchvision is found there. `split` chooses
    one of the six splits of EMNIST, or a set of Omniglot, whose images have no official test set. `extra` adds SVHN's
    extra images to train. CIFAR-100 has the columns label and superclass, Omniglot has label and alphabet.
    """

    def __init__(
        self,
        name: str,
        dataset: str,
        data_dir: Any,
        split: str | None = None,
        extra: bool = False,
        **shared: Any,
    ) -> None:
        """`shared` are the arguments of ArraySource."""
        super().__init__(name, **shared, key="data_dir")
        if not data_dir:
            refuse("a folder", "data_dir", data_dir, "Name a folder, or leave data_dir out to use data/.")
        if dataset not in SHAPES:
            refuse(f"one of {', '.join(SHAPES)}", "data.module.source.dataset", dataset, "Use data=idx for others.")
        if split not in SPLITS.get(dataset, (None,)):
            known = " or ".join(map(str, SPLITS.get(dataset, ("null",))))
            refuse(known, "data.split", split, "Each is a data set of its own.")
        self.root = Path(str(data_dir))
        self.dataset = dataset
        self.split = split
        self.extra = check_boolean("data.extra", extra, "true adds 531,131 images to train.")
        self._labels: dict[str, dict[str, Array]] = {}
        self._kept: dict[str, Array] = {}  # the images of the part that was read last, until they are asked for

    def available(self) -> bool:
        return not self._missing()

    def prepare(self) -> None:
        """Download what is missing. What is there already is neither downloaded again nor overwritten."""
        if self.available():
            return
        made = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / LOCK):
                if not self.available():  # another process may have downloaded it meanwhile
                    self._download()
        except Exception as error:  # torchvision raises anything for a server that does not answer as it expects
            missing = self._missing()
            lacking = "none" if len(missing) == len(set(chain(*self._files.values()))) else f"no {', '.join(missing)}"
            archives = [self.root / archive for archive in self._archives]
            reason = reason_of(error).partition("\n")[0]
            raise DataUnavailable(
                f"Expected the files of {self.name} in {self.root} (data_dir), got {lacking} ({reason}). "
                f"Put {' and '.join(archive.name for archive in archives)} into {archives[0].parent}, "
                "or run once with a network connection."
            ) from error
        finally:
            remove_empty(made)

    def _parts(self) -> Sequence[str]:
        return list(self._files)

    def _number(self, part: str) -> int:
        return len(self._columns(part)[LABEL].values)

    def _shape(self) -> tuple[int, int, int]:
        return SHAPES[self.dataset]

    def _columns(self, part: str) -> Mapping[str, Found]:
        if part not in self._labels:
            self._kept = {part: self._read(part)}
        return {name: Found(values, names=self._names[name]) for name, values in self._labels[part].items()}

    def _images(self, part: str) -> Array:
        return self._kept.pop(part) if part in self._kept else self._read(part)

    @cached_property
    def _condition(self) -> Condition:
        """The condition that the names of the classes make, for which no image has to be read."""
        num = max(map(len, self._names.values()))
        each_once = {name: Found(np.arange(num) % len(names), names=names) for name, names in self._names.items()}
        return read_columns(each_once, np.arange(num), self.asked).condition

    @cached_property
    def _names(self) -> dict[str, Sequence[str]]:
        """The names of the classes in each column."""
        match self.dataset:
            case "CIFAR10":
                return {LABEL: self._meta["label_names"]}
            case "CIFAR100":
                return {LABEL: self._meta["fine_label_names"], SUPERCLASS: self._meta["coarse_label_names"]}
            case "EMNIST":
                return {LABEL: [name for name in self._class.classes_split_dict[self.split] if name != "N/A"]}
            case "Omniglot":
                characters = list(dict.fromkeys(character for _, character, _ in self._drawings))
                return {LABEL: characters, ALPHABET: sorted({name.partition("/")[0] for name in characters})}
        return {LABEL: string.digits}

    @cached_property
    def _class(self) -> Any:
        from torchvision import datasets  # slow to import

        return getattr(datasets, self.dataset)

    @cached_property
    def _files(self) -> dict[str, list[str]]:
        """The files of each official part, relative to data_dir."""
        svhn = {TRAIN: ["train", "extra"] if self.extra else ["train"], TEST: ["test"]}
        match self.dataset:
            case "CIFAR10":
                parts = {TRAIN: [f"data_batch_{number}" for number in range(1, 6)], TEST: ["test_batch"]}
                return _inside("cifar-10-batches-py", {part: [*names, "batches.meta"] for part, names in parts.items()})
            case "CIFAR100":
                return _inside("cifar-100-python", {TRAIN: ["train", "meta"], TEST: ["test", "meta"]})
            case "SVHN":
                return {part: [f"{name}_32x32.mat" for name in names] for part, names in svhn.items()}
            case "USPS":
                return {TRAIN: ["usps.bz2"], TEST: ["usps.t.bz2"]}
            case "Omniglot":
                sets = SPLITS["Omniglot"][:2] if self.split == "all" else [self.split]
                return _inside("omniglot-py", {WHOLE: [f"images_{name}.zip" for name in sets]})
        prefix, labels = (f"emnist-{self.split}", "idx1-ubyte") if self.dataset == "EMNIST" else ("qmnist", "idx2-int")
        kinds = "images-idx3-ubyte", f"labels-{labels}"
        return _inside(
            f"{self.dataset}/raw", {part: [f"{prefix}-{part}-{kind}" for kind in kinds] for part in (TRAIN, TEST)}
        )

    @cached_property
    def _archives(self) -> dict[str, str]:
        """The official MD5 of each file that is downloaded, by its path relative to data_dir."""
        official = self._class
        files = list(chain(*self._files.values()))
        match self.dataset:
            case "CIFAR10" | "CIFAR100":
                return {official.filename: official.tgz_md5}
            case "SVHN" | "USPS":
                return {name: md5 for _, name, md5 in official.split_list.values() if name in files}
            case "EMNIST":
                return {f"EMNIST/raw/{PurePosixPath(official.url).name}": official.md5}
            case "Omniglot":
                return {file: official.zips_md5[PurePosixPath(file).stem] for file in files}
        resources = [*official.resources["train"], *official.resources["test"]]
        return {f"QMNIST/raw/{PurePosixPath(url).name}": md5 for url, md5 in resources}

    @cached_property
    def _arguments(self) -> dict[str, list[dict[str, Any]]]:
        """The arguments of torchvision's class for each part, for which there may be several objects."""
        match self.dataset:
            case "SVHN":
                return {TRAIN: [{"split": "train"}, *([{"split": "extra"}] * self.extra)], TEST: [{"split": "test"}]}
            case "Omniglot":
                sets = SPLITS["Omniglot"][:2] if self.split == "all" else [self.split]
                return {WHOLE: [{"background": name == "background"} for name in sets]}
        split = {"split": self.split} if self.split else {}
        return {part: [{**split, "train": part == TRAIN}] for part in (TRAIN, TEST)}

    def _missing(self) -> list[str]:
        files = dict.fromkeys(chain(*self._files.values()))
        return [file for file in files if not (self.root / file).is_file()]

    def _download(self) -> None:
        """Let torchvision download and unpack in a folder of its own, and move the files once all are complete.

        torchvision itself would take a file that was half unpacked for the whole, and wait for a server for ever.
        Archives that are in data_dir already are used if they are the official ones.
        """
        for left in self.root.glob(f".{self.dataset}-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self.root, prefix=f".{self.dataset}-") as folder, _time_limit():
            place = Path(folder)
            for archive, md5 in self._archives.items():
                if self._is_official(self.root / archive, md5):
                    (place / archive).parent.mkdir(parents=True, exist_ok=True)
                    (place / archive).symlink_to((self.root / archive).absolute())
            for arguments in chain(*self._arguments.values()):
                self._class(folder, download=True, **arguments)
            for file in dict.fromkeys([*self._archives, *chain(*self._files.values())]):
                if not (place / file).is_symlink():
                    (self.root / file).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(place / file, self.root / file)

    def _is_official(self, file: Path, md5: str) -> bool:
        from torchvision.datasets.utils import check_integrity

        return bool(check_integrity(file, md5))

    def _read(self, part: str) -> Array:
        """The images of a part; keeps its labels, and records the digests of its files."""
        try:
            images, labels = self._read_drawings() if self.dataset == "Omniglot" else self._read_objects(part)
        except UserError:
            raise
        except Exception as error:  # whatever damaged files lead to
            self._refuse(self._files[part], str(error) or type(error).__name__)
        self._labels[part] = labels
        self.digests.update({PurePosixPath(file).name: sha256_of(self.root / file) for file in self._files[part]})
        return images

    def _read_objects(self, part: str) -> tuple[Array, dict[str, Array]]:
        """The images and the class numbers of the objects that torchvision makes of a part."""
        if self.dataset == "USPS":  # whose class checks downloads only
            self._check_archives()
        # For CIFAR, the class compares the MD5 of each file before it unpickles it, which could run code.
        made = [self._class(str(self.root), **arguments) for arguments in self._arguments[part]]
        images = np.concatenate([np.asarray(each.data) for each in made])
        labels = np.concatenate([np.asarray(each.labels if self.dataset == "SVHN" else each.targets) for each in made])
        match self.dataset:
            case "CIFAR100":
                content = self._unpickled(self.root / self._files[part][0])
                return images, {LABEL: labels, SUPERCLASS: np.asarray(content["coarse_labels"])}
            case "EMNIST":
                first = 1 if self.split == "letters" else 0
                return images.transpose(0, 2, 1), {LABEL: labels - first}  # the files hold each image transposed
            case "QMNIST":
                return images, {LABEL: labels[:, 0]}  # the other columns are of NIST's catalogue
        return images, {LABEL: labels}

    def _read_drawings(self) -> tuple[Array, dict[str, Array]]:
        """The images of Omniglot, white on black, from its archives: its class would read a half-unpacked folder."""
        images = []
        for file in self._files[WHOLE]:
            with zipfile.ZipFile(self.root / file) as archive:
                for archived, _, name in self._drawings:
                    if archived == file:
                        picture = Image.open(io.BytesIO(archive.read(name)))
                        images.append(255 - np.asarray(picture.convert("L")))
        numbers = {column: {name: n for n, name in enumerate(names)} for column, names in self._names.items()}
        characters = [character for _, character, _ in self._drawings]
        return np.stack(images), {
            LABEL: np.array([numbers[LABEL][name] for name in characters]),
            ALPHABET: np.array([numbers[ALPHABET][name.partition("/")[0]] for name in characters]),
        }

    @cached_property
    def _drawings(self) -> list[tuple[str, str, str]]:
        """The archive, the character (Alphabet/character01) and the name of each image of Omniglot, in order."""
        self._check_archives()
        found = []
        for file in self._files[WHOLE]:
            with zipfile.ZipFile(self.root / file) as archive:
                for name in sorted(archive.namelist()):
                    parts = PurePosixPath(name).parts
                    if len(parts) == 4 and name.endswith(".png"):
                        found.append((file, "/".join(parts[1:3]), name))
        return found

    def _check_archives(self) -> None:
        for archive, md5 in self._archives.items():
            if not self._is_official(self.root / archive, md5):
                self._refuse([archive], f"{archive} has another MD5.")

    def _refuse(self, files: Sequence[str], reason: str) -> NoReturn:
        raise UserError(
            f"Expected the official files of {self.name} in {self.root} (data_dir), got others or damaged ones: "
            f"{reason} Delete {', '.join(str(self.root / file) for file in files)}, and they are downloaded again."
        )

    @cached_property
    def _meta(self) -> dict[str, Any]:
        """The names in CIFAR's own file of them."""
        meta = self._class.meta
        file = self.root / self._class.base_folder / meta["filename"]
        if not self._is_official(file, meta["md5"]):  # a pickle of somebody else's could run any code
            self._refuse([f"{self._class.base_folder}/{meta['filename']}"], "its MD5 differs.")
        return self._unpickled(file)

    def _unpickled(self, file: Path) -> dict[str, Any]:
        """The content of one of CIFAR's files, whose MD5 has been checked."""
        with file.open("rb") as opened:
            content: dict[str, Any] = pickle.load(opened, encoding="latin1")
            return content


def _inside(folder: str, parts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {part: [f"{folder}/{name}" for name in names] for part, names in parts.items()}


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    """Let connections that torchvision opens fail when a server stays silent."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_WITHOUT_DATA)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
