"""What the tests of several rooms share: configurations, small data, commands, and ways to stop a training."""

import copy
import functools
import gzip
import hashlib
import itertools
import json
import os
import runpy
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from prefork import Answer, Prefork
from pytorch_lightning import Callback
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from cvae_lightning.core.build import CONF, PACKAGE, build
from cvae_lightning.core.shapes import Batch
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import Absent, Evaluator
from cvae_lightning.exporters.standalone import standalone
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import RECORD
from cvae_lightning.training.parts import evaluation_parts
from cvae_lightning.training.train import Results, measure

MakeRun = Callable[..., Run]


MakeSweep = Callable[..., list[Run]]


ROOT = PACKAGE.parent


SMALL = ["data=digits", "data.module.passes_per_epoch=1", "network.hidden=[16]", "accelerator=cpu"]


QUICK = [*SMALL, "callbacks.figures=null"]  # rendering takes most of the time of a small training


TRAIN: Any = Split(torch.empty(0, 1, 2, 3, dtype=torch.uint8), torch.empty(0, dtype=torch.long))


def numbers_of(measured: dict[str, float | Absent]) -> dict[str, float]:
    """What was measured, where all of it exists."""
    numbers = {name: value for name, value in measured.items() if not isinstance(value, Absent)}
    assert numbers.keys() == measured.keys(), set(measured.values())
    return numbers


def begun(folder: Path, given: list[str]) -> Run:
    """The first run of a sweep in `folder`, as its command begins it."""
    config = composed(*given, with_hydra=True)
    with open_dict(config):
        hydra = config.pop("hydra")
    folder.mkdir()
    (folder / RECORD).write_text(json.dumps({"command": given, "jobs": [given], "composed_from": ""}))
    return Run.begin(folder / "0", config, given, OmegaConf.create({"hydra": hydra}))


def choices_of(groups: Iterable[str]) -> list[str]:
    """Every file of these groups of conf/, as a word of the command line."""
    return [f"{group}={path.stem}" for group in groups for path in sorted((CONF / group).glob("*.yaml"))]


def leave_checkpoint(run: Run) -> None:
    """What a run has that was begun; nothing reads it."""
    (run.path / "checkpoints").mkdir()
    (run.path / "checkpoints" / "last.ckpt").touch()


def idx_bytes(array: npt.NDArray[np.uint8]) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx_files(data_dir: Path, train: int = 360, test: int = 60, compress: bool = False) -> Path:
    """A small data set in MNIST's place: blurred blobs whose position tells their class. Returns its folder."""
    raw = data_dir / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    sums = []
    for part, size in (("train", train), ("t10k", test)):
        labels = (np.arange(size) % 10).astype("u1")
        centres = np.stack([8 + 3 * (labels % 5), 10 + 8 * (labels // 5)], 1) + generator.normal(0, 1, (size, 2))
        y, x = np.mgrid[:28, :28]
        distance = (x - centres[:, :1, None]) ** 2 + (y - centres[:, 1:, None]) ** 2
        images = (255 * np.exp(-distance / 12)).astype("u1")
        for kind, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            content = idx_bytes(array)
            name = f"{part}-{kind}"
            (raw / (f"{name}.gz" if compress else name)).write_bytes(gzip.compress(content) if compress else content)
            sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    (raw / "SHA256SUMS").write_text("".join(sums))
    return raw


def composed(*overrides: str, config_name: str = "config", with_hydra: bool = False) -> Any:
    """The configuration that Hydra composes of the overrides, with Hydra's own part if that is asked for.

    Files are composed once for each choice of them, which takes most of the time; values are set in a copy, as Hydra
    sets them.
    """
    values = [override for override in overrides if not chooses_files(override)]
    files = tuple(override for override in overrides if chooses_files(override))
    try:
        config = copy.deepcopy(_of_files(files, config_name, with_hydra))
        for value in OverridesParser.create().parse_overrides(values):
            if value.is_sweep_override():
                raise HydraException
            OmegaConf.update(config, value.key_or_group, value.value(), merge=True)
    except (HydraException, OmegaConfBaseException):
        return copy.deepcopy(_of_files(overrides, config_name, with_hydra))  # which raises in Hydra's own words
    if with_hydra:
        config.hydra.overrides.task = [override for override in overrides if not override.startswith("hydra")]
    return config


def chooses_files(override: str) -> bool:
    """Whether the override is more than a value for a key that there is."""
    key, _, _ = override.partition("=")
    return override.startswith(("+", "~", "hydra", "=")) or (CONF / key.partition("@")[0]).is_dir()


@functools.cache
def _of_files(overrides: tuple[str, ...], config_name: str, with_hydra: bool) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(config_name, list(overrides), return_hydra_config=with_hydra)


def environment(path: Path = ROOT) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("CVAE_DATA_DIR", "HYDRA_FULL_ERROR")}
    return {**kept, "PYTHONPATH": str(path)}


def command(*arguments: str, module: str = "cvae_lightning") -> list[str]:
    return [sys.executable, "-m", module, *arguments]


TRAINING = Prefork("cvae_lightning.cli.main", "cvae_lightning.cli.train", "cvae_lightning.training.train")


def execute(*arguments: str, cwd: Path, module: str = "cvae_lightning") -> Answer:
    """What comes of a command, which is a process of its own, forked from one that has the imports."""
    return TRAINING.run(module, list(arguments), cwd, environment())


def lines_until(process: subprocess.Popen[str], text: str) -> Iterator[str]:
    assert process.stdout
    for line in process.stdout:
        yield line
        if text in line:
            return


def without_times(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if key != "time"}


class Stop(BaseException):
    """Like SIGKILL, it leaves no time to save anything."""


class StopAt(Callback):
    """Stops the `count`-th time that a hook is called."""

    def __init__(self, hook: str, count: int) -> None:
        calls = itertools.count(1)

        def stop(*_: Any) -> None:
            if next(calls) == count:
                raise Stop

        setattr(self, hook, stop)


INTERRUPTIONS = [
    ("on_train_start", 1),
    ("on_train_batch_end", 1),
    ("on_train_batch_end", 5),
    ("on_train_batch_end", 8),
    ("on_validation_start", 2),
    ("on_train_epoch_start", 3),
    ("on_train_end", 1),
    ("on_validation_epoch_end", 4),  # the evaluation after fit
    ("on_test_end", 1),
]


def events(run: Run) -> EventAccumulator:
    accumulator = EventAccumulator(str(run.path), size_guidance={"tensors": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def untrained_model(*overrides: str, spread: float = 0.25) -> VAE:
    """Of the command's own configuration, with random parameters."""
    return randomised(build(composed(*overrides).model), spread)


def randomised(model: VAE, spread: float = 0.25) -> VAE:
    """The parameters that start at 0 too."""
    torch.manual_seed(1)
    prior: Any = model.prior_net
    for tensor in [*model.encoder.parameters(), *model.decoder.parameters(), *prior.parameters()]:
        nn.init.normal_(tensor, std=spread)
    fit_mixture(model)
    return model.eval()


def write_code(model: VAE, folder: Path) -> dict[str, Any]:
    """The functions of a model's code of operations of torch, which is written with the weights into `folder`."""
    folder.mkdir(exist_ok=True)
    alone = standalone(model)
    (folder / "model.py").write_text(alone.code)
    save_file({name: weight.clone() for name, weight in model.state_dict().items()}, folder / "model.safetensors")
    save_file(alone.tables, folder / "tables.safetensors")
    return runpy.run_path(str(folder / "model.py"))


def untrained_run(path: Path, *overrides: str, **metrics: Any) -> Run:
    """A complete run whose metrics.json holds `metrics`."""
    (path / ".hydra").mkdir(parents=True)
    OmegaConf.save(composed("network.hidden=[4]", "latent_dim=3", *overrides), path / ".hydra" / "config.yaml")
    run = Run(path)
    torch.manual_seed(0)
    run.write_result(build(run.raw_config.model).state_dict(), metrics_of_a_run(**metrics))
    return run


def labelled(batch: Tensor, label: int = 0) -> Tensor:
    """`label` for each image, or each latent, of the batch."""
    return torch.full((len(batch),), label)


def metrics_of_a_run(**changes: Any) -> Any:
    """A complete `Metrics` with made-up values, and with `changes`: a dictionary changes only its own keys."""
    metrics: dict[str, Any] = {
        "model": "cvae",
        "network": "mlp",
        "hidden": "[400, 400]",
        "injection": "concatenate",
        "likelihood": "gaussian",
        "variance": 0.5,
        "binarize": None,
        "prior": "normal",
        "prior_components": None,
        "bound": "elbo",
        "warmup_epochs": 0,
        "free_bits": 0.0,
        "num_samples": None,
        "parameters": 981624,
        "epochs": 10,
        "latent_dim": 20,
        "lr": 0.005,
        "batch_size": 1024,
        "beta": 1.0,
        "seed": 0,
        "optimizer": "adam",
        "schedule": "constant",
        "sampler": "prior",
        "components": None,
        "temperature": None,
        "averaging": "none",
        "averaging_decay": None,
        "max_shift": 0,
        "precision": "32-true",
        "backward_precision": "medium",
        "dataset": {"name": "mnist", "sha256": "474311ef", "files": {}, "train": 50000, "val": 10000, "test": 10000},
        "val": {},
        "test": {},
        "absent": {},
        "time": {"fit_seconds": 12.5, "images_per_second": 40000.0, "evaluate_seconds": 2.0},
        "environment": {
            "cvae_lightning": "0.0.9",
            "python": "3.11.0",
            "torch": "2.10",
            "pytorch_lightning": "2.6.6",
            "device": "cpu",
            "threads": 2,
            "commit": None,
        },
    }
    for key, value in changes.items():
        metrics[key] = {**metrics[key], **value} if isinstance(value, dict) else value
    return metrics


def batches_of(x: Tensor, y: Tensor, size: int) -> list[Batch]:
    return list(zip(x.split(size), y.split(size), strict=True))


def measured(evaluator: Evaluator, model: Any, x: Tensor, y: Tensor | None = None, size: int = 100) -> dict[str, float]:
    torch.manual_seed(3)
    labels = torch.zeros(len(x), dtype=torch.long) if y is None else y
    return numbers_of(evaluator.evaluate(model, batches_of(x, labels, size), TRAIN))


def fit_mixture(model: VAE) -> None:
    """To nothing: each component gets a place and a shape of its own."""
    part: Any = model.sampler
    if sampler := dict(part.named_buffers()):
        sampler["weights"].copy_(torch.rand_like(sampler["weights"]).softmax(1))
        sampler["means"].normal_()
        sampler["factors"].copy_((torch.eye(model.latent_dim) + 0.4 * torch.randn_like(sampler["factors"])).tril())


def evaluate_again(run: Run, changes: dict[str, Any]) -> Results:
    """What cvae_lightning.evaluate measures on a complete run."""
    parts = evaluation_parts(run, changes)
    return measure(parts, parts.data)
