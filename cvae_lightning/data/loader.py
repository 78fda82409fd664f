"""The loader: batches from a split that lies in memory."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from cvae_lightning.core.capacity import check_memory
from cvae_lightning.core.random_streams import seed_of
from cvae_lightning.core.shapes import Batch
from cvae_lightning.data.binarize import drawn
from cvae_lightning.data.splits import Split

DRAWS, SHIFTS = 1, 2  # tell their streams from that of the order, where all have one seed


class Loader:
    """Batches (x, y) of a split: slices, or slices of a seeded permutation that changes each epoch.

    Images become float32 in [0, 1] a batch at a time, on the device where the split lies. `passes` repeats the split
    within an epoch, each pass in an order of its own. With `draw_seed` each image is drawn anew whenever it comes, its
    grey levels being the probabilities of white pixels; with `max_shift` every second batch, on average, is moved by up
    to so many pixels along each axis. A checkpoint needs the number of finished epochs only.
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
        order = 16 * passes * len(split.labels)  # of each pass, and of all passes
        check_memory(order, f"data.passes_per_epoch={passes}", "1 is the usual epoch.")
        self.split = split
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.passes = passes
        self.draw_seed = draw_seed
        self.max_shift = max_shift
        self.epoch = 0  # finished ones

    def __len__(self) -> int:
        """Batches in an epoch; the last may be smaller than the others."""
        return -(-self.num_images // self.batch_size)

    @property
    def num_images(self) -> int:
        """Images in an epoch."""
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
        """Drawn on the CPU, so that it is the same on every device."""
        num_images = len(self.split.labels)
        if self.shuffle_seed is None:
            return torch.arange(num_images)
        generator = torch.Generator().manual_seed(seed_of(self.shuffle_seed, self.epoch))
        return torch.cat([torch.randperm(num_images, generator=generator) for _ in range(self.passes)])

    def _draws(self) -> torch.Generator | None:
        """The epoch's stream of draws, on the device where they are made."""
        if self.draw_seed is None:
            return None
        generator = torch.Generator(self.split.images.device)
        return generator.manual_seed(seed_of(self.draw_seed, self.epoch, DRAWS))

    def _shifts(self) -> Iterator[list[int]]:
        """How far each batch of the epoch is moved to the right and down."""
        if not self.max_shift:
            return iter([])
        generator = torch.Generator().manual_seed(seed_of(self.shuffle_seed or 0, self.epoch, SHIFTS))
        moved = torch.randint(2, (len(self), 1), generator=generator)
        offsets = torch.randint(-self.max_shift, self.max_shift + 1, (len(self), 2), generator=generator)
        return iter((moved * offsets).tolist())
