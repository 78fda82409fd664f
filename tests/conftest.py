"""Shapes are checked at run time in all tests, and nothing goes out to the network."""

import gzip
import hashlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping

jaxtyping.install_import_hook(
    [
        *("cvae_lightning.metrics", "cvae_lightning.networks"),
        *(
            f"cvae_lightning.models.{part}"
            for part in ("bounds", "cvae", "latents", "likelihoods", "mean_elbo", "priors", "vae")
        ),
    ],
    "shape_checks.checked",
)

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from cvae_lightning.core.build import CONF
from cvae_lightning.evaluators.evaluator import Absent
from cvae_lightning.runs.run import Run

MakeRun = Callable[..., Run]


def numbers_of(measured: dict[str, float | Absent]) -> dict[str, float]:
    """What was measured, where all of it exists."""
    numbers = {name: value for name, value in measured.items() if not isinstance(value, Absent)}
    assert numbers.keys() == measured.keys(), set(measured.values())
    return numbers


os.environ.pop("HYDRA_FULL_ERROR", None)
torch.manual_seed(0)  # of what test modules draw when they are imported


@pytest.fixture(autouse=True)
def _same_draws_each_time() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if address[0] not in ("127.0.0.1", "localhost"):
            raise OSError("the tests have no network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("192.0.2.1", 80))])


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The real files, for the tests that need them."""
    folder = Path(os.environ.get("CVAE_DATA_DIR", "data"))
    if not (folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte").exists():
        pytest.skip("needs the MNIST files in CVAE_DATA_DIR")
    return folder


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


@pytest.fixture(scope="session")
def idx_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_dir with small files in MNIST's place."""
    folder = tmp_path_factory.mktemp("data")
    write_idx_files(folder)
    return folder


def composed(*overrides: str, config_name: str = "config") -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(config_name, overrides=list(overrides))


@pytest.fixture
def make_run(tmp_path: Path, idx_dir: Path) -> MakeRun:
    """Run directories as Hydra leaves them before a run, for a small model on small data."""
    small = [f"data_dir={idx_dir}", "epochs=2", "batch_size=64", "latent_dim=3", "lr=0.01", "accelerator=cpu"]

    def make(name: str, *overrides: str) -> Run:
        folder = tmp_path / name / ".hydra"
        folder.mkdir(parents=True)
        given = {override.partition("=")[0] for override in overrides}
        defaults = [default for default in small if default.partition("=")[0] not in given]
        hidden = [] if "network" in given else ["network.hidden=[16]"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", [*hidden, *defaults, *overrides], return_hydra_config=True)
        with open_dict(config):
            choices = config.pop("hydra").runtime.choices
        OmegaConf.save({"hydra": {"runtime": {"choices": choices}}}, folder / "hydra.yaml")
        OmegaConf.save(config, folder / "config.yaml")
        return Run(folder.parent)

    return make
