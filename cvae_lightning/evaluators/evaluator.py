"""What every evaluator has in common: when it runs, where its numbers go, and a random stream of its own."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import cast
from zlib import crc32

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.data.splits import Split
from cvae_lightning.generative import Generative
from cvae_lightning.random_streams import random_stream
from cvae_lightning.shapes import Batch


class Evaluator(Callback, ABC):
    """Measures a model on val and on test, when `Trainer.validate` and `Trainer.test` end; never during `fit`.

    Its draws come from a stream of its own: they change neither the training nor another evaluator's numbers.
    """

    names: tuple[str, ...]
    """Of all that it can measure; metrics.json has null for what a model does not have."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @abstractmethod
    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> dict[str, float]:
        """Name -> value over all images of a split; what has to be fitted first is fitted to `train`."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._log("val", trainer, pl_module, cast(Iterable[Batch], trainer.val_dataloaders))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log("test", trainer, pl_module, cast(Iterable[Batch], trainer.test_dataloaders))

    def _log(self, split: str, trainer: Trainer, model: LightningModule, batches: Iterable[Batch]) -> None:
        train = cast(DataModule, trainer.datamodule).splits["train"]  # type: ignore[attr-defined]  # set by its loops
        with random_stream(self.seed, crc32(f"{type(self).__name__} {split}".encode())):
            numbers = self.evaluate(cast(Generative, model), batches, train)
        model.log_dict({f"{split}/{name}": value for name, value in numbers.items()})
