"""The loader: batches from a split that lies in memory."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from cvae_lightning.data.splits import Split
from cvae_lightning.random_streams import seed_of
from cvae_lightning.shapes import Batch

SHIFTS = 2  # tells the stream of the shifts from that of the order


class Loader:
    """Batches (x, y) of a split: slices, or slices of a seeded permutation that changes each epoch.

    Images become float32 in [0, 1] a batch at a time, on the device where the split lies. `passes` repeats the split
    within an epoch, each pass in an order of its own. With `max_shift` every second batch, on average, is moved by up
    to so many pixels along each axis. A checkpoint needs the number of finished epochs only.
    """

    def __init__(
        self, split: Split, batch_size: int, shuffle_seed: int | None = None, passes: int = 1, max_shift: int = 0
    ) -> None:
        self.split = split
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.passes = passes
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
        batches = self._order().to(self.split.images.device).split(self.batch_size)
        shifts = self._shifts()
        for number, index in enumerate(batches, start=1):
            if number == len(batches):
                self.epoch += 1
            images, labels = self.split.take(index)
            if self.max_shift:
                images = F.pad(images, next(shifts))
            yield images.float().div_(255), labels

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

    def _shifts(self) -> Iterator[tuple[int, int, int, int]]:
        """Of one batch after the other: what is added left and right, above and below, black or taken away."""
        generator = torch.Generator().manual_seed(seed_of(self.shuffle_seed or 0, self.epoch, SHIFTS))
        while True:
            moves = int(torch.randint(2, (), generator=generator))
            offsets = torch.randint(-self.max_shift, self.max_shift + 1, (2,), generator=generator) * moves
            right, down = offsets.tolist()
            yield right, -right, down, -down
