"""The checkpoint from which an interrupted run is resumed."""

import io
import pickle
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor

from cvae_lightning.core.capacity import check_room
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.files import write_whole
from cvae_lightning.core.random_streams import get_states, set_states

LAST = Path("checkpoints", "last.ckpt")
OTHER_FILES = 5_000_000  # bytes: pictures, as files and in TensorBoard, and logs


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically into their own folder; Lightning itself would stage them in TMPDIR.

    A checkpoint has the state at the time of the call, and reaches the disk while the training goes on. The next one,
    and the end of the training, wait for it, and raise what went wrong: UserError if the disk is full.
    """

    _written: "Future[None] | None" = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        self.teardown()
        thread = ThreadPoolExecutor(1)
        self._written = thread.submit(_write, content, Path(path))
        thread.shutdown(wait=False)

    def teardown(self) -> None:
        """Wait for the disk. Lightning calls this when a training ends, and when it fails."""
        written, self._written = self._written, None
        if written:
            written.result()


def _write(content: io.BytesIO, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with content.getbuffer() as view:  # released if the disk is full: Python 3.13 complains of one that is not
        write_whole(path, view)


class LastCheckpoint(Checkpoint):
    """Writes checkpoints/last.ckpt at the start of `fit` and after each epoch, with the random streams in it.

    Lightning calls a `Checkpoint` after all other callbacks, so that their records of the epoch are in it.
    """

    _restored_states: list[Tensor] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the first checkpoint. Raises UserError if the disk has no room for the files of the run."""
        if self._restored_states:
            set_states(self._restored_states)
        path = Path(trainer.default_root_dir)
        weights = sum(parameter.nbytes for parameter in pl_module.parameters())
        reused = (path / LAST).stat().st_size if (path / LAST).exists() else 0
        remedy = "Free some space, or name a folder on a larger disk (hydra.run.dir)."
        # Weights and both moments of Adam, twice, since a new checkpoint is written beside the old one.
        check_room(path, 2 * 3 * weights - reused + OTHER_FILES, "The training", remedy)
        trainer.strategy.checkpoint_io = WholeCheckpointIO()
        trainer.save_checkpoint(path / LAST)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / LAST)

    def state_dict(self) -> dict[str, Any]:
        return {"random_states": get_states()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored_states = state_dict["random_states"]


def last_checkpoint(run_dir: Path) -> Path | None:
    """The checkpoint to resume from; None if there is none.

    Raises UserError if it holds more than tensors and plain values. Nothing in such a file is executed.
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
