"""One process at a time trains in a directory, and whoever comes second is told so before anything is changed."""

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers import QUICK, MakeRun, composed, environment, metrics_of_a_run
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from cvae_lightning.cli import multirun
from cvae_lightning.cli import train as command
from cvae_lightning.cli.escape import Escape
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.files import new_directory
from cvae_lightning.core.locks import LOCK, holder, locked, wait_until_free
from cvae_lightning.exporters.export import export
from cvae_lightning.reports.writing import write_report
from cvae_lightning.runs.metrics_file import write_metrics
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import RECORD, Sweep, chosen_run
from cvae_lightning.training.evaluate import evaluate

HOLD = """
import sys
from pathlib import Path
from cvae_lightning.core.locks import locked
with locked(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of the folder `run`."""
    arguments = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, env=environment(), stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_a_lock_names_its_process_and_ends_with_it(tmp_path: Path, other_process: subprocess.Popen[str]) -> None:
    run = tmp_path / "run"
    name = holder(run)
    assert name
    assert name.startswith(f"process {other_process.pid} on ")
    with (
        pytest.raises(UserError, match=rf"no other process is working \(resume\), got .*Process {other_process.pid} "),
        locked(run, "resume"),
    ):
        pass
    assert holder(run) == name, "whoever came second has not overwritten it"
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    assert (run / LOCK).exists()
    assert holder(run) is None
    with locked(run, "resume"):
        assert str(os.getpid()) in str(holder(run))
    assert not run.exists(), "an empty directory is left no more than the lock"


def test_a_lock_leaves_everything_else_in_the_directory(tmp_path: Path) -> None:
    (tmp_path / "result").touch()
    with locked(tmp_path, "run"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_of_many_that_wait_one_at_a_time_holds_the_lock(tmp_path: Path) -> None:
    """The file is removed at each release, so that some are left with a lock on a file that is no longer there."""
    inside: list[int] = []

    def work(number: int) -> None:
        for _ in range(30):
            with locked(tmp_path / "run", "run", wait=True):
                inside.append(number)
                assert inside == [number]
                inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_reading_writes_nothing(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    wait_until_free(tmp_path)
    assert holder(tmp_path / "nowhere") is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_directory_that_can_only_be_read_needs_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Where another person's process has left a file there, that is locked."""
    opened = os.open

    def denied(path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", denied)
    with locked(tmp_path, "run"):
        assert not list(tmp_path.iterdir())
    (tmp_path / LOCK).touch()
    with locked(tmp_path, "run"), pytest.raises(UserError), locked(tmp_path, "run"):
        pass


def test_a_file_system_without_locks_is_no_reason_not_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", missing)
    with locked(tmp_path, "run"):
        assert "without locks" in caplog.text


def test_a_lock_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "precious")
    assert holder(tmp_path / "run") is None
    with pytest.raises(OSError, match="symbolic links"), locked(tmp_path / "run", "run"):
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_no_two_are_given_the_same_new_directory(tmp_path: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        paths = list(pool.map(new_directory, [tmp_path / "outputs" / "12-00-00"] * 20))
    assert sorted(path.name for path in paths) == sorted(
        ["12-00-00", *(f"12-00-00-{number}" for number in range(1, 20))]
    )
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        new_directory(tmp_path / "file" / "12-00-00")


def hydra_config(*overrides: str) -> DictConfig:
    config: DictConfig = composed(*overrides, with_hydra=True)
    config.hydra.overrides.hydra = [override for override in overrides if override.startswith("hydra")]
    return config


@pytest.mark.parametrize("mode", ["run", "sweep"])
def test_a_directory_that_is_named_by_the_time_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.chdir(tmp_path)
    configs = [hydra_config(), hydra_config()]
    time_of_both = configs[0].hydra[mode].dir
    OmegaConf.set_cache(configs[1], OmegaConf.get_cache(configs[0]))  # which has the time
    for config in configs:
        multirun._claim(config, mode)
    paths = [time_of_both, f"{time_of_both}-1"]
    assert [config.hydra[mode].dir for config in configs] == paths
    assert all(Path(path).is_dir() for path in paths)
    assert f"hydra.{mode}.dir={paths[1]}" in configs[1].hydra.overrides.hydra, "the runs of a sweep are composed anew"


@pytest.mark.parametrize("mode", ["run", "sweep"])
def test_a_directory_that_a_person_names_is_that_one(tmp_path: Path, mode: str) -> None:
    (tmp_path / "mine").mkdir()
    config = hydra_config(f"hydra.{mode}.dir={tmp_path / 'mine'}")
    multirun._claim(config, mode)
    assert config.hydra[mode].dir == str(tmp_path / "mine")
    assert not list((tmp_path / "mine").iterdir())


AT_NOON = """
import datetime, logging, runpy, sys, types
import hydra.core.utils

class Noon(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 1, 12)

def train(run):
    logging.getLogger().info("training with seed %d", run.raw_config.seed)
    sys.exit()

hydra.core.utils.datetime = Noon
sys.modules["cvae_lightning.training.train"] = types.SimpleNamespace(train=train)
runpy.run_module("cvae_lightning", run_name="__main__")
"""


def test_two_runs_of_one_second_have_a_directory_and_a_log_each(tmp_path: Path) -> None:
    arguments = [[sys.executable, "-c", AT_NOON, *QUICK, f"seed={seed}"] for seed in (0, 1)]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=pipe, stderr=pipe) for words in arguments
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    runs = [Run(tmp_path / "outputs" / "2026-01-01" / name) for name in ("12-00-00", "12-00-00-1")]
    assert {run.raw_config.seed for run in runs} == {0, 1}
    for run in runs:
        log = (run.path / "train.log").read_text().splitlines()
        assert [line.rpartition(": ")[2] for line in log] == [f"training with seed {run.raw_config.seed}"]
        stored = OmegaConf.load(run.path / ".hydra" / "hydra.yaml").hydra
        assert Path(stored.runtime.output_dir) == run.path == tmp_path / stored.run.dir


@pytest.fixture
def trained_elsewhere(make_run: MakeRun, other_process: subprocess.Popen[str]) -> tuple[Run, str]:
    """A run that another process trains, and the words that name that."""
    return make_run("run"), f"rocess {other_process.pid} on "


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A run directory whose lock may be held already."""

    def make(name: str, *overrides: str) -> Run:
        return Run.begin(tmp_path / name, composed("data=digits", *overrides))

    return make


def test_a_run_that_is_being_trained_is_not_resumed(
    trained_elsewhere: tuple[Run, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, process = trained_elsewhere
    before = snapshot(run.path)
    with pytest.raises(UserError, match=rf"\(resume\).*{process}"):
        command.resume(OmegaConf.create({"resume": str(run.path), "data_dir": None}))
    hydra = {"runtime": {"output_dir": str(run.path)}, "overrides": {"task": []}, "mode": RunMode.RUN}
    monkeypatch.setattr("hydra.core.hydra_config.HydraConfig.get", lambda: OmegaConf.create(hydra))
    with pytest.raises(UserError, match=rf"\(hydra\.run\.dir\).*{process}"):
        command.train(composed("data=digits", "lr=0.5"))
    assert snapshot(run.path) == before


def test_whoever_reads_a_run_that_is_being_trained_hears_of_it(
    trained_elsewhere: tuple[Run, str], other_process: subprocess.Popen[str]
) -> None:
    run, process = trained_elsewhere
    before = snapshot(run.path)
    assert run.status == "running"
    readers: dict[str, Callable[[], Any]] = {
        "evaluate": lambda: evaluate(composed(f"run={run.path}", config_name="evaluate")),
        "export": lambda: export(composed(f"run={run.path}", config_name="export")),
        "model": run.model,
        "sample": lambda: run.sample(3),
    }
    for read in readers.values():
        with pytest.raises(UserError, match=rf"complete run.*being trained by p{process}"):
            read()
    other_process.kill()
    other_process.wait()
    assert run.status == "interrupted"
    for read in readers.values():
        with pytest.raises(UserError, match=r"complete run.*Continue it: python -m cvae_lightning resume="):
            read()
    assert snapshot(run.path) == before


def test_the_report_counts_the_runs_that_are_being_trained(make_run: MakeRun, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    jobs = [["seed=0"], ["seed=1"]]
    running, _ = (make_run(f"sweep/{number}", *job) for number, job in enumerate(jobs))
    (folder / RECORD).write_text(f'{{"command": ["seed=0,1"], "jobs": {jobs}}}'.replace("'", '"'))
    with locked(running.path, "run"):
        assert "2 runs: 1 running, 1 interrupted." in write_report(Sweep(folder))
        assert f"being trained by process {os.getpid()}" in Sweep(folder).failures[0][2]
    for name in ("report.md", "report.html", "sweep.csv"):
        assert "running" in (folder / name).read_text()
    with locked(folder, "sweep"), pytest.raises(UserError, match=r"being made by process"):
        chosen_run(folder)


def test_a_sweep_is_made_by_one_command_at_a_time(tmp_path: Path, other_process: subprocess.Popen[str]) -> None:
    before = snapshot(tmp_path / "run")
    config = hydra_config(f"hydra.sweep.dir={tmp_path / 'run'}", "hydra.mode=MULTIRUN")
    with multirun.SweepInProgress() as sweep, pytest.raises(Escape) as raised:
        multirun.Multirun().on_multirun_start(config)
    assert f"(hydra.sweep.dir), got '{tmp_path}/run'. Process {other_process.pid} on" in str(raised.value.error)
    assert sweep.path is None
    assert snapshot(tmp_path / "run") == before


def test_a_run_of_a_sweep_waits_for_another_process_that_trains_it(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An engine may start a run again while its first process still lives; it then finds the run complete."""
    run = make_run("sweep/0")
    hydra = {"runtime": {"output_dir": str(run.path)}, "overrides": {"task": []}, "mode": RunMode.MULTIRUN}
    monkeypatch.setattr("hydra.core.hydra_config.HydraConfig.get", lambda: OmegaConf.create(hydra))
    monkeypatch.setattr("cvae_lightning.runs.data_record.check_data_are_the_same", lambda run: None)
    config = composed("data=digits", "objective=val/elbo", f"data_dir={tmp_path}")
    OmegaConf.save(config, run.path / ".hydra" / "config.yaml")
    second = threading.Thread(target=command.train, args=[config])
    with caplog.at_level(logging.INFO), locked(run.path, "run"):
        second.start()
        time.sleep(0.3)
        assert second.is_alive()
        write_metrics(run.path / "metrics.json", metrics_of_a_run(val={"elbo": -1.0}), "")
    second.join(30)
    assert not second.is_alive()


def test_locks_that_keep_nobody_out_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fcntl.flock", lambda file, operation: None)
    with locked(tmp_path / "run", "run"):
        pass
    assert caplog.messages == [f"Locks in {tmp_path / 'run'} keep nobody out: start no second process there."]


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_two_machines_that_both_hold_a_lock_hear_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, first_ends_first: bool
) -> None:
    """Each machine has locks of its own, which keep out only its own processes."""
    folder, machine, held = tmp_path / "run", ["node1"], set[str]()

    def flock(file: Any, operation: int) -> None:
        if machine[0] in held:
            raise BlockingIOError
        held.add(machine[0])

    monkeypatch.setattr("fcntl.flock", flock)
    monkeypatch.setattr("socket.gethostname", lambda: machine[0])
    process = f"{folder} was locked by process {os.getpid()} on"
    locks = {name: locked(folder, "run") for name in ("node1", "node2")}
    for machine[0], lock in locks.items():
        lock.__enter__()
    (warning,) = caplog.messages
    assert warning.startswith(f"{process} node1. If that process is still running, locks")
    for machine[0] in sorted(locks, reverse=not first_ends_first):
        locks[machine[0]].__exit__(None, None, None)
    _, error = caplog.messages
    assert error.startswith(f"{process} node2 too: locks on this file system do not work.")
