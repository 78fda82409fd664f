"""hydra/launcher=ray on a cluster of two nodes, one of which is lost in the middle of a sweep."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import QUICK, command, composed, environment, without_times

from cvae_lightning.core.locks import holder
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep
from cvae_lightning.training.train import train

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

SEEDS = range(6)
RUN = [*QUICK, "latent_dim=3", "epochs=60"]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster on this machine, whose two nodes have a core each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        yield cluster
    finally:
        cluster.shutdown()


def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def begun_on(node: Any, sweep: Path) -> list[Path]:
    """The directories of the runs that are being trained on the node, and have a checkpoint."""
    raylet = node.all_processes["raylet"][0].process.pid
    begun = [path.parent.parent for path in sweep.glob("*/checkpoints/last.ckpt")]
    processes = {path: holder(path) for path in begun}
    return [path for path, process in processes.items() if process and parent_of(process.split()[1]) == raylet]


def parent_of(pid: str) -> int:
    file = Path("/proc", pid, "stat")
    return int(file.read_text(encoding="utf-8").rpartition(")")[2].split()[1]) if file.exists() else 0


def test_a_sweep_goes_on_when_a_node_is_lost(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    words = ["-m", "hydra/launcher=ray", *RUN, f"seed={','.join(map(str, SEEDS))}", "hydra.sweep.dir=sweep"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    env = {**environment(), "RAY_ADDRESS": cluster.address}
    both = subprocess.STDOUT
    with subprocess.Popen(
        command(*words), cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=both, text=True
    ) as process:
        until(lambda: bool(begun_on(lost, tmp_path / "sweep")))
        (interrupted,) = begun_on(lost, tmp_path / "sweep")
        cluster.remove_node(lost, allow_graceful=False)
        output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    sweep = Sweep(tmp_path / "sweep")
    assert sweep.complete, "Ray has tried the run of the lost node again"
    assert (interrupted / "metrics.json").exists()
    again = subprocess.run(command(*words), cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert f"All {len(SEEDS)} runs of sweep are complete." in again.stdout
    for run in sweep.runs:
        alone = Run.begin(tmp_path / f"alone{run.path.name}", composed(*RUN, f"seed={run.metrics['seed']}"))
        assert without_times(train(alone)) == without_times(run.metrics), "through the loss of a node too"
