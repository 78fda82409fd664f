"""Training a pack, epoch by epoch."""

import logging
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from cvae_lightning.core.capacity import full_disk_explained
from cvae_lightning.core.denormals import denormals_as_zero
from cvae_lightning.core.freed_memory import freed_memory_kept
from cvae_lightning.core.products import exact_products
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.data.loader import as_input
from cvae_lightning.training.packed.members import Member
from cvae_lightning.training.packed.stack import Stack
from cvae_lightning.training.train import check_batch_fits

log = logging.getLogger(__name__)

MOST_OF_TIME = 0.1  # that checkpoints may take: on a GPU an epoch can be shorter than writing those of all runs


def train_packed(members: Sequence[Member]) -> None:
    """Train runs that differ only in lr, beta and seed as one model; their checkpoints are written now and in the end.

    All must have finished the same number of epochs. A run whose loss stops being finite leaves the pack, with the
    checkpoint that was written last. Raises UserError if a batch for each run does not fit into memory; on a GPU, torch
    raises an error of its own.
    """
    pack = Pack(members)
    with (
        full_disk_explained(members[0].run.path),
        denormals_as_zero(),
        freed_memory_kept(),
        exact_products(pack.device),
    ):
        pack.train()


class Pack:
    """Runs that are trained as one stacked model; see `train_packed`."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = list(members)
        self.parts, self.data = members[0].parts, members[0].data
        self.device = self.parts.device
        if self.device.type == "cpu":
            check_batch_fits(self.parts.model, len(members) * min(self.data.batch_size, self.data.num_train_images))
        self._stack = self._stacked()
        self._written = time.perf_counter()
        self._writing = 0.0  # seconds that the last checkpoints took

    def train(self) -> None:
        """Train until all runs are done, or none is left."""
        while self.members and not self.members[0].done:
            self._train_epoch()
            due = (time.perf_counter() - self._written) * MOST_OF_TIME >= self._writing
            if self.members and (due or self.members[0].done):
                self._write()

    def _train_epoch(self) -> None:
        num, start = len(self.members), time.perf_counter()
        finite, train = self._train_steps()
        seconds = time.perf_counter() - start
        num_batches, val = self._validate()
        shared = {
            "train/images_per_second": num * self.members[0].loader.num_images / seconds,
            "seconds": (time.perf_counter() - start) / num,  # the share of each
            "packed": float(num),
        }
        for row, member in enumerate(self.members):
            if finite[row]:
                member.note_epoch(train[:, row], val[:, row], shared, num_batches)
        if not all(finite):
            self._go_on_with([row for row in range(num) if finite[row]])
        if self.members:
            self._report(shared["train/images_per_second"])

    def _train_steps(self) -> tuple[list[bool], Tensor]:
        """Train one epoch: whether all losses of each run are finite, and the means of its log-likelihood and KL."""
        split, loaders = self.data.splits["train"], [member.loader for member in self.members]
        orders = torch.stack([loader.order() for loader in loaders]).to(split.images.device)
        weight = torch.tensor([member.bound.weight(member.epochs) for member in self.members]).to(self.device)
        losses, sums = [], torch.zeros(2, len(self.members), device=self.device)
        for index in orders.split(self.data.batch_size, 1):
            batch = split.take(index.flatten())
            x = as_input(batch.images, self.device).unflatten(0, index.shape)
            y = batch.labels.to(self.device, non_blocking=True).unflatten(0, index.shape)
            noise = torch.stack([member.noise(index.shape[1]) for member in self.members])
            loss, elbo = self._stack.step(x, y, noise, weight, self.members[0].backward_precision)
            losses.append(loss)
            sums += torch.stack(elbo).sum(2)
        return torch.stack(losses).isfinite().all(0).tolist(), (sums / orders.shape[1]).cpu()

    def _validate(self) -> tuple[int, Tensor]:
        """The number of batches of val, and the means of log-likelihood and KL of each run over its images."""
        loader, sums = self.data.batches("val"), torch.zeros(2, len(self.members), device=self.device)
        for number, (x, y) in enumerate(loader):
            with random_stream(number):  # the one that validates a run alone
                noise = torch.randn(len(x), self.parts.model.latent_dim, device=self.device)
            sums += torch.stack(self._stack.elbo(x, y, noise)).sum(2)
        return len(loader), (sums / loader.num_images).cpu()

    def _report(self, images_per_second: float) -> None:
        """Log the epoch in a line, with the lowest and the highest number of all runs."""
        rows = [member.history[-1] for member in self.members]
        losses, elbos = (sorted(row[name] for row in rows) for name in ("train/loss", "val/elbo"))
        log.info(
            "epoch %d/%d of %d runs  train loss %.2f to %.2f  val ELBO %.2f to %.2f nats  %s images/s",
            self.members[0].epochs,
            self.members[0].run.raw_config.epochs,
            len(rows),
            losses[0],
            losses[-1],
            elbos[0],
            elbos[-1],
            f"{images_per_second:,.0f}",
        )

    def _go_on_with(self, rows: list[int]) -> None:
        """Let the other runs go: their losses are not finite."""
        for row, member in enumerate(self.members):
            if row not in rows:
                log.warning("%s leaves the pack: its loss is not finite.", member.run.path)
        self._stack.write_into({row: self.members[row].checkpoint for row in rows})
        self.members = [self.members[row] for row in rows]
        if self.members:
            self._stack = self._stacked()

    def _stacked(self) -> Stack:
        return Stack(self.parts.model, [member.checkpoint for member in self.members], self.device)

    def _write(self) -> None:
        """Write the checkpoint of each run."""
        start = time.perf_counter()
        self._stack.write_into({row: member.checkpoint for row, member in enumerate(self.members)})
        for member in self.members:
            member.write()
        self._written = time.perf_counter()
        self._writing = self._written - start
