"""Averages of the weights over the steps of a training."""

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

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
        super().__init__(use_buffers=False)
        self._decay = decay

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # the model is moved to the device only after this hook
            self._average_model = _Average(pl_module, trainer.strategy.root_device, self._decay)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the average in the model, even if a resumed `fit` had nothing left to do."""
        if stage == "fit" and self._average_model is not None:
            self._copy_average_to_current(pl_module)
            self._average_model = None


class _Average(AveragedModel):
    """The average, which counts its updates on the CPU: torch's own waits for a GPU several times in each."""

    n_averaged: Tensor

    def __init__(self, model: LightningModule, device: torch.device, decay: float) -> None:
        super().__init__(model, device)
        self.n_averaged = self.n_averaged.cpu()
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        averages, weights = (list[Tensor](part.parameters()) for part in (self.module, model))
        if (n := int(self.n_averaged)) == 0:
            torch._foreach_copy_(averages, weights)
        else:
            torch._foreach_lerp_(averages, weights, 1 - min(self._decay, (1 + n) / (10 + n)))
        for buffer, its_value in zip(self.module.buffers(), model.buffers(), strict=True):
            buffer.copy_(its_value)
        self.n_averaged += 1
