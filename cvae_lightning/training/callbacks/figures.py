"""The pictures of a run: samples, reconstructions and loss curves, as files and in TensorBoard."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from matplotlib.figure import Figure
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.trainer.states import TrainerFn

from cvae_lightning.core.pictures import curves, image_table, paired_table, write_png
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Batch
from cvae_lightning.models.protocols import Generative
from cvae_lightning.training.callbacks.history import history_of

COLUMNS, ROWS = 12, 4
PAPER_LABELS = [2, 7, 9]


class Figures(Callback):
    """Draws into <run>/figures, and into TensorBoard, when `Trainer.validate` ends.

    `samples` has one row per class, `samples_2_7_9` the three classes that the paper shows; for an unconditional model,
    `samples` has ten rows without names. `reconstructions` shows images of val above their reconstructions. `loss`
    needs `History`.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.VALIDATING:
            return
        with random_stream(self.seed):
            figures = self._draw(cast(Generative, pl_module), trainer)
        folder = Path(trainer.default_root_dir) / "figures"
        folder.mkdir(exist_ok=True)
        for name, figure in figures.items():
            write_png(figure, folder / f"{name}.png")
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_figure(name, figure, trainer.global_step)

    def _draw(self, model: Generative, trainer: Trainer) -> dict[str, Figure]:
        figures = {"samples": _samples(model, range(model.num_classes or 10))}
        if model.num_classes > max(PAPER_LABELS):
            figures["samples_2_7_9"] = _samples(model, PAPER_LABELS)
        x, y = (part[: ROWS * COLUMNS] for part in next(iter(cast(Iterable[Batch], trainer.val_dataloaders))))
        title = "Originals from val, and their reconstructions"
        figures["reconstructions"] = paired_table(x, model.reconstruct(x, y), COLUMNS, ROWS, title)
        if rows := history_of(trainer):
            lines = {split: [row[f"{split}/loss"] for row in rows] for split in ("train", "val")}
            figures["loss"] = curves(lines, "epoch", "loss (nats per image)", "Loss: beta KL - log-likelihood")
        return figures


def _samples(model: Generative, labels: range | list[int]) -> Figure:
    images = model.sample(torch.tensor(labels).repeat_interleave(COLUMNS))
    names = [str(label) for label in labels] if model.num_classes else [""] * len(labels)
    return image_table(images, COLUMNS, names, "Samples by class" if model.num_classes else "Samples")
