"""What happened epoch by epoch: kept with the run, and drawn as loss curves."""

import time
from typing import Any, cast

from pytorch_lightning import Callback, LightningModule, Trainer

from cvae_lightning.data.loader import Loader


class History(Callback):
    """One row an epoch: its losses on train and val, its seconds, and the images per second of its training part.

    `images_per_second` counts the training steps only, not the validation.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = self._train_end = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._train_end = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        images_per_second = cast(Loader, trainer.train_dataloader).num_images / (self._train_end - self._start)
        pl_module.log("train/images_per_second", images_per_second)
        losses = {name: float(trainer.callback_metrics[name]) for name in ("train/loss", "val/loss", "val/elbo")}
        seconds = time.perf_counter() - self._start
        self.rows.append({**losses, "seconds": seconds, "images_per_second": images_per_second})

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]


def history_of(trainer: Trainer) -> list[dict[str, float]]:
    """The rows that the trainer's `History` has noted; none where it has no `History`."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set outside Trainer.__init__
    return [row for callback in callbacks if isinstance(callback, History) for row in callback.rows]
