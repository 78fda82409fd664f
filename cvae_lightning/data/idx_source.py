"""MNIST, Fashion-MNIST and KMNIST, from IDX files in torchvision's layout."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cvae_lightning.core.errors import DataUnavailable, UserError, refuse
from cvae_lightning.data.download import DownloadFailed, download_missing
from cvae_lightning.data.idx import find, read_checked
from cvae_lightning.data.splits import Split, split_off

NUM_DIMS = {"images-idx3-ubyte": 3, "labels-idx1-ubyte": 1}


class IdxSource:
    """A data set of torchvision's MNIST family, read from `<data_dir>/<dataset>/raw/*-ubyte`, raw or .gz.

    Files with Kaggle's names, such as train-images.idx3-ubyte, are read too, and recorded under the usual names.

    `dataset` is the name of a class in torchvision, from whose mirrors missing files are downloaded. `sha256` maps
    names to the official digests of uncompressed files. A permutation with `split_seed` splits the official training
    set 5:1 into train and val.
    """

    def __init__(
        self, name: str, dataset: str, data_dir: str, sha256: dict[str, str] | None = None, split_seed: int = 0
    ) -> None:
        self.name = name
        self.dataset = dataset
        self.data_dir = Path(str(data_dir))
        self.directory = self.data_dir / dataset / "raw"
        self.official = sha256 or {}
        self.split_seed = split_seed
        self.digests: dict[str, str] = {}
        places = (self.directory, *self.directory.parents)
        if not data_dir or not all(path.is_dir() for path in places if path.exists()):
            refuse("a folder", "data_dir", data_dir, "Name a folder, or leave data_dir out to use data/.")

    def available(self) -> bool:
        return not self._missing()

    def prepare(self) -> None:
        missing = self._missing()
        if not missing:
            return
        for folder in (self.directory.parent, self.data_dir):
            if misplaced := find(folder, missing[0]):
                what = f"the files of {self.name} in {self.directory}"
                refuse(what, "data_dir", str(misplaced), "Move them there, or name another data_dir.")
        from torchvision import datasets  # slow to import, and needed only for the addresses of the mirrors

        family = getattr(datasets, self.dataset, None)
        if family is None:
            refuse("a class of torchvision.datasets", "data.module.source.dataset", self.dataset, "MNIST is one.")
        try:
            download_missing(self.directory, dict(family.resources), family.mirrors)
        except DownloadFailed as error:
            lacking = "none" if len(missing) == 2 * len(NUM_DIMS) else f"no {', '.join(missing)}"
            raise DataUnavailable(
                f"Expected the files of {self.name} in {self.directory} (data_dir), got {lacking} ({error}). "
                "Put them there, or run once with a network connection."
            ) from error

    def _missing(self) -> list[str]:
        """The names of the files that are not in the directory."""
        names = [f"{part}-{kind}" for part in ("train", "t10k") for kind in NUM_DIMS]
        return [name for name in names if find(self.directory, name) is None]

    def fit_splits(self) -> tuple[Split, Split]:
        return split_off(self._read("train"), 1 / 6, self.split_seed)

    def test_split(self) -> Split:
        return self._read("t10k")

    def _read(self, part: str) -> Split:
        images, labels = (self._read_file(f"{part}-{kind}", num_dims) for kind, num_dims in NUM_DIMS.items())
        files = f"{self.directory / part}-*"
        if len(images) != len(labels):
            got = f"{len(labels)} for {len(images)}"
            raise UserError(f"Expected one label per image, got {got} in {files}. Replace these files.")
        if images.shape[1:] != (28, 28):
            raise UserError(f"Expected images of 28x28 pixels, got {images.shape[1:]} in {files}. Resize them.")
        if len(labels) and labels.max() > 9:
            raise UserError(f"Expected labels in 0..9, got {labels.max()} in {files}. Replace these files.")
        return Split(torch.from_numpy(images[:, None].copy()), torch.from_numpy(labels.astype("i8")))

    def _read_file(self, name: str, num_dims: int) -> npt.NDArray[np.uint8]:
        path = find(self.directory, name)
        if path is None:
            where = f"{self.directory} (data_dir)"
            raise DataUnavailable(f"Expected the files of {self.name} in {where}, got no {name}. Put it there.")
        array, self.digests[name] = read_checked(path, num_dims, self.official.get(name))
        return array
