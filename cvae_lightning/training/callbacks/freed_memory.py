"""Memory that one training step frees is kept for the next."""

from contextlib import ExitStack

from pytorch_lightning import Callback, LightningModule, Trainer

from cvae_lightning.core.freed_memory import MOST, freed_memory_kept


class KeepFreedMemory(Callback):
    """Keeps freed blocks of up to `max_bytes` while the trainer runs, see `freed_memory_kept`."""

    def __init__(self, max_bytes: int = MOST) -> None:
        self.max_bytes = max_bytes
        self._kept = ExitStack()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._kept.enter_context(freed_memory_kept(self.max_bytes))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._kept.close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._kept.close()
