"""The loader, which makes batches from a split in memory."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from cvae_lightning.core.capacity import check_memory
from cvae_lightning.core.random_streams import seed_of
from cvae_lightning.core.shapes import Batch
from cvae_lightning.data.binarize import drawn
from cvae_lightning.data.splits import Split

DRAWS, SHIFTS = 1, 2  # keep these random streams apart from the stream of the order, which may have the same seed


class Loader:
    """Batches (x, y) of a split: slices, or slices of a seeded permutation that changes each epoch.

    Images become float32 in [0, 1] one batch at a time, on the device of the split. An epoch makes `passes` passes over
    the split, each in its own order. With `draw_seed`, every image is drawn anew in every pass, with its grey levels as
    the probabilities of white pixels. With `max_shift`, every second batch on average is moved by up to that many
    pixels along each axis. The state in a checkpoint is the number of finished epochs.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        shuffle_seed: int | None = None,
        passes: int = 1,
        draw_seed: int | None = None,
        max_shift: int = 0,
    ) -> None:
        order = 16 * passes * len(split.labels)  # bytes: the order within each pass, and all of them in one tensor
        check_memory(order, f"data.passes_per_epoch={passes}", "1 is the usual epoch.")
        self.split = split
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.passes = passes
        self.draw_seed = draw_seed
        self.max_shift = max_shift
        self.epoch = 0  # number of finished epochs

    def __len__(self) -> int:
        """The number of batches in an epoch; the last may be smaller than the others."""
        return -(-self.num_images // self.batch_size)

    @property
    def num_images(self) -> int:
        """The number of images in an epoch."""
        return self.passes * len(self.split.labels)

    def __iter__(self) -> Iterator[Batch]:
        draws = self._draws()
        batches = self._order().to(self.split.images.device).split(self.batch_size)
        shifts = self._shifts()
        for number, index in enumerate(batches, start=1):
            if number == len(batches):
                # Counted before the last batch is handed over: a checkpoint is written after that batch, and a
                # trainer that knows the number of batches never resumes this generator for another one.
                self.epoch += 1
            images, labels = self.split.take(index)
            right, down = next(shifts, (0, 0))
            if right or down:
                images = F.pad(images, (right, -right, down, -down))
            x = images.float().div_(255)
            yield (x if draws is None else drawn(x, draws)), labels

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch = state["epoch"]

    def _order(self) -> torch.Tensor:
        """The order of the images in this epoch, drawn on the CPU so that it is the same on every device."""
        num_images = len(self.split.labels)
        if self.shuffle_seed is None:
            return torch.arange(num_images)
        generator = torch.Generator().manual_seed(seed_of(self.shuffle_seed, self.epoch))
        return torch.cat([torch.randperm(num_images, generator=generator) for _ in range(self.passes)])

    def _draws(self) -> torch.Generator | None:
        """The random stream from which this epoch's pixels are drawn, on the device of the split; or None."""
        if self.draw_seed is None:
            return None
        generator = torch.Generator(self.split.images.device)
        return generator.manual_seed(seed_of(self.draw_seed, self.epoch, DRAWS))

    def _shifts(self) -> Iterator[list[int]]:
        """How many pixels each batch of this epoch is moved to the right and down."""
        if not self.max_shift:
            return iter([])
        generator = torch.Generator().manual_seed(seed_of(self.shuffle_seed or 0, self.epoch, SHIFTS))
        moved = torch.randint(2, (len(self), 1), generator=generator)
        offsets = torch.randint(-self.max_shift, self.max_shift + 1, (len(self), 2), generator=generator)
        return iter((moved * offsets).tolist())
