"""The loader, which makes batches from a split in memory."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from cvae_lightning.core.capacity import check_memory
from cvae_lightning.core.errors import refuse
from cvae_lightning.core.random_streams import seed_of
from cvae_lightning.core.shapes import Batch, ByteImages, Images
from cvae_lightning.data.binarize import drawn
from cvae_lightning.data.mapped import read_ahead
from cvae_lightning.data.splits import Split

DRAWS, SHIFTS, FLIPS = 1, 2, 3
"""Keep these random streams apart from the stream of the order, which may have the same seed."""
AXES = {"horizontal": (3,), "vertical": (2,), "both": (3, 2)}  # of a batch, by the value of data.flip


def check_flip(how: Any) -> str | None:
    """`how`, if it is None or names the axes along which images are mirrored. Raises UserError otherwise."""
    if how is not None and (not isinstance(how, str) or how not in AXES):
        refuse(f"null, {' or '.join(AXES)}", "data.flip", how, "null mirrors no image.")
    return how


def flipped_axes(how: str | None) -> Sequence[int]:
    """The axes of a batch of images that `data.flip` names."""
    return AXES[how] if how else ()


def as_input(images: ByteImages, device: torch.device) -> Images:
    """Images as a model takes them: float32 in [0, 1], on `device`."""
    return images.to(device, non_blocking=True).float().div_(255)


class Loader:
    """Batches (x, y) of a split: slices, or slices of a seeded permutation that changes each epoch.

    Images become float32 in [0, 1] one batch at a time, on `device`, or on that of the split. An epoch makes `passes`
    passes over the split, each in its own order. With `draw_seed`, every image is drawn anew in every pass, with its
    grey levels as the probabilities of white pixels. With `max_shift`, every second batch on average is moved by up to
    that many pixels along each axis. Along each axis in `flips`, half of the images are mirrored, each drawn on its
    own. With `balance`, an epoch draws as many images as ever, but of each class equally often on average. The state in
    a checkpoint is the number of finished epochs.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        shuffle_seed: int | None = None,
        passes: int = 1,
        draw_seed: int | None = None,
        max_shift: int = 0,
        flips: Sequence[int] = (),
        balance: bool = False,
        device: torch.device | None = None,
    ) -> None:
        order = 16 * passes * len(split.labels)  # bytes: the order within each pass, and all of them in one tensor
        check_memory(order, f"data.passes_per_epoch={passes}", "1 is the usual epoch.")
        self.split = split
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.passes = passes
        self.draw_seed = draw_seed
        self.max_shift = max_shift
        self.flips = flips
        self.balance = balance
        self.device = device or split.images.device
        self.epoch = 0  # number of finished epochs

    def __len__(self) -> int:
        """The number of batches in an epoch; the last may be smaller than the others."""
        return -(-self.num_images // self.batch_size)

    @property
    def num_images(self) -> int:
        """The number of images in an epoch."""
        return self.passes * len(self.split.labels)

    def __iter__(self) -> Iterator[Batch]:
        draws, flips = self._draws(), iter(self._mirrored().split(self.batch_size * max(1, len(self.flips))))
        batches = self.order().to(self.split.images.device).split(self.batch_size)
        shifts = self._shifts()
        for number, index in enumerate(batches, start=1):
            if number == len(batches):
                # Counted before the last batch is handed over: a checkpoint is written after that batch, and a
                # trainer that knows the number of batches never resumes this generator for another one.
                self.epoch += 1
            if number < len(batches):
                read_ahead(self.split.images, batches[number])
            images, labels, _ = self.split.take(index)
            right, down = next(shifts, (0, 0))
            if right or down:
                images = F.pad(images, (right, -right, down, -down))
            x = as_input(images, self.device)
            x = self._flipped(x, next(flips)) if self.flips else x
            yield (x if draws is None else drawn(x, draws)), labels.to(self.device, non_blocking=True)

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch = state["epoch"]

    def order(self) -> torch.Tensor:
        """The order of the images in this epoch, drawn on the CPU so that it is the same on every device."""
        num_images = len(self.split.labels)
        if self.shuffle_seed is None:
            return torch.arange(num_images)
        generator = torch.Generator().manual_seed(seed_of(self.shuffle_seed, self.epoch))
        if self.balance:
            return self._balanced(generator)
        return torch.cat([torch.randperm(num_images, generator=generator) for _ in range(self.passes)])

    def _balanced(self, generator: torch.Generator) -> torch.Tensor:
        """Images drawn with replacement: first a class, an unknown one counting as one, then an image of it."""
        classes = self.split.classes.cpu()
        sizes = classes.unique(return_counts=True)[1]
        starts = sizes.cumsum(0) - sizes
        drawn_class = torch.randint(len(sizes), (self.num_images,), generator=generator)
        share = torch.rand(self.num_images, generator=generator, dtype=torch.float64)
        return classes.argsort(stable=True)[starts[drawn_class] + (share * sizes[drawn_class]).long()]

    def _draws(self) -> torch.Generator | None:
        """The random stream from which this epoch's pixels are drawn, on the device of the split; or None."""
        if self.draw_seed is None:
            return None
        generator = torch.Generator(self.device)
        return generator.manual_seed(seed_of(self.draw_seed, self.epoch, DRAWS))

    def _mirrored(self) -> torch.Tensor:
        """Whether each image of this epoch is mirrored, batch by batch, and axis by axis within each; on the device."""
        generator = torch.Generator().manual_seed(seed_of(self.shuffle_seed or 0, self.epoch, FLIPS))
        return (torch.rand(len(self.flips) * self.num_images, generator=generator) < 0.5).to(self.device)

    def _flipped(self, x: Images, mirrored: torch.Tensor) -> Images:
        for axis, chosen in zip(self.flips, mirrored.split(len(x)), strict=True):
            x = torch.where(chosen[:, None, None, None], x.flip(axis), x)
        return x

    def _shifts(self) -> Iterator[list[int]]:
        """How many pixels each batch of this epoch is moved to the right and down."""
        if not self.max_shift:
            return iter([])
        generator = torch.Generator().manual_seed(seed_of(self.shuffle_seed or 0, self.epoch, SHIFTS))
        moved = torch.randint(2, (len(self), 1), generator=generator)
        offsets = torch.randint(-self.max_shift, self.max_shift + 1, (len(self), 2), generator=generator)
        return iter((moved * offsets).tolist())
