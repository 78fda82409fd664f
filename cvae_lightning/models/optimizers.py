"""Optimisers, and schedules of their learning rate."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from cvae_lightning.core.errors import check_fraction, check_integer, check_not_negative, check_positive

PAPERS_RATES = "The paper searches 0.001 to 0.02."

OptimizerFactory: TypeAlias = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def adam(lr: float) -> OptimizerFactory:
    """Adam (Kingma & Ba 2015), the paper's optimiser, with one fused kernel per step.

    >>> optimizer = adam(lr=0.005)(model.parameters())
    """
    return partial(torch.optim.Adam, lr=check_positive("lr", lr, PAPERS_RATES), fused=True)


def adamw(lr: float, weight_decay: float) -> OptimizerFactory:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): each step shrinks weights by lr * weight_decay."""
    lr = check_positive("lr", lr, PAPERS_RATES)
    decay = check_not_negative("optimizer.weight_decay", weight_decay, "0 is Adam.")
    return partial(torch.optim.AdamW, lr=lr, weight_decay=decay, fused=True)


Schedule: TypeAlias = Callable[[Optimizer, int], LRScheduler]
"""(optimizer, steps per epoch) -> a scheduler that is stepped after each step of the optimiser."""


def constant() -> Schedule:
    """The paper's schedule: the learning rate stays at `lr`."""
    return lambda optimizer, steps_per_epoch: LambdaLR(optimizer, lambda step: 1.0)


def cosine(epochs: int) -> Schedule:
    """A schedule from `lr` down to nearly 0 along half a cosine (Loshchilov & Hutter 2017, without restarts)."""
    check_integer("schedule.epochs", epochs, 1, "The default is schedule.epochs=${epochs}.")
    return lambda optimizer, steps_per_epoch: CosineAnnealingLR(optimizer, T_max=epochs * steps_per_epoch)


def one_cycle(epochs: int, rising_fraction: float = 0.1) -> Schedule:
    """A schedule that rises to `lr`, then falls to nearly 0, each along half a cosine (Smith & Topin 2018).

    The rise takes `rising_fraction` of the steps of `epochs`. Adam's momentum goes the other way, from 0.95 to 0.85 and
    back. The schedule depends on the total length, so a shorter run is not the beginning of a longer one.
    """
    check_integer("schedule.epochs", epochs, 1, "The default is schedule.epochs=${epochs}.")
    check_fraction("schedule.rising_fraction", rising_fraction, "The default is schedule.rising_fraction=0.1.")
    return partial(_one_cycle, epochs, rising_fraction)


def _one_cycle(epochs: int, rising_fraction: float, optimizer: Optimizer, steps_per_epoch: int) -> LRScheduler:
    steps = epochs * steps_per_epoch
    if steps == 1:  # the peak of the schedule; OneCycleLR would take its end, a learning rate of nearly 0
        return constant()(optimizer, steps_per_epoch)
    if rising_fraction * steps == 1:  # OneCycleLR would divide by the length of the rise, 0
        rising_fraction *= 1 - 1e-6
    return OneCycleLR(optimizer, optimizer.defaults["lr"], total_steps=steps, pct_start=rising_fraction)
