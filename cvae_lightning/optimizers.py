"""Optimisers, checked and still to be given the parameters."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

import torch
from torch import nn

from cvae_lightning.errors import check_positive

OptimizerFactory: TypeAlias = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def adam(lr: float) -> OptimizerFactory:
    """Adam (Kingma & Ba 2015) at a constant learning rate, the report's optimiser; one fused kernel a step."""
    return partial(torch.optim.Adam, lr=check_positive("lr", lr, "The report searches 0.001 to 0.02."), fused=True)
