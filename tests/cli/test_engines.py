"""Sweeps on more than one core: each engine skips, shares prefixes and reports as the launcher that runs one by one."""

import itertools
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import QUICK, command, composed, environment, without_times
from omegaconf import OmegaConf

from cvae_lightning.cli.invocation import prefer_our_presets
from cvae_lightning.cli.mistakes import sentence
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep
from cvae_lightning.training.train import train

GRID = ["epochs=1,2", "lr=0.01,0.02,-1"]
ENGINES = [
    ("joblib", GRID),
    ("submitit_local", ["epochs=1,2", "lr=0.01"]),
    pytest.param("ray", GRID, marks=pytest.mark.ray),
]
SENTENCE = "Expected a finite number above 0 (lr), got -1. The paper searches 0.001 to 0.02."


def execute(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """An interpreter of its own, whose workers inherit nothing of the tests."""
    return subprocess.run(command(*arguments), cwd=cwd, env=environment(), capture_output=True, text=True, check=False)


def times(sweep: Sweep) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sweep.path.rglob("metrics.json")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, float], Any]:
    """The numbers of each run, trained alone in this process, by epochs and lr."""
    numbers = {}
    for epochs, lr in itertools.product((1, 2), (0.01, 0.02)):
        path = tmp_path_factory.mktemp("alone")
        run = Run.begin(path, composed(*QUICK, "latent_dim=3", f"epochs={epochs}", f"lr={lr}"))
        train(run)
        numbers[epochs, lr] = without_times(run.metrics)
    return numbers


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "grid"), ENGINES)
def test_an_engine_makes_the_runs_that_would_be_made_alone(
    engine: str, grid: list[str], alone: dict[tuple[int, float], Any], tmp_path: Path
) -> None:
    arguments = ["-m", f"hydra/launcher={engine}", *QUICK, "latent_dim=3", *grid, "hydra.sweep.dir=sweep"]
    answer = execute(*arguments, cwd=tmp_path)
    sweep = Sweep(tmp_path / "sweep")
    complete, failed = [run for run in sweep.runs if run.complete], [run for run in sweep.runs if run.failure]
    assert (len(complete), len(failed)) == ((4, 2) if grid == GRID else (2, 0)), answer.stderr
    for run in complete:
        same = alone[run.metrics["epochs"], run.metrics["lr"]]
        assert without_times(run.metrics) == same, "first or last of its worker: the same bits"
    logs = [(run.path / "train.log").read_text() for run in complete if run.metrics["epochs"] == 2]
    assert any("Going on from epoch 1, where" in log for log in logs), "a worker waits for what another one trains"

    assert answer.returncode == int(bool(failed))
    assert {run.failure for run in failed} <= {SENTENCE}
    listed = [f"sweep/{run.path.name} ({shlex.join(run.overrides)}): {SENTENCE}" for run in failed]
    assert [line for line in answer.stderr.splitlines() if line in listed] == listed

    before = times(sweep)
    again = execute(*arguments, cwd=tmp_path)
    assert again.returncode == answer.returncode
    assert [line for line in again.stderr.splitlines() if line in listed] == listed
    assert times(sweep) == before, "what is complete is not trained again"


SCRIPT = "from cvae_lightning.cli.main import main\nmain()\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice",
    [
        *("launcher=basic", "launcher=joblib", "launcher=submitit_local", "sweeper=optuna"),
        pytest.param("launcher=ray", marks=pytest.mark.ray),
    ],
)
def test_workers_trust_and_find_the_plug_ins_of_the_command(choice: str, tmp_path: Path) -> None:
    """A package in the working directory, which the script does not have on Python's path, and its YAML file."""
    file = tmp_path / "my_parts" / "conf" / "model" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("defaults: [cvae, _self_]\n_target_: my_parts.Mine\n")
    (tmp_path / "my_parts" / "__init__.py").write_text("from cvae_lightning import CVAE\n\n\nclass Mine(CVAE): ...\n")
    script = tmp_path / "bin" / "cvae-lightning"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    words = ["plugins=[my_parts]", *QUICK, "model=mine", "latent_dim=3", "hydra.sweep.dir=sweep"]
    space = ["epochs=1", "seed=0,1"]
    if "optuna" in choice:
        space = ["epochs=choice(1)", "lr=choice(0.01,0.02)", "latent_dim=choice(3)", "hydra.sweeper.n_trials=2"]
    answer = subprocess.run(
        [sys.executable, str(script), "train", "-m", f"hydra/{choice}", *words, *space],
        cwd=tmp_path,
        env={**environment(), "SQLALCHEMY_SILENCE_UBER_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    sweep = Sweep(tmp_path / "sweep")
    assert len(sweep.runs) == 2
    for run in sweep.runs:
        assert run.complete
        assert (run.config["plugins"], run.metrics["model"]) == (["my_parts"], "mine")
        assert not [word for word in run.overrides if "plugins" in word]


@pytest.mark.slow
def test_a_search_goes_on_with_its_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLALCHEMY_SILENCE_UBER_WARNING", "1")  # it only tells optuna's authors of SQLAlchemy 2
    import optuna

    space = ["latent_dim=choice(3,-3)", "epochs=int(interval(1,2))", "hydra.sweeper.n_trials=4"]
    search = ["-m", "hydra/sweeper=optuna", *QUICK, *space, "hydra.sweep.dir=search"]

    def study() -> Any:
        return optuna.load_study("search", f"sqlite:///{tmp_path / 'search' / 'study.db'}")

    answer = execute(*search, cwd=tmp_path)
    trials = study().trials
    states = [trial.state.name for trial in trials]
    assert len(states) == 4, answer.stderr
    assert set(states) == {"COMPLETE", "FAIL"}, "a failing trial doesn't stop the search"
    assert answer.returncode == 1
    assert study().direction.name == "MAXIMIZE"
    assert all(0.001 <= trial.params["lr"] <= 0.02 for trial in trials)
    sweep = Sweep(tmp_path / "search")
    objectives = {run.metrics["lr"]: run.objective for run in sweep.runs if run.complete}
    names = {
        f"lr={run.raw_config.lr},latent_dim={run.raw_config.latent_dim},epochs={run.raw_config.epochs}"
        for run in sweep.runs
    }
    assert {run.path.name for run in sweep.runs} == names, "numbers would begin with 0 again when the study goes on"
    for trial in trials:
        if trial.state.name == "COMPLETE":
            assert trial.value == objectives[trial.params["lr"]]

    before = times(sweep)
    assert execute(*search, cwd=tmp_path).returncode == 1
    assert len(study().trials) == 8
    assert times(sweep) == before, "a trial that was drawn before is found, not trained"


def test_the_preset_for_slurm_is_one_that_submitit_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the batch script: there is no Slurm here."""
    import submitit
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    scripts: list[str] = []

    def submit(self: Any, *_: Any) -> list[Any]:
        scripts.append(self._executor._make_submission_file_text("command", "id"))
        return []

    monkeypatch.setattr(submitit.AutoExecutor, "map_array", submit)
    prefer_our_presets()
    overrides = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu", f"hydra.sweep.dir={tmp_path}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides, return_hydra_config=True)
    launcher = instantiate(config.hydra.launcher)
    launcher.setup(hydra_context=None, task_function=None, config=config)
    launcher.launch([["seed=0"], ["seed=1"]], 0)
    (script,) = scripts
    for option in ("partition=gpu", "time=60", "gpus-per-node=1", "cpus-per-task=4", "mem=16GB", "signal=USR2@120"):
        assert f"#SBATCH --{option}\n" in script


def test_without_ray_its_launcher_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra_plugins.cvae_lightning_ray.ray_launcher import RayLauncher

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="hydra/launcher needs ray, which is not installed: pip install "):
        RayLauncher({}, {}).launch([], 0)


def test_without_a_plugin_its_preset_says_what_to_install() -> None:
    error = RuntimeError("Unknown plugin class : 'hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper'")
    assert sentence(error, "config") == (
        "hydra/sweeper needs hydra-optuna-sweeper, which is not installed: pip install 'cvae_lightning[cluster]'."
    )


@pytest.mark.parametrize(
    ("asked", "gpus", "accelerator", "given"),
    [
        (None, 8, "auto", 1),
        (None, 8, "gpu", 1),
        (None, 8, "cpu", 0),
        (None, 0, "auto", 0),
        (0.25, 8, "auto", 0.25),
        (0, 8, "auto", 0),
    ],
)
def test_ray_gives_each_run_a_gpu_where_there_are_any(
    asked: float | None, gpus: int, accelerator: str, given: float
) -> None:
    from hydra_plugins.cvae_lightning_ray.ray_launcher import with_gpus

    resources = with_gpus({"num_cpus": 1, "num_gpus": asked}, {"CPU": 4.0, "GPU": gpus}, accelerator)
    assert resources == {"num_cpus": 1, "num_gpus": given}


def test_the_preset_for_a_shared_gpu_differs_in_its_share_alone() -> None:
    from hydra import compose, initialize_config_dir

    prefer_our_presets()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        whole, shared = (
            compose("config", [f"hydra/launcher={name}"], return_hydra_config=True).hydra.launcher
            for name in ("ray", "ray_shared_gpu")
        )
    assert (whole.remote.num_gpus, shared.remote.num_gpus) == (None, 0.25)
    shared.remote.num_gpus = None
    assert shared == whole


@pytest.mark.parametrize(
    ("launcher", "gpus", "warns"),
    [("joblib", 2, True), ("joblib", 1, False), ("basic", 2, False), ("LocalLauncher", 2, True)],
)
def test_gpus_that_stay_idle_are_named(
    launcher: str, gpus: int, warns: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from cvae_lightning.cli import train

    hydra = OmegaConf.create({"launcher": {"_target_": f"hydra_plugins.{launcher}_launcher.Launcher"}})
    monkeypatch.setattr("hydra.core.hydra_config.HydraConfig.get", lambda: hydra)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    train._warn_of_idle_gpus.cache_clear()
    for _ in range(2):
        train._warn_of_idle_gpus("auto")
    train._warn_of_idle_gpus.cache_clear()
    expected = [f"All runs share the first of {gpus} GPUs: hydra/launcher=ray gives each run one of its own."]
    assert caplog.messages == (expected if warns else [])
