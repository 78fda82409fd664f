"""How the learning rate changes over a training."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from cvae_lightning.errors import check_fraction, check_integer

Schedule: TypeAlias = Callable[[Optimizer, int], LRScheduler]
"""(optimizer, steps in an epoch) -> a scheduler that is stepped after each step of the optimizer."""


def constant() -> Schedule:
    """The report's: the optimizer's learning rate throughout."""
    return lambda optimizer, steps_per_epoch: LambdaLR(optimizer, lambda step: 1.0)


def cosine(epochs: int) -> Schedule:
    """From `lr` down to nearly 0 along half a cosine (Loshchilov & Hutter 2017, without restarts)."""
    check_integer("schedule.epochs", epochs, 1, "The default is schedule.epochs=${epochs}.")
    return lambda optimizer, steps_per_epoch: CosineAnnealingLR(optimizer, T_max=epochs * steps_per_epoch)


def one_cycle(epochs: int, rising_fraction: float = 0.1) -> Schedule:
    """Up to `lr` in the first part of the `epochs`, then down to nearly 0 along a cosine (Smith & Topin 2018).

    Adam's momentum goes the other way, from 0.95 to 0.85 and back. It depends on the total length: a shorter run is no
    prefix of a longer one.
    """
    check_integer("schedule.epochs", epochs, 1, "The default is schedule.epochs=${epochs}.")
    check_fraction("schedule.rising_fraction", rising_fraction, "The default is schedule.rising_fraction=0.1.")
    return partial(_one_cycle, epochs, rising_fraction)


def _one_cycle(epochs: int, rising_fraction: float, optimizer: Optimizer, steps_per_epoch: int) -> LRScheduler:
    steps = epochs * steps_per_epoch
    if steps == 1:  # the peak; OneCycleLR has its end, a learning rate of nearly 0
        return constant()(optimizer, steps_per_epoch)
    if rising_fraction * steps == 1:  # the rise from step 0 to step 0, by whose length OneCycleLR would divide
        rising_fraction *= 1 - 1e-6
    return OneCycleLR(optimizer, optimizer.defaults["lr"], total_steps=steps, pct_start=rising_fraction)
