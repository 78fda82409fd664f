"""The data module that all models share."""

import hashlib
from collections.abc import Sequence

import torch
from pytorch_lightning import LightningDataModule

from cvae_lightning.core.capacity import images_at_once
from cvae_lightning.core.errors import check_boolean, check_integer, check_seed, refuse
from cvae_lightning.data.binarize import DYNAMIC, binarized, check_binarize
from cvae_lightning.data.description import DataDescription
from cvae_lightning.data.labelled import ALL, check_labelled, partly_labelled
from cvae_lightning.data.loader import Loader, check_flip, flipped_axes
from cvae_lightning.data.sources import Source
from cvae_lightning.data.splits import Split

EVALUATION_BATCH_SIZE = 1000
MOST_OF_A_GPU = 0.5  # of its free memory, which a split may take


class DataModule(LightningDataModule):
    """The train, val and test splits of a source, each as one uint8 tensor on the device that trains.

    Images that are too many for the memory of a GPU stay where they are, and go to it batch by batch. Fitting reads
    train and val, never test. `seed` and the epoch determine the order of the training images.

    If `binarize` is static-threshold (x >= 0.5) or dynamic (drawn), all splits have black and white pixels only, and so
    do the images that metrics compare with. With dynamic, the training images are drawn anew in each epoch; val, test
    and the train images that evaluators see are drawn once.

    If `labelled` is a number, only so many training images keep their class, and what is trained or fitted sees the
    others as images of unknown class. Evaluators measure with all classes.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        seed: int = 0,
        passes_per_epoch: int = 1,
        binarize: str | None = None,
        max_shift: int = 0,
        flip: str | None = None,
        balance: bool = False,
        labelled: int | str = ALL,
        image_shape: Sequence[int] = (1, 28, 28),
    ) -> None:
        super().__init__()
        self.source = source
        self.batch_size = check_integer("batch_size", batch_size, 1, "The paper uses batch_size=1024.")
        self.seed = check_seed("seed", seed)
        self.passes_per_epoch = check_integer("data.passes_per_epoch", passes_per_epoch, 1, "1 is the usual epoch.")
        self.binarize = check_binarize(binarize)
        self.max_shift = check_integer("data.max_shift", max_shift, 0, "0 moves no image; 1 is enough for 28x28.")
        side = min(image_shape[1:])
        if max_shift >= side:
            refuse(f"fewer than {side} pixels", "data.max_shift", max_shift, "1 is enough for 28x28.")
        self.flip = check_flip(flip)
        self.balance = check_boolean(
            "data.balance", balance, "true draws training images of all classes equally often."
        )
        self.labelled = check_labelled(labelled)
        self.splits: dict[str, Split] = {}
        self._loader_state = {"epoch": 0}

    @property
    def num_train_images(self) -> int:
        """The number of images in train; an epoch passes over them `passes_per_epoch` times."""
        return len(self.source.fit_splits()[0].labels)

    def prepare_data(self) -> None:
        self.source.prepare()

    def setup(self, stage: str) -> None:
        """Read the splits of the stage, test for the stage "test", else train and val, and place them on the device.

        What was read before is only moved, for example if it was read before there was a trainer.
        """
        wanted = ("test",) if stage == "test" else ("train", "val")
        if not all(name in self.splits for name in wanted):
            splits = (self.source.test_split(),) if stage == "test" else self.source.fit_splits()
            self.splits |= {
                name: binarized(split, self.binarize, name) for name, split in zip(wanted, splits, strict=True)
            }
        self.splits = {name: self._placed(split) for name, split in self.splits.items()}

    def train_dataloader(self) -> Loader:
        self._loader = self._loader_of(self._seen_in_training(), self.batch_size, self.passes_per_epoch)
        self._loader.load_state_dict(self._loader_state)
        return self._loader

    def labelled_loader(self, batch_size: int, epoch: int) -> Loader:
        """At least as many batches as `train_dataloader` has in `epoch`, of the training images with a known class.

        If there are fewer than `batch_size`, each batch has all of them. They are shuffled, drawn, moved and mirrored
        as all training images are.
        """
        split = self._seen_in_training()
        known = (split.classes >= 0).nonzero()[:, 0]
        split = split if len(known) == len(split.labels) else split.take(known)
        batch_size = min(batch_size, len(known))
        passes = -(-len(self._loader) * batch_size // len(known))
        loader = self._loader_of(split, batch_size, passes)
        loader.load_state_dict({"epoch": epoch})
        return loader

    def partly_labelled(self, train: Split) -> Split:
        """`train` as it is trained on: with the classes of all but `labelled` images hidden."""
        return train if self.labelled is None else partly_labelled(train, self.labelled, self.seed)

    def batches(self, split: str) -> Loader:
        """A loader of the images of train, val or test, each once and in their own order."""
        return self._in_order(self.splits[split])

    def batches_to_fit(self) -> Loader:
        """A loader of train in its own order, with the labels that its training sees."""
        return self._in_order(self.partly_labelled(self.splits["train"]))

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
        condition = self.splits["train"].condition
        description: DataDescription = {
            "name": self.source.name,
            "sha256": hashlib.sha256(lines.encode()).hexdigest(),
            "files": self.source.digests,
            "train": train,
            "val": val,
            "test": test,
            "image_shape": list(self.splits["train"].images.shape[1:]),
        }
        if skipped := getattr(self.source, "skipped", None):
            description["skipped"] = skipped
        if condition is not None:
            description["condition"] = condition.described()
        classes = self.splits["train"].classes
        if len(known := classes[classes >= 0]):
            num_classes = condition.num_classes if condition else 0
            description["images_per_class"] = known.bincount(minlength=num_classes).tolist()
        return description

    def _seen_in_training(self) -> Split:
        """The training images, with the grey levels from which they are drawn anew if that is so."""
        drawn = self.binarize == DYNAMIC
        return self.partly_labelled(self._placed(self.source.fit_splits()[0]) if drawn else self.splits["train"])

    def _loader_of(self, train: Split, batch_size: int, passes: int) -> Loader:
        """Shuffled batches of training images."""
        return Loader(
            train,
            batch_size,
            self.seed,
            passes,
            self.seed if self.binarize == DYNAMIC else None,
            self.max_shift,
            flips=flipped_axes(self.flip),
            balance=self.balance,
            device=self._device(),
        )

    def _in_order(self, split: Split) -> Loader:
        """Batches of the images of `split`, each once and in their own order."""
        size = images_at_once(split.images.shape[1:], EVALUATION_BATCH_SIZE)
        return Loader(split, size, device=self._device())

    def _placed(self, split: Split) -> Split:
        """The split on the device, or where it is if the images would take too much of a GPU's memory."""
        device = self._device()
        if device.type == "cuda" and split.images.nbytes > MOST_OF_A_GPU * torch.cuda.mem_get_info(device)[0]:
            return split
        return split.to(device)

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
