"""Images per second of a training epoch: a bare PyTorch loop, this project's `fit`, and Lightning as tutorials do it.

    CVAE_DATA_DIR=<folder> python benchmarks/throughput.py [--repeats 7] [--accelerator cpu]

The three take turns in one process. Each trains the report's CVAE on the 50,000 images with the same fused Adam:

    bare      tensors in memory, a permutation and slices; no trainer, no logging, no checkpoint
    project   `Trainer.fit` with this project's data module, callbacks, checkpoints and event files
    tutorial  `Trainer.fit` with torchvision's MNIST, ToTensor and a DataLoader; nothing else is switched on

An epoch is timed from its start to its last optimiser step, without validation. The first epoch of each is not counted.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from cvae_lightning.callbacks.checkpoint import LastCheckpoint
from cvae_lightning.callbacks.history import History
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.data.idx_source import IdxSource
from cvae_lightning.distributions import Gaussian
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.networks.mlp import MLP
from cvae_lightning.optimizers import adam

BATCH_SIZE = 1024
NUM_IMAGES = 50_000


def new_model() -> CVAE:
    torch.manual_seed(0)
    return CVAE(MLP(), Gaussian(), adam(lr=0.002), num_classes=10)


def bare(data: DataModule, device: torch.device) -> Callable[[], float]:
    """A function that trains one more epoch and returns its seconds."""
    model = new_model().to(device)
    optimizer = model.configure_optimizers()
    images, labels = data.splits["train"].to(device)

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

    return epoch


def project(data: DataModule, accelerator: str) -> float:
    """Seconds of the second epoch of a fresh `fit`."""
    with tempfile.TemporaryDirectory() as folder:
        history = History()
        logger = TensorBoardLogger(folder, name="", version="", default_hp_metric=False)
        trainer = new_trainer(accelerator, [history, LastCheckpoint()], logger=logger, default_root_dir=folder)
        trainer.fit(new_model(), datamodule=data)
    return NUM_IMAGES / history.rows[-1]["images_per_second"]


def tutorial(data_dir: str, accelerator: str) -> float:
    """Seconds of the second epoch of a fresh `fit`."""
    train = Subset(MNIST(data_dir, train=True, transform=ToTensor()), range(NUM_IMAGES))
    loader = DataLoader(train, batch_size=BATCH_SIZE, shuffle=True)
    timer = EpochTimer()
    trainer = new_trainer(accelerator, [timer], logger=False, enable_checkpointing=False)
    trainer.fit(new_model(), loader)
    return timer.seconds


class EpochTimer(Callback):
    """Seconds from the start of the last training epoch to the end of its last step."""

    seconds = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        synchronize(pl_module.device)
        self.seconds = time.perf_counter() - self.start


def new_trainer(accelerator: str, callbacks: list[Callback], **arguments: Any) -> Trainer:
    return Trainer(
        max_epochs=2,
        accelerator=accelerator,
        devices=1,
        callbacks=callbacks,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("CVAE_DATA_DIR", "data"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--accelerator", default="cpu", choices=["cpu", "gpu"])
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # Lightning's advice on num_workers is what the tutorial way is about

    data = DataModule(IdxSource("mnist", "MNIST", arguments.data_dir), BATCH_SIZE)
    data.prepare_data()
    data.setup("fit")
    device = torch.device("cuda" if arguments.accelerator == "gpu" else "cpu")
    bare_epoch = bare(data, device)
    ways: dict[str, Callable[[], float]] = {
        "bare": bare_epoch,
        "project": lambda: project(data, arguments.accelerator),
        "tutorial": lambda: tutorial(arguments.data_dir, arguments.accelerator),
    }
    bare_epoch()
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.repeats):
        for name, run in ways.items():
            speeds[name].append(NUM_IMAGES / run())

    print(f"{device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}, n = {arguments.repeats}")
    print(f"{'':10}{'images/s':>12}{'min':>12}{'max':>12}{'to bare':>10}")
    for name, values in speeds.items():
        ratio = statistics.median(value / base for value, base in zip(values, speeds["bare"], strict=True))
        row = (statistics.median(values), min(values), max(values))
        print(f"{name:10}" + "".join(f"{value:12,.0f}" for value in row) + f"{ratio:10.3f}")


if __name__ == "__main__":
    main()
