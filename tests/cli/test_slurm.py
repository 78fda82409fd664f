"""hydra/launcher=submitit_slurm on a Slurm of two nodes that is started for these tests."""

import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers import QUICK, composed, execute, without_times
from prefork import Answer
from slurm_cluster import NODES, PROGRAMS, Slurm, until

from cvae_lightning.core.errors import UserError
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep
from cvae_lightning.training.train import train

Numbers = dict[tuple[int, float], Any]  # metrics.json without times, by epochs and lr

SMALL = [*QUICK, "latent_dim=3"]
SWEEP = ["-m", "hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", *SMALL, "hydra.sweep.dir=sweep"]
RATES = (0.01, 0.02, 0.03)

# A callback that says when the first epoch of a run has ended, and waits there while a file exists.
HELD = """
import time
from pathlib import Path

from pytorch_lightning import Callback


class Held(Callback):
    def on_train_epoch_start(self, trainer, model):
        if trainer.current_epoch == 1:
            Path("held-" + Path(trainer.default_root_dir).name).touch()
            while Path("hold").exists():
                time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A cluster that the commands of these tests find, and their jobs too."""
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        pytest.skip(f"needs {', '.join(missing)}: Debian's munge, slurm-wlm, slurmdbd and mariadb-server-core")
    with Slurm() as cluster, pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        yield cluster


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Numbers:
    """The numbers of each run, trained alone in this process."""
    numbers = {}
    for epochs, lr in itertools.product((1, 2), RATES):
        run = Run.begin(tmp_path_factory.mktemp("alone"), composed(*SMALL, f"epochs={epochs}", f"lr={lr}"))
        train(run)
        numbers[epochs, lr] = without_times(run.metrics)
    return numbers


def made_by(sweep: Path) -> Numbers:
    """The numbers of the runs that are complete."""
    complete = [run.metrics for run in Sweep(sweep).runs if run.complete]
    return {(metrics["epochs"], metrics["lr"]): without_times(metrics) for metrics in complete}


class HeldSweep:
    """Runs of two epochs that wait between them until `release` is called."""

    def __init__(self, folder: Path, *rates: float) -> None:
        self.folder = folder
        (folder / "held.py").write_text(HELD)
        (folder / "hold").touch()
        self.space = ["epochs=2", f"lr={','.join(map(str, rates))}"]
        self.executor = ThreadPoolExecutor(1)

    def start(self) -> Future[Answer]:
        words = [*SWEEP, "plugins=[held]", "+callbacks.held._target_=held.Held", *self.space]
        return self.executor.submit(execute, *words, cwd=self.folder)

    def wait_for(self, *runs: int) -> None:
        """Wait until the first epoch of the runs has ended."""
        files = [self.folder / f"held-{run}" for run in runs]
        until(lambda: all(file.exists() for file in files), "the runs have not been trained for an epoch")

    def release(self) -> None:
        (self.folder / "hold").unlink()

    @property
    def numbers(self) -> Numbers:
        return made_by(self.folder / "sweep")

    def epochs_of(self, run: int) -> list[str]:
        """The epochs that the run was trained for, as its log counts them, over all of its jobs."""
        lines = (self.folder / "sweep" / str(run) / "train.log").read_text().splitlines()
        return [line.partition(": epoch ")[2].split()[0] for line in lines if ": epoch " in line]


def jobs(slurm: Slurm) -> list[str]:
    """The jobs that are running or in the queue."""
    return sorted(slurm.ask("squeue", "--noheader", "--array", "--format=%i").split())


@pytest.mark.slow
def test_slurm_makes_the_runs_that_would_be_made_alone(slurm: Slurm, alone: Numbers, tmp_path: Path) -> None:
    answer = execute(*SWEEP, "epochs=1,2", f"lr={','.join(map(str, RATES))}", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "6 runs: 6 complete." in answer.stdout
    assert made_by(tmp_path / "sweep") == alone
    assert set(slurm.ask("sacct", "--allocations", "--noheader", "--format=NodeList").split()) == set(NODES)


@pytest.mark.slow
def test_a_cancelled_job_is_in_the_list_and_the_others_end(slurm: Slurm, alone: Numbers, tmp_path: Path) -> None:
    sweep = HeldSweep(tmp_path, 0.01, 0.02)
    command = sweep.start()
    sweep.wait_for(0, 1)
    job, other = jobs(slurm)
    slurm.ask("scancel", job)
    until(lambda: jobs(slurm) == [other], "the job is not cancelled")
    sweep.release()
    answer = command.result()
    assert answer.returncode == 1
    assert "2 runs: 1 complete, 1 interrupted." in answer.stdout, "the command has waited for the other job"
    failed, reason = answer.stderr.splitlines()[-2:]
    assert failed.startswith("sweep/0 (")
    assert reason.startswith(f"Slurm's job {job} ended without a result (CANCELLED by {os.getuid()}); see ")
    assert Path(reason.split("; see ")[1].rstrip(".")).is_file()
    assert sweep.numbers == {(2, 0.02): alone[2, 0.02]}

    answer = sweep.start().result()
    assert answer.returncode == 0, answer.stderr
    assert sweep.numbers == {(2, lr): alone[2, lr] for lr in (0.01, 0.02)}
    assert sweep.epochs_of(0) == ["1/2", "2/2"], "the run has continued from its checkpoint"


@pytest.mark.slow
def test_a_run_whose_node_dies_continues_on_another(slurm: Slurm, alone: Numbers, tmp_path: Path) -> None:
    sweep = HeldSweep(tmp_path, 0.01, 0.02)
    command = sweep.start()
    sweep.wait_for(0, 1)
    slurm.kill("node1")
    sweep.release()
    answer = command.result()
    slurm.boot("node1")
    assert answer.returncode == 0, answer.stderr
    assert sweep.numbers == {(2, lr): alone[2, lr] for lr in (0.01, 0.02)}
    assert sweep.epochs_of(0) == sweep.epochs_of(1) == ["1/2", "2/2"]
    assert "NODE_FAIL" in slurm.ask("sacct", "--duplicates", "--allocations", "--noheader", "--format=State")


@pytest.mark.slow
def test_a_run_that_is_signalled_before_its_time_is_up_is_requeued(
    slurm: Slurm, alone: Numbers, tmp_path: Path
) -> None:
    sweep = HeldSweep(tmp_path, 0.01)
    command = sweep.start()
    sweep.wait_for(0)
    (job,) = jobs(slurm)
    slurm.ask("scancel", "--signal=USR2", job)
    until(
        lambda: slurm.ask("squeue", "--noheader", "--states=PD", "--format=%i").split() == [job], "it is not requeued"
    )
    sweep.release()
    answer = command.result()
    assert answer.returncode == 0, answer.stderr
    assert sweep.numbers == {(2, 0.01): alone[2, 0.01]}
    assert sweep.epochs_of(0) == ["1/2", "2/2"]


def test_a_training_says_nothing_about_srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning advises to use srun where it finds it."""
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    answer = execute(*SMALL, "epochs=1", "hydra.run.dir=run", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "srun" not in answer.stdout + answer.stderr


def test_without_submitit_its_launcher_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra_plugins.cvae_lightning_submitit.slurm_launcher import SlurmLauncher

    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match="hydra/launcher needs hydra-submitit-launcher, which is not installed: pip "):
        SlurmLauncher("", 3).launch([], 0)
