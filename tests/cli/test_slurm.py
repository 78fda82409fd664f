"""hydra/launcher=submitit_slurm on a Slurm of two nodes that is started for these tests."""

import itertools
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers import QUICK, composed, execute, without_times
from prefork import Answer
from slurm_cluster import DAEMONS, NODES, Slurm, until

from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep
from cvae_lightning.training.train import train

pytestmark = pytest.mark.slow

SWEEP = ["-m", "hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", *QUICK, "latent_dim=3"]
RATES = (0.01, 0.02, 0.03)

# A callback that stops a training after its first epoch while a file exists.
HELD = """
import time
from pathlib import Path

from pytorch_lightning import Callback


class Held(Callback):
    def on_train_epoch_start(self, trainer, model):
        while trainer.current_epoch == 1 and Path("hold").exists():
            time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A cluster that the commands of these tests find, and their jobs too."""
    if missing := [name for name in DAEMONS if not shutil.which(name)]:
        pytest.skip(f"needs {', '.join(missing)} of Debian's munge, slurm-wlm, slurmdbd and mariadb-server-core")
    with Slurm() as cluster, pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        yield cluster


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, float], Any]:
    """The numbers of each run, trained alone in this process, by epochs and lr."""
    numbers = {}
    for epochs, lr in itertools.product((1, 2), RATES):
        run = Run.begin(
            tmp_path_factory.mktemp("alone"), composed(*QUICK, "latent_dim=3", f"epochs={epochs}", f"lr={lr}")
        )
        train(run)
        numbers[epochs, lr] = without_times(run.metrics)
    return numbers


def numbers_of(sweep: Path) -> dict[tuple[int, float], Any]:
    complete = [run.metrics for run in Sweep(sweep).runs if run.complete]
    return {(metrics["epochs"], metrics["lr"]): without_times(metrics) for metrics in complete}


class HeldSweep:
    """A sweep whose runs wait after their first epoch, until `release` is called."""

    def __init__(self, folder: Path, *space: str) -> None:
        self.folder = folder
        (folder / "held.py").write_text(HELD)
        (folder / "hold").touch()
        held = ["plugins=[held]", "+callbacks.held._target_=held.Held"]
        self.words = [*SWEEP, *held, "epochs=2", *space, "hydra.sweep.dir=sweep"]
        self.sweep = folder / "sweep"
        self.executor = ThreadPoolExecutor(1)

    def start(self) -> Future[Answer]:
        return self.executor.submit(execute, *self.words, cwd=self.folder)

    def wait_for(self, *runs: int) -> None:
        """Wait until the runs have written the checkpoint of their first epoch."""
        files = [self.sweep / str(run) / "checkpoints" / "last.ckpt" for run in runs]
        until(lambda: all(file.exists() for file in files), "the runs have no checkpoint")

    def release(self) -> None:
        (self.folder / "hold").unlink()


def test_slurm_makes_the_runs_that_would_be_made_alone(
    slurm: Slurm, alone: dict[tuple[int, float], Any], tmp_path: Path
) -> None:
    rates = ",".join(map(str, RATES))
    answer = execute(*SWEEP, "epochs=1,2", f"lr={rates}", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert numbers_of(tmp_path / "sweep") == alone
    nodes = slurm.ask("sacct", "--allocations", "--noheader", "--format=NodeList")
    assert set(nodes.split()) == set(NODES)


def test_a_cancelled_job_is_in_the_list_and_the_others_end(
    slurm: Slurm, alone: dict[tuple[int, float], Any], tmp_path: Path
) -> None:
    held = HeldSweep(tmp_path, "lr=0.01,0.02")
    command = held.start()
    held.wait_for(0, 1)
    print(slurm.ask("squeue"))
    job = slurm.ask("squeue", "--noheader", "--format=%i").split()
    slurm.ask("scancel", min(job))
    import time
    t = time.time()
    until(lambda: len(slurm.ask("squeue", "--noheader", "--states=R").splitlines()) == 1, "not cancelled")
    print("cancelled", time.time() - t)
    time.sleep(20)
    print(command.done(), time.time() - t)
    held.release()
    answer = command.result()
    print(answer.stdout, answer.stderr, answer.returncode, time.time() - t)
    print(slurm.ask("sacct"))
    print(slurm.ask("squeue"))
    answer = held.start().result()
    print(answer.stdout, answer.stderr, answer.returncode, time.time() - t)
    assert 0
