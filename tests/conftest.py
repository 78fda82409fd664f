"""Shapes are checked at run time in all tests, and nothing goes out to the network."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # of torch, which reads it when it is imported: each core has tests of its own

import socket
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
from helpers import MakeRun, write_idx_files

jaxtyping.install_import_hook(
    [
        *("cvae_lightning.metrics", "cvae_lightning.networks"),
        *(
            f"cvae_lightning.models.{part}"
            for part in ("bounds", "cvae", "flows", "latents", "likelihoods", "mean_elbo", "priors", "vae")
        ),
    ],
    "shape_checks.checked",
)

import json

import pytest
import torch
import yaml
from helpers import TRAINING, MakeSweep, composed, metrics_of_a_run
from labelled_data import KINDS, Labelled
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from omegaconf import OmegaConf, open_dict
from PIL import Image

from cvae_lightning.core.build import build
from cvae_lightning.core.plugins import PLUGINS
from cvae_lightning.runs.configuration import with_values
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import RECORD
from cvae_lightning.training.train import train

os.environ.pop("HYDRA_FULL_ERROR", None)
torch.manual_seed(0)  # of what test modules draw when they are imported


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing is skipped: whatever a test needs is there, or CI fails."""
    report = yield
    if isinstance(report.longrepr, tuple) and os.environ.get("CI") == "true":  # it was skipped
        report.outcome = "failed"
        report.longrepr = f"In CI nothing may be skipped, but this was: {report.longrepr[-1]}"
    return report


@pytest.fixture(autouse=True)
def _same_draws_each_time() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost"):  # a path leads to no network
            raise OSError("the tests have no network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("192.0.2.1", 80))])


@pytest.fixture(autouse=True, scope="module")
def _rendering(request: pytest.FixtureRequest) -> Iterator[None]:
    """PNG pictures are made, but rendered only in modules marked `rendered`: it takes most of a training's time."""
    render = Figure.savefig

    def quickly(figure: Figure, file: Any, **options: Any) -> None:
        if options.get("format") == "svg":
            render(figure, file, **options)
        else:
            Image.new("L", (1, 1)).save(file, format="png")

    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("rendered"):
            patch.setattr(Figure, "savefig", quickly)
            patch.setattr(Figure, "draw_without_rendering", lambda figure: None)
            patch.setattr(FigureCanvasAgg, "draw", FigureCanvasAgg.get_renderer)
        yield


@pytest.fixture(autouse=True, scope="session")
def _end_of_commands() -> Iterator[None]:
    yield
    TRAINING.close()


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The real files, for the tests that need them."""
    folder = Path(os.environ.get("CVAE_DATA_DIR", "data"))
    if not (folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte").exists():
        pytest.skip("needs the MNIST files in CVAE_DATA_DIR")
    return folder


@pytest.fixture(scope="session")
def fashion_mnist_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_dir with the files of Debian's package dataset-fashion-mnist."""
    package = Path("/usr/share/datasets/fashion-mnist")
    if not package.is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    folder = tmp_path_factory.mktemp("fashion")
    (folder / "FashionMNIST").mkdir()
    (folder / "FashionMNIST" / "raw").symlink_to(package)
    return folder


@pytest.fixture(scope="session")
def idx_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_dir with small files in MNIST's place."""
    folder = tmp_path_factory.mktemp("data")
    write_idx_files(folder)
    return folder


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
        config = composed(*hidden, *defaults, *overrides, with_hydra=True)
        with open_dict(config):
            choices = config.pop("hydra").runtime.choices
        OmegaConf.save({"hydra": {"runtime": {"choices": choices}}}, folder / "hydra.yaml")
        OmegaConf.save(with_values(config), folder / "config.yaml")
        return Run(folder.parent)

    return make


@pytest.fixture
def make_sweep(make_run: MakeRun, tmp_path: Path) -> MakeSweep:
    """Run directories of a sweep, one for each list of overrides, nothing trained yet."""

    def make(*jobs: list[str]) -> list[Run]:
        runs = [make_run(f"sweep/{number}", *overrides) for number, overrides in enumerate(jobs)]
        for run, overrides in zip(runs, jobs, strict=True):
            (run.path / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
        record = {"command": ["a=1,2"], "jobs": jobs, "composed_from": ""}
        (tmp_path / "sweep" / RECORD).write_text(json.dumps(record))
        return runs

    return make


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, idx_dir: Path) -> dict[str, Run]:
    """A CVAE whose latents have a mixture of their own, and a VAE."""
    folder = tmp_path_factory.mktemp("runs")
    small = [f"data_dir={idx_dir}", "epochs=2", "batch_size=64", "latent_dim=3", "lr=0.01", "accelerator=cpu"]
    found = {}
    for name, given in {"cvae": ["sampler=gaussian"], "vae": ["model=vae"]}.items():
        (folder / name / ".hydra").mkdir(parents=True)
        OmegaConf.save(composed("network.hidden=[16]", *small, *given), folder / name / ".hydra" / "config.yaml")
        found[name] = Run(folder / name)
        train(found[name])
    return found


@pytest.fixture
def run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """An untrained run on one of the data sets of labelled_data."""
    monkeypatch.setenv(PLUGINS, "labelled_data")

    def make(kind: str, *overrides: str) -> Run:
        shape, condition = KINDS[kind]
        source = ["data=digits", "data.module.source={_target_: labelled_data.Labelled}"]
        small = ["network.hidden=[4]", "latent_dim=3", f"+data.module.source.kind={kind}"]
        config = composed(*source, *small, *overrides)
        config.data.image_shape, config.data.condition = list(shape), condition.described()
        (tmp_path / "run" / ".hydra").mkdir(parents=True)
        OmegaConf.save(config, tmp_path / "run" / ".hydra" / "config.yaml")
        run = Run(tmp_path / "run")
        torch.manual_seed(0)
        files = {"files": Labelled(kind).digests}
        run.write_result(build(run.raw_config.model).state_dict(), metrics_of_a_run(dataset=files))
        return run

    return make
