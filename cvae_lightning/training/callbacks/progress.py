"""The progress of a training: one line per epoch, and on a terminal a bar below them."""

import logging
from contextlib import ExitStack
from typing import Any, cast

from pytorch_lightning import Callback, LightningModule, Trainer
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from cvae_lightning.core.shapes import Batch
from cvae_lightning.data.loader import Loader

log = logging.getLogger(__name__)


class Progress(Callback):
    """Shows the epoch, the val ELBO and the images per second, which `History` has logged."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        num_images = cast(Loader, trainer.train_dataloader).num_images
        self._open = ExitStack()
        self._bar = tqdm(
            initial=trainer.current_epoch * num_images,
            total=(trainer.max_epochs or 0) * num_images,
            unit=" images",
            unit_scale=True,
            leave=False,
            disable=None,  # disabled if the output is not a terminal
        )
        self._open.callback(self._bar.close)
        if not self._bar.disable:
            self._open.enter_context(logging_redirect_tqdm())

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", refresh=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._bar.update(len(batch[0]))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics
        elbo = f"val ELBO {metrics['val/elbo']:.2f}"
        self._bar.set_postfix_str(elbo, refresh=False)
        log.info(
            "epoch %d/%d  train loss %.2f  %s nats  %s images/s",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            metrics["train/loss"],
            elbo,
            f"{metrics['train/images_per_second']:,.0f}",
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if hasattr(self, "_open"):
            self._open.close()
