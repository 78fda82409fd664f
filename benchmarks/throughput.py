"""Measures images per second of training: a bare PyTorch loop, this project's `fit`, and Lightning as in tutorials.

    CVAE_DATA_DIR=<folder> python benchmarks/throughput.py [--repeats 5] [--backward-precision medium]

The three take turns in one process. Each trains the paper's CVAE on 50,000 images with Adam:

    bare      tensors in memory, a permutation and slices; no trainer, no logging, no checkpoint; Adam fused
    project   `Trainer.fit` with this project's data module, callbacks, checkpoints and event files; Adam fused
    tutorial  `Trainer.fit` with torchvision's MNIST, ToTensor and a DataLoader, torch.optim.Adam with its defaults,
              and Trainer with its defaults: a progress bar, a checkpoint, a logger, and the loss logged at every step

An epoch is timed from its start to its last optimiser step, without validation. Each turn trains four epochs and does
not count the first.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from cvae_lightning.core.products import exact_products
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.data.idx_source import IdxSource
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.likelihoods import Gaussian
from cvae_lightning.models.optimizers import adam
from cvae_lightning.networks.mlp import MLP
from cvae_lightning.training.callbacks.backward_precision import BackwardPrecision
from cvae_lightning.training.callbacks.checkpoint import LastCheckpoint
from cvae_lightning.training.callbacks.freed_memory import KeepFreedMemory
from cvae_lightning.training.callbacks.history import History

BATCH_SIZE = 1024
NUM_IMAGES = 50_000
EPOCHS = 4
LR = 0.002


def new_model(fused: bool = True) -> CVAE:
    torch.manual_seed(0)
    optimizer = adam(lr=LR) if fused else partial(torch.optim.Adam, lr=LR)
    return CVAE(MLP(), Gaussian(), optimizer, num_classes=10)


def bare(data: DataModule, device: torch.device) -> list[float]:
    """Seconds of each epoch."""
    model = new_model().to(device)
    optimizer = model.optimizer(model.parameters())
    images, labels, _ = data.splits["train"].to(device)

    def epoch() -> float:
        start = time.perf_counter()
        order = torch.randperm(NUM_IMAGES).to(device)
        for first in range(0, NUM_IMAGES, BATCH_SIZE):
            index = order[first : first + BATCH_SIZE]
            loss = model.elbo(images[index].float().div_(255), labels[index]).loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        synchronize(device)
        return time.perf_counter() - start

    return [epoch() for _ in range(EPOCHS)]


def project(data: DataModule, precision: str, accelerator: str) -> list[float]:
    """Seconds of each epoch of a fresh `fit`."""
    history, folder = History(), tempfile.mkdtemp(prefix="throughput-")
    trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator=accelerator,
        devices=1,
        callbacks=[history, BackwardPrecision(precision), KeepFreedMemory(), LastCheckpoint()],
        logger=TensorBoardLogger(folder, name="", version="", default_hp_metric=False),
        default_root_dir=folder,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with exact_products(trainer.strategy.root_device):  # as a training command does
        trainer.fit(new_model(), datamodule=data)
    return [NUM_IMAGES / row["train/images_per_second"] for row in history.rows]


def tutorial(data_dir: str, accelerator: str) -> list[float]:
    """Seconds of each epoch of a fresh `fit`."""
    train = Subset(MNIST(data_dir, train=True, transform=ToTensor()), range(NUM_IMAGES))
    loader = DataLoader(train, batch_size=BATCH_SIZE, shuffle=True)
    timer, folder = EpochTimer(), tempfile.mkdtemp(prefix="throughput-")
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # the bar
        trainer = Trainer(
            max_epochs=EPOCHS, accelerator=accelerator, devices=1, callbacks=[timer], default_root_dir=folder
        )
        trainer.fit(new_model(fused=False), loader)
    return timer.seconds


class EpochTimer(Callback):
    """Seconds from the start of each training epoch to the end of its last step; logs the loss of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        pl_module.log("loss", outputs["loss"], prog_bar=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        synchronize(pl_module.device)
        self.seconds.append(time.perf_counter() - self.start)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("CVAE_DATA_DIR", "data"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--accelerator", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("--backward-precision", default="medium", choices=["highest", "high", "medium"])
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # Lightning advises more workers, which the tutorial does not have

    data = DataModule(IdxSource("mnist", "MNIST", arguments.data_dir), BATCH_SIZE)
    data.prepare_data()
    data.setup("fit")
    device = torch.device("cuda" if arguments.accelerator == "gpu" else "cpu")
    ways: dict[str, Callable[[], list[float]]] = {
        "bare": partial(bare, data, device),
        "project": partial(project, data, arguments.backward_precision, arguments.accelerator),
        "tutorial": partial(tutorial, arguments.data_dir, arguments.accelerator),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.repeats):
        for name, run in ways.items():
            speeds[name] += [NUM_IMAGES / seconds for seconds in run()[1:]]

    threads = torch.get_num_threads()
    print(f"{device.type}, {threads} threads, torch {torch.__version__}, {arguments.backward_precision}")
    print(f"{'':10}{'images/s':>12}{'min':>12}{'max':>12}{'to bare':>10}{'n':>6}")
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, values in speeds.items():
        cells = "".join(f"{value:12,.0f}" for value in (medians[name], min(values), max(values)))
        print(f"{name:10}{cells}{medians[name] / medians['bare']:10.3f}{len(values):6}")


if __name__ == "__main__":
    main()
