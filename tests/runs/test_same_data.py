"""A run knows the files that it was trained on: others are refused on resume, and announced wherever they are read."""

import json
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import MakeRun, Stop, StopAt, composed, idx_bytes, without_times
from hydra.types import RunMode
from omegaconf import OmegaConf

from cvae_lightning.cli import train as command
from cvae_lightning.core.errors import DataUnavailable, UserError
from cvae_lightning.data import sources
from cvae_lightning.data.idx import read_array
from cvae_lightning.drawing.inputs import split_of
from cvae_lightning.runs.run import Run
from cvae_lightning.training import parts
from cvae_lightning.training.evaluate import evaluate
from cvae_lightning.training.train import train

FILE = "train-images-idx3-ubyte"
DIFFERENT = rf"{FILE} \(SHA-256 [0-9a-f]{{12}} then, [0-9a-f]{{12}} now\)"


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    yield
    sources._source.cache_clear()


@pytest.fixture
def data_dir(tmp_path: Path, idx_dir: Path) -> Path:
    """A copy of the data that a test may change."""
    return Path(shutil.copytree(idx_dir, tmp_path / "data"))


def swap(data_dir: Path, name: str = FILE) -> None:
    """Other images in the file's place, as a new process would find them."""
    file = data_dir / "MNIST" / "raw" / name
    file.write_bytes(idx_bytes(255 - read_array(file, 3)))
    (file.parent / "SHA256SUMS").unlink(missing_ok=True)
    sources._source.cache_clear()


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    build_trainer = parts.build_trainer
    with monkeypatch.context() as patch:
        stop = StopAt("on_train_batch_end", 8)
        add = lambda config, callbacks, **kw: build_trainer(config, [*callbacks, stop], **kw)  # noqa: E731
        patch.setattr(parts, "build_trainer", add)
        with pytest.raises(Stop):
            train(run)
    return Run(run.path)


def small(data_dir: Path) -> list[str]:
    return [f"data_dir={data_dir}", "data.module.source.sha256=null", "~evaluators.grader", "objective=val/elbo"]


def test_a_run_is_not_resumed_on_other_data(
    make_run: MakeRun, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = shutil.copytree(data_dir, tmp_path / "original")
    run = interrupted(make_run("run", *small(data_dir)), monkeypatch)
    assert FILE in json.loads((run.path / "data.json").read_text())
    swap(data_dir)
    before = contents(run.path)
    with pytest.raises(UserError, match=rf"begun on \(data_dir\).*{DIFFERENT}.*Restore the files"):
        train(run)
    assert contents(run.path) == before
    moved = Run(run.path).with_data_of(OmegaConf.create({"data_dir": str(original)}))
    train(moved)
    whole = make_run("whole", *small(original))
    train(whole)
    assert without_times(moved.metrics) == without_times(whole.metrics)


def test_a_run_of_an_older_version_is_resumed(
    make_run: MakeRun, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = interrupted(make_run("run", *small(data_dir)), monkeypatch)
    (run.path / "data.json").unlink()
    train(run)
    assert run.metrics["dataset"]["files"].items() >= json.loads((run.path / "data.json").read_text()).items()


def test_other_images_are_announced_wherever_they_are_read(
    make_run: MakeRun, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run("run", *small(data_dir), "epochs=1")
    train(run)
    question = composed(
        f"run={run.path}", "evaluators=default", "~evaluators.grader", "accelerator=cpu", config_name="evaluate"
    )
    with caplog.at_level(logging.INFO):
        evaluate(question)
        split_of(run, "val", {})
    assert "differ from those" not in caplog.text
    swap(data_dir)
    caplog.clear()
    split_of(run, "test", {})
    assert "differ from those" not in caplog.text, "of the files that were read"
    split_of(run, "val", {})
    (line,) = [record.getMessage() for record in caplog.records if "differ from those" in record.getMessage()]
    assert re.search(rf"{DIFFERENT}\. The run was not trained on these images", line)
    swap(data_dir, "t10k-images-idx3-ubyte")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        evaluate(question)
    lines = [record.getMessage() for record in caplog.records if "unknown origin" not in record.getMessage()]
    warned = [number for number, line in enumerate(lines) if "The numbers are of other images" in line]
    (summary,) = [number for number, line in enumerate(lines) if line.startswith("cvae (mlp) on mnist")]
    assert warned == [0, summary + 1], "first, and beside the numbers"
    assert lines[0].count("SHA-256") == 2


def test_nothing_is_fetched_for_a_finished_run(
    make_run: MakeRun, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("run", *small(data_dir), "epochs=1")
    train(run)
    data_dir.rename(tmp_path / "moved")
    sources._source.cache_clear()
    monkeypatch.setattr("cvae_lightning.data.idx_source.download_missing", lambda *_: pytest.fail("a download"))
    before = sorted(tmp_path.rglob("*"))
    question = [f"run={run.path}", "evaluators=default", "~evaluators.grader", "accelerator=cpu"]
    readers: list[Any] = [
        lambda: evaluate(composed(*question, config_name="evaluate")),
        lambda: split_of(run, "test", {}),
        lambda: parts.evaluation_parts(Run(run.path), {}),
    ]
    for read in readers:
        with pytest.raises(DataUnavailable, match=rf"in {data_dir} \(data_dir\), got none.*data_dir=<path>"):
            read()
    assert sorted(tmp_path.rglob("*")) == before
    evaluate(composed(*question, f"data_dir={tmp_path / 'moved'}", config_name="evaluate"))


def test_a_run_remembers_where_its_data_were(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where data_dir is relative, and it is read in another working directory."""
    hydra = {"runtime": {"output_dir": str(tmp_path / "run")}, "overrides": {"task": []}, "mode": RunMode.RUN}
    monkeypatch.setattr("hydra.core.hydra_config.HydraConfig.get", lambda: OmegaConf.create(hydra))
    settings = ["data_dir=data", *small(data_dir)[1:], "epochs=1", "network.hidden=[16]", "accelerator=cpu"]
    monkeypatch.chdir(data_dir.parent)
    command.train(composed(*settings))
    run = Run(tmp_path / "run")
    assert run.raw_config.data_dir == str(data_dir)
    assert run.raw_config.data.module.source.data_dir == str(data_dir)
    command.train(composed(*settings))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    sources._source.cache_clear()
    assert len(split_of(run, "val", {}).labels) == 60
    assert not list((tmp_path / "elsewhere").iterdir())
