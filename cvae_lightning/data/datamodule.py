"""The data module that all models share."""

import hashlib

import torch
from pytorch_lightning import LightningDataModule

from cvae_lightning.core.errors import check_integer, check_seed, refuse
from cvae_lightning.data.binarize import DYNAMIC, binarized, check_binarize
from cvae_lightning.data.description import DataDescription
from cvae_lightning.data.loader import Loader
from cvae_lightning.data.sources import Source
from cvae_lightning.data.splits import Split

EVALUATION_BATCH_SIZE = 1000
SIDE = 28  # pixels


class DataModule(LightningDataModule):
    """The train, val and test splits of a source, each as one uint8 tensor on the device that trains.

    Fitting reads train and val, never test. `seed` and the epoch determine the order of the training images.

    If `binarize` is static-threshold (x >= 0.5) or dynamic (drawn), all splits have black and white pixels only, and so
    do the images that metrics compare with. With dynamic, the training images are drawn anew in each epoch; val, test
    and the train images that evaluators see are drawn once.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        seed: int = 0,
        passes_per_epoch: int = 1,
        binarize: str | None = None,
        max_shift: int = 0,
    ) -> None:
        super().__init__()
        self.source = source
        self.batch_size = check_integer("batch_size", batch_size, 1, "The paper uses batch_size=1024.")
        self.seed = check_seed("seed", seed)
        self.passes_per_epoch = check_integer("data.passes_per_epoch", passes_per_epoch, 1, "1 is the usual epoch.")
        self.binarize = check_binarize(binarize)
        self.max_shift = check_integer("data.max_shift", max_shift, 0, "0 moves no image; 1 is enough for 28x28.")
        if max_shift >= SIDE:
            refuse(f"fewer than {SIDE} pixels", "data.max_shift", max_shift, "1 is enough for 28x28.")
        self.splits: dict[str, Split] = {}
        self._loader_state = {"epoch": 0}

    @property
    def num_train_images(self) -> int:
        """The number of images in train; an epoch passes over them `passes_per_epoch` times."""
        return len(self.source.fit_splits()[0].labels)

    def prepare_data(self) -> None:
        self.source.prepare()

    def setup(self, stage: str) -> None:
        """Read the splits of the stage unless they have been read: test for the stage "test", else train and val."""
        wanted = ("test",) if stage == "test" else ("train", "val")
        if all(name in self.splits for name in wanted):
            return
        splits = (self.source.test_split(),) if stage == "test" else self.source.fit_splits()
        for name, split in zip(wanted, splits, strict=True):
            self.splits[name] = binarized(split, self.binarize, name).to(self._device())

    def train_dataloader(self) -> Loader:
        split, draw_seed = self.splits["train"], None
        if self.binarize == DYNAMIC:
            split, draw_seed = self.source.fit_splits()[0].to(self._device()), self.seed
        self._loader = Loader(split, self.batch_size, self.seed, self.passes_per_epoch, draw_seed, self.max_shift)
        self._loader.load_state_dict(self._loader_state)
        return self._loader

    def batches(self, split: str) -> Loader:
        """A loader of the images of train, val or test, each once and in their own order."""
        return Loader(self.splits[split], EVALUATION_BATCH_SIZE)

    def val_dataloader(self) -> Loader:
        return self.batches("val")

    def test_dataloader(self) -> Loader:
        return self.batches("test")

    def state_dict(self) -> dict[str, int]:
        """The state of the training loader, which Lightning itself would restore only in the middle of an epoch."""
        return self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._loader_state = state_dict

    def description(self) -> DataDescription:
        """The name, digests and sizes of the data set, once all three splits have been read."""
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(self.source.digests.items()))
        train, val, test = (len(self.splits[name].labels) for name in ("train", "val", "test"))
        return {
            "name": self.source.name,
            "sha256": hashlib.sha256(lines.encode()).hexdigest(),
            "files": self.source.digests,
            "train": train,
            "val": val,
            "test": test,
        }

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
