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
from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from cvae_lightning.callbacks.checkpoint import LastCheckpoint
from cvae_lightning.callbacks.history import History, history_of
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


class EpochTimer(Callback):
    """Seconds from the start of the training epoch to the end of its last batch."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        synchronize(pl_module.device)
        self.seconds = time.perf_counter() - self.start


def project(data: DataModule, accelerator: str) -> Callable[[], float]: ...
