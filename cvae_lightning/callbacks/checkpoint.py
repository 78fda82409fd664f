"""The checkpoint from which an interrupted run goes on."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor

from cvae_lightning.errors import UserError
from cvae_lightning.random_streams import get_states, set_states

LAST = Path("checkpoints", "last.ckpt")


class LastCheckpoint(Checkpoint):
    """Writes checkpoints/last.ckpt at the start of `fit` and after each epoch, with the random streams in it.

    The file is whole at any time: it is written beside its place and then renamed. Being a `Checkpoint`, it comes
    after all other callbacks, so that what they noted of the epoch is in it.
    """

    _restored_states: list[Tensor] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._restored_states:
            set_states(self._restored_states)
        self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"random_states": get_states()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored_states = state_dict["random_states"]

    @staticmethod
    def _save(trainer: Trainer) -> None:
        path = Path(trainer.default_root_dir) / LAST
        partial = path.with_suffix(".part")
        partial.unlink(missing_ok=True)
        trainer.save_checkpoint(partial)
        if not partial.exists():  # Lightning reports a write that was denied with a warning only
            raise OSError(f"{partial} could not be written")
        os.replace(partial, path)


def last_checkpoint(run_dir: Path) -> Path | None:
    """The checkpoint to resume from, if there is one.

    Raises UserError where it holds more than tensors and plain values; nothing in such a file is executed.
    """
    path = run_dir / LAST
    if not path.exists():
        return None
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"Expected a checkpoint of tensors and plain values, got {path} ({reason}). Delete it."
        ) from error
    return path
