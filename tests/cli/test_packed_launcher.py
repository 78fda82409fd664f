"""hydra/launcher=packed: a sweep whose runs are trained as one ends as a sweep of runs one by one."""

import json
import math
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers import QUICK, command, environment, execute, lines_until

from cvae_lightning.runs.run import Run

GRID = ["epochs=1,2", "lr=0.002,0.01"]
PACKED = "hydra/launcher=packed"


def sweep(*words: str) -> list[str]:
    return ["-m", *QUICK, "latent_dim=3", "backward_precision=highest", *words, "hydra.sweep.dir=sweep"]


def table(folder: Path) -> dict[str, dict[str, Any]]:
    """The settings and the numbers of each run."""
    files = sorted(folder.glob("sweep/*/metrics.json"))
    return {file.parent.name: json.loads(file.read_text()) for file in files}


def check_alike(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> None:
    assert one.keys() == other.keys()
    for number, metrics in one.items():
        for key in metrics.keys() - {"val", "test", "time", "environment", "weights_sha256"}:
            assert metrics[key] == other[number][key], key
        for split in ("val", "test"):
            for name, value in metrics[split].items():
                assert math.isclose(value, other[number][split][name], rel_tol=2e-3), f"{number}: {split}/{name}"


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("basic")
    answer = execute(*sweep(*GRID), cwd=folder)
    assert answer.returncode == 0, answer.stderr
    return table(folder)


def test_a_packed_sweep_ends_as_one_of_runs_one_by_one(tmp_path: Path, one_by_one: dict[str, dict[str, Any]]) -> None:
    answer = execute(*sweep(PACKED, *GRID), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert len(re.findall("Training 2 runs as one", answer.stdout)) == 2
    assert len(re.findall(r"epoch 1/1 of 2 runs  train loss [\d.]+ to [\d.]+  val ELBO -", answer.stdout)) == 1
    assert len(re.findall("Going on from epoch 1, where sweep/[01] ends.", answer.stdout)) == 2
    packed = table(tmp_path)
    check_alike(one_by_one, packed)
    assert {metrics["environment"]["packed"] for metrics in packed.values()} == {True}
    for name in ("train.log", "README.md", "model.safetensors", "checkpoints/last.ckpt", ".hydra/overrides.yaml"):
        assert all((tmp_path / "sweep" / number / name).is_file() for number in packed), name
    assert "trained as one" in (tmp_path / "sweep" / "3" / "train.log").read_text()
    assert (tmp_path / "sweep" / "report.html").is_file()
    again = execute(*sweep(PACKED, *GRID), cwd=tmp_path)
    assert again.stdout == "All 4 runs of sweep are complete. See sweep/report.html\n"


@pytest.mark.slow
def test_what_is_left_of_a_sweep_one_by_one_is_packed(tmp_path: Path, one_by_one: dict[str, dict[str, Any]]) -> None:
    assert execute(*sweep(*GRID), cwd=tmp_path).returncode == 0
    times = {}
    for file in sorted(tmp_path.glob("sweep/*/metrics.json")):
        if file.parent.name in "01":
            times[file] = file.stat().st_mtime_ns
        else:
            for path in (file, file.parent / "checkpoints" / "last.ckpt"):
                path.unlink()
    answer = execute(*sweep(PACKED, *GRID), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert len(re.findall("Training 2 runs as one", answer.stdout)) == 1
    check_alike(one_by_one, table(tmp_path))
    assert times == {file: file.stat().st_mtime_ns for file in times}, "what was finished is left alone"


def test_failing_runs_and_those_that_cannot_be_packed_do_not_harm_the_others(tmp_path: Path) -> None:
    words = [PACKED, "epochs=1", "lr=0.002,0.01,-1,1e30", "likelihood=bernoulli", "schedule=constant,cosine"]
    answer = execute(*sweep(*words), cwd=tmp_path)
    assert answer.returncode == 1
    runs = {number: Run(tmp_path / "sweep" / str(number)) for number in range(8)}
    assert {number for number, run in runs.items() if run.complete} == {0, 1, 2, 3}
    assert "Expected a finite number above 0 (lr), got -1" in str(runs[4].failure)
    assert "Expected a finite loss, got " in str(runs[6].failure)
    assert "#1 is trained alone: a pack is not trained with schedule._target_=" in answer.stdout
    assert "Training 3 runs as one" in answer.stdout
    assert "sweep/6 leaves the pack: its loss is not finite." in answer.stdout
    assert [line.split(" ")[0] for line in answer.stderr.splitlines()[-4:]] == [f"sweep/{n}" for n in range(4, 8)]


@pytest.mark.parametrize("max_runs", ["0", "a", "null", "1.5"])
def test_the_size_of_a_pack_is_checked(tmp_path: Path, max_runs: str) -> None:
    answer = execute(*sweep(PACKED, f"hydra.launcher.max_runs={max_runs}", "seed=0,1"), cwd=tmp_path)
    assert answer.returncode == 1
    assert "(hydra.launcher.max_runs)" in answer.stderr.splitlines()[-1]
    assert len(answer.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("sweep/[0-9]*"))


@pytest.mark.slow
def test_a_large_group_is_trained_in_parts(tmp_path: Path) -> None:
    words = [PACKED, "hydra.launcher.max_runs=2", "epochs=1", "seed=0,1,2,3,4"]
    answer = execute(*sweep(*words), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("Training 2 runs as one") == 2
    assert {number: metrics["environment"]["packed"] for number, metrics in table(tmp_path).items()} == {
        **dict.fromkeys("0123", True),
        "4": False,
    }


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_packed_sweep_that_was_stopped_goes_on(tmp_path: Path, signum: signal.Signals) -> None:
    words = sweep(PACKED, "epochs=1,40", "lr=0.002,0.01", "seed=0,1")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command(*words), cwd=tmp_path, env=environment(), stdout=pipe, stderr=pipe, text=True
    ) as process:
        assert "epoch 9/40 of 4 runs" in list(lines_until(process, "epoch 9/40"))[-1]
        process.send_signal(signum)
        _, errors = process.communicate()
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[signum]
    assert signum == signal.SIGKILL or "Continue with the same command" in errors
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("sweep/*/metrics.json")}
    assert len(finished) == 4
    answer = execute(*words, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "epoch 1/1" not in answer.stdout
    assert "epoch 2/40" not in answer.stdout, "it goes on from the last checkpoints"
    assert finished == {path: path.stat().st_mtime_ns for path in finished}
    whole = tmp_path / "whole"
    whole.mkdir()
    assert execute(*words, cwd=whole).returncode == 0
    for number, metrics in table(tmp_path).items():
        same = table(whole)[number]
        assert math.isclose(metrics["val"]["elbo"], same["val"]["elbo"], rel_tol=0.01)
        assert metrics["environment"] == same["environment"]


@pytest.mark.slow
def test_a_search_is_packed_too(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space = ["hydra.sweeper.params={lr:'interval(0.001,0.02)'}", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=3"]
    words = ["hydra/sweeper=optuna", PACKED, "epochs=1", *space, "hydra.sweep.subdir=${lr}"]
    answer = execute(*sweep(*words), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("Training 3 runs as one") == 1
