"""Measures training on a folder of images: `data=folder` beside torchvision's ImageFolder with a DataLoader.

    python benchmarks/fonts.py letters64 --size 64 --images 50000
    python benchmarks/own_data_throughput.py letters64 [--repeats 3] [<override> ...]

All ways train the same CVAE on letters64/train in the same batches with fused Adam, and take turns in one process:

    project          data=folder and `Trainer.fit` with the callbacks, checkpoints and event files of this project
    0 workers        ImageFolder, ToTensor, DataLoader and a bare loop: no trainer, no logging, no checkpoint
    2 workers        the same with num_workers=2, which are kept from epoch to epoch

The overrides are those of the training command, such as network.hidden=[128] or batch_size=256 (128 by default). The
seconds of the first epoch count from a new process's point of view: listing the files, decoding them (for the project:
those of val and test too, into a new cache), and the epoch. Those of a later epoch count the epoch alone. Validation is
not counted.

    python benchmarks/own_data_throughput.py letters64 --loader [--repeats 3] [--data-dir <folder>] [<override> ...]

measures the loader alone: batches of 128 in a random order, as float32, from a memory map and from a copy in memory.
`--map` leaves out the copy in memory. To measure a map that is larger than memory, decode with `data.size=128` into a
`--data-dir` first, and then start the same command in a scope of its own:
`systemd-run --scope -p MemoryMax=1260M python ... --loader --map data.size=128`.
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from cvae_lightning.core.build import CONF, build
from cvae_lightning.data.loader import Loader
from cvae_lightning.data.sources import source_of
from cvae_lightning.data.splits import Split
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.run import Run
from cvae_lightning.training.parts import available_data, training_parts

BATCH_SIZE = 128
EPOCHS = 3

Seconds = list[float]


def run_of(folder: Path, overrides: Sequence[str], data_dir: str) -> Run:
    """A run that has begun, of the training command with these overrides."""
    given = [
        "data=folder",
        f"data.path={folder.resolve()}",
        f"data_dir={data_dir}",
        f"batch_size={BATCH_SIZE}",
        f"epochs={EPOCHS}",
        "accelerator=cpu",
        "lr=0.001",
        "callbacks.figures=null",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return Run.begin(Path(tempfile.mkdtemp(prefix="own-data-")) / "run", compose("config", [*given, *overrides]))


def project(folder: Path, overrides: Sequence[str]) -> Seconds:
    """The seconds of each epoch of a training that finds no cache."""
    run = run_of(folder, overrides, tempfile.mkdtemp(prefix="own-data-cache-"))
    timer = EpochTimer()
    parts = training_parts(run)
    callbacks: Any = parts.trainer.callbacks  # type: ignore[attr-defined]  # Lightning's own type leaves it out
    callbacks.insert(0, timer)
    parts.trainer.fit(parts.model, datamodule=available_data(run, parts.data))
    return timer.seconds


class EpochTimer(Callback):
    """The seconds of each epoch up to its last step; those of the first from when the timer was made."""

    def __init__(self) -> None:
        self.seconds: Seconds = []
        self.start = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.seconds:
            self.start = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.is_last_batch:
            self.seconds.append(time.perf_counter() - self.start)


def torchvision(folder: Path, num_workers: int, config: Any) -> Seconds:
    """The seconds of each epoch of a bare loop over ImageFolder."""
    start = time.perf_counter()
    images = ImageFolder(str(folder / "train"), transform=ToTensor())
    size, are_kept = config.batch_size, num_workers > 0
    loader = DataLoader(images, size, shuffle=True, num_workers=num_workers, persistent_workers=are_kept)
    torch.manual_seed(0)
    model: VAE = build(config.model)
    optimizer = model.optimizer(model.parameters())
    seconds = []
    for _ in range(EPOCHS):
        for x, y in loader:
            loss = model.elbo(x, y).loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
    return seconds


def loader_speeds(
    folder: Path, overrides: Sequence[str], repeats: int, data_dir: str | None, copied: bool
) -> dict[str, list[float]]:
    """Images per second of the loader alone."""
    source = source_of(run_of(folder, overrides, data_dir or tempfile.mkdtemp(prefix="own-data-cache-")).raw_config)
    source.prepare()
    split = source.fit_splits()[0]
    splits = {"map": split}
    if copied:
        splits["memory"] = split._replace(images=split.images.clone())
    return {name: [passes_per_second(part) * len(part.labels) for _ in range(repeats)] for name, part in splits.items()}


def passes_per_second(split: Split) -> float:
    start = time.perf_counter()
    for x, _ in Loader(split, BATCH_SIZE, shuffle_seed=0):
        assert x.dtype == torch.float32
    return 1 / (time.perf_counter() - start)


def in_turn(ways: dict[str, Callable[[], Seconds]], repeats: int) -> dict[str, list[Seconds]]:
    found: dict[str, list[Seconds]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, run in ways.items():
            found[name].append(run())
    return found


def line(name: str, speeds: Iterable[float]) -> str:
    values = sorted(speeds)
    middle = statistics.median(values)
    return f"{name:28}{middle:12,.0f}{values[0]:12,.0f}{values[-1]:12,.0f}{len(values):6}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="override")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--loader", action="store_true")
    parser.add_argument("--map", action="store_true", help="with --loader: without a copy in memory")
    parser.add_argument("--data-dir", help="with --loader: for the cache of decoded images")
    asked = parser.parse_intermixed_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # Lightning advises more workers
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    print(f"{'images/s':28}{'median':>12}{'min':>12}{'max':>12}{'n':>6}")
    if asked.loader:
        speeds_of = loader_speeds(asked.folder, asked.overrides, asked.repeats, asked.data_dir, not asked.map)
        for name, speeds in speeds_of.items():
            print(line(name, speeds))
        return
    described = run_of(asked.folder, asked.overrides, tempfile.mkdtemp(prefix="own-data-cache-"))
    num_images = training_parts(described).data.num_train_images
    config = described.raw_config
    ways: dict[str, Callable[[], Seconds]] = {
        "project": lambda: project(asked.folder, asked.overrides),
        "0 workers": lambda: torchvision(asked.folder, 0, config),
        "2 workers": lambda: torchvision(asked.folder, 2, config),
    }
    for name, runs in in_turn(ways, asked.repeats).items():
        print(line(f"{name}, first epoch", [num_images / run[0] for run in runs]))
        print(line(f"{name}, later epochs", [num_images / epoch for run in runs for epoch in run[1:]]))


if __name__ == "__main__":
    main()
