"""The history of a training, epoch by epoch."""

import time
from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from cvae_lightning.data.loader import Loader
from cvae_lightning.training.loggers import log_metrics


class History(Callback):
    """Keeps one row per epoch: everything logged on train and val, the last step, and the seconds.

    `train/images_per_second` counts the training steps only, not the validation.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = self._train_end = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._train_end = _time_at(pl_module.device)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        images_per_second = cast(Loader, trainer.train_dataloader).num_images / (self._train_end - self._start)
        pl_module.log("train/images_per_second", images_per_second)
        curves = {name: float(value) for name, value in trainer.callback_metrics.items()}
        seconds = _time_at(pl_module.device) - self._start
        self.rows.append({**curves, "step": trainer.global_step - 1, "seconds": seconds})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epochs of the run whose checkpoint this one starts from, so that the curves are complete."""
        if trainer.ckpt_path and not Path(trainer.ckpt_path).is_relative_to(trainer.default_root_dir):
            for epoch, row in enumerate(self.rows):
                curves = {name: value for name, value in row.items() if "/" in name}
                log_metrics(trainer.loggers, {**curves, "epoch": epoch}, int(row["step"]))

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]


def _time_at(device: torch.device) -> float:
    """The time at which the device has finished all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def history_of(trainer: Trainer) -> list[dict[str, float]]:
    """The rows of the trainer's `History`; empty if it has none."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set outside Trainer.__init__
    return [row for callback in callbacks if isinstance(callback, History) for row in callback.rows]
