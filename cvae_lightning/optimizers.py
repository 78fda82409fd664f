"""Optimisers, checked and still to be given the parameters."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

import torch
from torch import nn

from cvae_lightning.errors import check_not_negative, check_positive

REPORTS_RATES = "The report searches 0.001 to 0.02."

OptimizerFactory: TypeAlias = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def adam(lr: float) -> OptimizerFactory:
    """Adam (Kingma & Ba 2015) at a constant learning rate, the report's optimiser; one fused kernel a step."""
    return partial(torch.optim.Adam, lr=check_positive("lr", lr, REPORTS_RATES), fused=True)


def adamw(lr: float, weight_decay: float) -> OptimizerFactory:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): a step shrinks weights by lr * weight_decay."""
    lr = check_positive("lr", lr, REPORTS_RATES)
    decay = check_not_negative("optimizer.weight_decay", weight_decay, "0 is Adam.")
    return partial(torch.optim.AdamW, lr=lr, weight_decay=decay, fused=True)
