"""The pictures of a run: samples, reconstructions and loss curves, as files and in each logger that can show them."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from matplotlib.figure import Figure
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from cvae_lightning.core.pictures import curves, image_table, paired_table, write_png
from cvae_lightning.core.products import exact_products
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Batch, Conditions
from cvae_lightning.models.vae import VAE
from cvae_lightning.training.callbacks.history import history_of
from cvae_lightning.training.loggers import log_picture

COLUMNS, ROWS = 12, 4
MOST_ROWS = 50  # of samples
PAPER_LABELS = [2, 7, 9]


class Figures(Callback):
    """Draws into <run>/figures, and for the loggers, when `Trainer.validate` ends.

    `samples` has one row per class, at most 50, or one for each of the examples of another condition; for an
    unconditional model, it has ten rows without names. `samples_2_7_9` has the three classes that the paper shows, if
    classes are numbered. `reconstructions` shows images of val above their reconstructions. `loss` needs `History`.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.VALIDATING:
            return
        with random_stream(self.seed):
            figures = self._draw(cast(VAE, pl_module), trainer)
        folder = Path(trainer.default_root_dir) / "figures"
        folder.mkdir(exist_ok=True)
        for name, figure in figures.items():
            file = folder / f"{name}.png"
            write_png(figure, file)
            log_picture(trainer.loggers, file, trainer.global_step)

    def _draw(self, model: VAE, trainer: Trainer) -> dict[str, Figure]:
        condition = model.condition
        figures = {"samples": _samples(model, _each_condition(model))}
        digits = tuple(map(str, range(condition.num_classes)))
        if condition.is_one_class and max(PAPER_LABELS) < len(digits) and condition.class_names == digits:
            figures["samples_2_7_9"] = _samples(model, torch.tensor(PAPER_LABELS, device=model.device))
        x, y = (part[: ROWS * COLUMNS] for part in next(iter(cast(Iterable[Batch], trainer.val_dataloaders))))
        title = "Originals from val, and their reconstructions"
        figures["reconstructions"] = paired_table(x, model.reconstruct(x, y), COLUMNS, ROWS, title)
        if rows := history_of(trainer):
            lines = {split: [row[f"{split}/loss"] for row in rows] for split in ("train", "val")}
            figures["loss"] = curves(lines, "epoch", "loss (nats per image)", "Loss: beta KL - log-likelihood")
        return figures


def samples_of(model: VAE, seed: int) -> Figure:
    """The picture `samples` of the callback with this seed, for a run that was trained without one."""
    with exact_products(model.device), random_stream(seed):
        return _samples(model, _each_condition(model))


def _each_condition(model: VAE) -> Conditions:
    """The labels of the rows of `samples`."""
    rows = model.condition.examples() if model.condition else torch.zeros(10).long()
    return rows.to(model.device)


def _samples(model: VAE, rows: Conditions) -> Figure:
    """A table with a row of samples per label."""
    shown, condition = rows[:MOST_ROWS], model.condition
    images = model.sample(shown.repeat_interleave(COLUMNS, 0))
    if not condition:
        return image_table(images, COLUMNS, [""] * len(shown), "Samples")
    title = "Samples by class" if condition.is_one_class else "Samples by condition"
    if len(rows) > MOST_ROWS:
        title += f", the first {MOST_ROWS} of {len(rows):,}"
    return image_table(images, COLUMNS, condition.written(shown), title, condition.classes(shown).tolist())
