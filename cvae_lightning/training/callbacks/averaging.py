"""Averages of the weights over the steps of a training."""

from functools import partial

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from cvae_lightning.core.errors import check_fraction


class EMA(WeightAveraging):
    """An exponential moving average of the weights, which is what is validated, evaluated and saved.

    Each step keeps the share `decay` of the average, but at most (1 + n) / (10 + n) in the n-th update, so that the
    initial weights are soon forgotten. The training itself is unchanged, bit for bit. Buffers are not averaged, since
    running means are averages already. A checkpoint holds the average as the model's weights, and the weights of the
    training beside it.
    """

    def __init__(self, decay: float = 0.999) -> None:
        check_fraction("callbacks.averaging.decay", decay, "0.999 averages over the last 1,000 steps or so.")
        super().__init__(use_buffers=False, multi_avg_fn=partial(_move, decay))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._device = trainer.strategy.root_device  # the model is moved there only after this hook
        super().setup(trainer, pl_module, stage)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the average in the model, even if a resumed `fit` had nothing left to do."""
        if stage == "fit" and self._average_model is not None:
            self._copy_average_to_current(pl_module)
            self._average_model = None


def _move(decay: float, averages: list[Tensor], weights: list[Tensor], num_updates: Tensor | int) -> None:
    n = int(num_updates)
    torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + n) / (10 + n)))
