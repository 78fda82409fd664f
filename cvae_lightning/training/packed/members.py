"""The runs of a pack, each between its last checkpoint and its next one."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from cvae_lightning.core.products import EXACT
from cvae_lightning.core.shapes import Latents
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.models.bounds import ELBO, ELBOBound
from cvae_lightning.models.mean_elbo import means_of
from cvae_lightning.runs.run import Run
from cvae_lightning.training.callbacks.checkpoint import LAST, WholeCheckpointIO
from cvae_lightning.training.loggers import log_metrics
from cvae_lightning.training.packed.counters import count_epochs
from cvae_lightning.training.packed.stack import Checkpoint
from cvae_lightning.training.parts import training_parts
from cvae_lightning.training.train import fit


class StopAtStart(Callback):
    """Ends `fit` before its first step, but after all that comes before it, such as the first checkpoint."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = True


class Member:
    """A run of a pack, with the parts that its ordinary training would have."""

    def __init__(self, run: Run, others: Sequence["Member"] = ()) -> None:
        """Do all that the ordinary training of `run` would do before its first step, and raise what it would raise.

        The images are shared with the `others`, which train on the same data.
        """
        self.run = run
        self.parts = training_parts(run)
        if others:
            self.parts.data.splits = dict(others[0].data.splits)
        self.parts.trainer.callbacks.append(StopAtStart())  # type: ignore[attr-defined]  # set outside __init__
        self.data: DataModule = fit(run, self.parts, packed=True).data
        self.loader = self.data.train_dataloader()
        self.checkpoint: Checkpoint = torch.load(run.path / LAST, map_location="cpu", weights_only=True)
        self.generator = torch.Generator(self.parts.device)  # the stream of the training
        self.generator.set_state(self._random_states[self._own_stream])

    @property
    def epochs(self) -> int:
        """The number of epochs that have ended."""
        return self.loader.epoch

    @property
    def done(self) -> bool:
        """Whether all epochs have ended."""
        return self.epochs >= self.run.raw_config.epochs

    @property
    def bound(self) -> ELBOBound:
        """The bound, with the beta of the run."""
        return cast(ELBOBound, self.parts.model.bound)

    @property
    def backward_precision(self) -> str:
        """That of the run's callback; without one, products are exact."""
        callback = self.run.raw_config.callbacks.get("backward_precision")
        return str(callback.precision) if callback else EXACT

    @property
    def history(self) -> list[dict[str, float]]:
        """The numbers of each epoch."""
        return cast(list[dict[str, float]], self.checkpoint["callbacks"]["History"]["rows"])

    def noise(self, num: int) -> Latents:
        """The noise for one draw of z for each of `num` images."""
        size = num, self.parts.model.latent_dim
        return torch.randn(size, generator=self.generator, device=self.parts.device)

    def note_epoch(self, train: Tensor, val: Tensor, shared: dict[str, float], val_batches: int) -> None:
        """Note that an epoch has ended, in the checkpoint, without its weights, and in the logs.

        `train` and `val` are the means of log-likelihood and KL; `shared` goes into the history as it is.
        """
        self.loader.epoch += 1
        steps = len(self.loader)
        row = {**shared, "step": self.epochs * steps - 1}
        for split, terms in (("val", val), ("train", train)):
            means = means_of(ELBO(*terms[:, None]), self.bound.beta)
            row |= {f"{split}/{name}": float(value) for name, value in means.items()}
        self.history.append(row)
        self._random_states[self._own_stream] = self.generator.get_state()
        state = self.loader.state_dict()
        self.checkpoint["DataModule"] = state
        self.checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"] = [state]
        count_epochs(self.checkpoint, self.epochs, steps, val_batches)
        curves = {name: value for name, value in row.items() if "/" in name}
        log_metrics(self.parts.loggers, {**curves, "epoch": self.epochs - 1}, int(row["step"]))

    def write(self) -> None:
        """Write the checkpoint, from which an ordinary training can go on."""
        checkpoint_io = WholeCheckpointIO()
        checkpoint_io.save_checkpoint(self.checkpoint, self.run.path / LAST)
        checkpoint_io.teardown()

    @property
    def _random_states(self) -> list[Any]:
        return cast(list[Any], self.checkpoint["callbacks"]["LastCheckpoint"]["random_states"])

    @property
    def _own_stream(self) -> int:
        """The position of the stream that the training draws from among all: the CPU's, then each GPU's."""
        device = self.parts.device
        return 0 if device.type == "cpu" else 1 + (device.index or 0)
