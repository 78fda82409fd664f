"""Sweeps: no work is done twice, and none is lost; each run is what it would be alone."""

import copy
import json
import re
import shlex
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import (
    QUICK,
    MakeRun,
    MakeSweep,
    command,
    composed,
    environment,
    events,
    execute,
    leave_checkpoint,
    lines_until,
    metrics_of_a_run,
    without_times,
)
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from cvae_lightning.cli.mistakes import sentence
from cvae_lightning.cli.multirun import SweepInProgress, _jobs, _on_shared_training
from cvae_lightning.cli.rewriting import with_files
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.locks import locked
from cvae_lightning.data.idx_source import IdxSource
from cvae_lightning.data.splits import Split
from cvae_lightning.runs.data_record import check_data_are_the_same
from cvae_lightning.runs.paper import TABLE_3
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import RECORD, TENSORBOARD, Sweep, longest_prefix, sweep_of, wait_for_shorter_ones
from cvae_lightning.training.train import train


def weights(run: Run) -> bytes:
    return (run.path / "model.safetensors").read_bytes()


def test_a_run_that_starts_from_a_shorter_one_ends_with_the_bits_of_one_trained_alone(
    make_run: MakeRun, make_sweep: MakeSweep
) -> None:
    runs = make_sweep(["epochs=1"], ["epochs=2"], ["epochs=4"])
    alone = make_run("alone", "epochs=4")
    train(alone)
    for run in runs:
        torch.rand(3)  # whatever happens in between
        train(run)
    assert weights(runs[2]) == weights(alone)
    assert without_times(runs[2].metrics) == without_times(alone.metrics)
    for tag in ("train/loss", "val/elbo", "val/kl"):
        curves = [
            [(event.step, event.value) for event in board.Scalars(tag)] for board in map(board_of, (runs[2], alone))
        ]
        assert curves[0] == curves[1], "the epochs that came before are in its curves too"
    prefix = longest_prefix(runs[2], {}, runs[2].metrics["environment"])
    assert prefix
    assert prefix.path == runs[1].path


def board_of(run: Run) -> Any:
    """The events of a run, which lie beside it where it is part of a sweep."""
    sweep, named = sweep_of(run), Run(run.path)
    if sweep:
        named.path = sweep.path / TENSORBOARD / sweep.folder_of(run.overrides, run.path.name)
    return events(named)


@pytest.mark.parametrize(
    "other",
    [
        ["seed=1"],
        ["lr=0.02"],
        ["epochs=5"],
        ["model=vae"],
        ["backward_precision=highest"],
        ["data.module.source.split_seed=1"],
    ],
)
def test_only_a_shorter_run_that_equals_it_in_all_else_is_a_prefix(make_sweep: MakeSweep, other: list[str]) -> None:
    shorter, longer = make_sweep(["epochs=1", *other] if "epochs=5" not in other else other, ["epochs=2"])
    train(shorter)
    assert longest_prefix(longer, {}, shorter.metrics["environment"]) is None


def test_where_something_depends_on_the_total_length_nothing_is_a_prefix(make_sweep: MakeSweep) -> None:
    schedule = "+optimizer.total_epochs=${epochs}"
    shorter, longer = make_sweep(["epochs=1", schedule], ["epochs=2", schedule])
    assert shorter.family != longer.family
    assert {**shorter.family, "optimizer": 0, "model": 0} == {**longer.family, "optimizer": 0, "model": 0}


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["epochs=1,2", "schedule=one_cycle"], "schedule.epochs"),
        (["epochs=1,2", "experiment=best"], "schedule.epochs"),
        (["epochs=1,2"], ""),
        (["schedule=one_cycle", "lr=0.1,0.2"], ""),
    ],
)
def test_a_sweep_over_epochs_says_when_they_share_nothing(words: list[str], keys: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        from hydra import compose

        config = compose("config", [word for word in words if "," not in word], return_hydra_config=True)
        config.hydra.overrides.task = words
        note = _on_shared_training(config)
    assert note == (
        f"Each number of epochs is trained from the start: {keys} depends on it from the first step." if keys else ""
    )


def test_a_prefix_was_trained_on_the_same_files_by_the_same_versions(make_sweep: MakeSweep) -> None:
    shorter, longer = make_sweep(["epochs=1"], ["epochs=2"])
    train(shorter)
    files, versions = shorter.metrics["dataset"]["files"], shorter.metrics["environment"]
    assert longest_prefix(longer, files, versions)
    assert not longest_prefix(longer, {**files, "train-images-idx3-ubyte": "0"}, versions)
    assert not longest_prefix(longer, files, {**versions, "torch": "0.4"})
    (shorter.path / "metrics.json").unlink()
    assert not longest_prefix(longer, files, versions), "an unfinished run is none"


@pytest.mark.parametrize(
    ("number", "waits"), [(0, False), (1, True), (2, False)], ids=["shorter", "longer", "of another family"]
)
def test_a_run_waits_for_a_shorter_one_of_its_family_that_is_being_trained(
    make_sweep: MakeSweep, number: int, waits: bool
) -> None:
    runs = make_sweep(["epochs=1"], ["epochs=2"], ["epochs=2", "seed=3"])
    trained = 1 if number == 0 else 0
    with locked(runs[trained].path, "run"):
        waiting = threading.Thread(target=wait_for_shorter_ones, args=[runs[number]])
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive() is waits
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_run_does_not_wait_for_a_shorter_one_that_nobody_trains(make_sweep: MakeSweep) -> None:
    shorter, longer = make_sweep(["epochs=1"], ["epochs=2"])
    with locked(shorter.path, "run"):
        pass
    wait_for_shorter_ones(longer)


def test_the_data_are_read_once_a_process(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from helpers import write_idx_files

    write_idx_files(tmp_path / "own")
    reads: list[str] = []
    read = IdxSource._read

    def noted(self: IdxSource, part: str) -> Split:
        reads.append(part)
        return read(self, part)

    monkeypatch.setattr(IdxSource, "_read", noted)
    for seed in (0, 1):
        train(make_run(f"run{seed}", f"data_dir={tmp_path / 'own'}", f"seed={seed}"))
    assert reads == ["train", "t10k"]


def test_a_complete_run_whose_data_have_changed_is_no_answer(make_run: MakeRun) -> None:
    run = make_run("run")
    train(run)
    check_data_are_the_same(run)
    run.metrics["dataset"]["files"]["train-images-idx3-ubyte"] = "0"
    with pytest.raises(UserError, match=r"Expected the data of the run \(data_dir\), got .* was trained on others"):
        check_data_are_the_same(run)


def test_a_directory_belongs_to_the_configuration_that_was_begun_in_it(make_run: MakeRun) -> None:
    run = make_run("run")
    same, other = (copy.deepcopy(run.raw_config) for _ in range(2))
    other.lr = 0.5
    assert Run.begin(run.path, same).raw_config.lr == 0.01
    assert Run.begin(run.path, other).raw_config.lr == 0.5, "nothing was trained yet"
    run = Run.begin(run.path, same)
    leave_checkpoint(run)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    sentence = r"\(hydra\.run\.dir\) already holds a run with lr=0\.01, not lr=0\.5\."
    with pytest.raises(UserError, match=sentence):
        Run.begin(run.path, other)
    assert Run.begin(run.path, same)
    assert before == {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}


def test_a_run_that_fell_back_to_the_digits_is_continued_as_such(make_run: MakeRun) -> None:
    run = make_run("run")
    asked = copy.deepcopy(run.raw_config)
    assert run.fall_back() == "digits"
    leave_checkpoint(run)
    assert Run.begin(run.path, asked).raw_config.data.name == "digits"
    asked.data.fallback = None
    with pytest.raises(UserError, match=r"already holds a run with data\."):
        Run.begin(run.path, asked)


def test_an_interrupted_sweep_says_how_it_goes_on() -> None:
    sweep = SweepInProgress()
    assert sweep.how_to_continue() == ""
    sweep.path = Path("multirun/x")
    assert sweep.how_to_continue() == " Continue with the same command and hydra.sweep.dir=multirun/x"


def test_an_error_without_a_text_is_a_failure_too(make_run: MakeRun) -> None:
    run = make_run("run")
    run.write_failure(sentence(AssertionError(), "config"))
    assert (run.status, run.failure) == ("failed", "AssertionError")


def test_a_run_says_how_it_ended(make_run: MakeRun) -> None:
    run = make_run("run")
    assert run.status == "interrupted"
    run.write_failure("Expected better.")
    assert (run.status, run.failure) == ("failed", "Expected better.")
    assert Run.begin(run.path, run.raw_config).status == "interrupted", "it is tried again"
    run.write_failure("Expected better.")
    run.write_result({"weight": torch.zeros(1)}, metrics_of_a_run())
    assert (run.status, run.failure) == ("complete", None)


def test_a_sweep_knows_its_runs_and_what_is_missing(make_sweep: MakeSweep, tmp_path: Path) -> None:
    jobs = [["epochs=2", f"seed={seed}", "experiment=table3/x"] for seed in range(12)]
    runs = make_sweep(*[job[:2] for job in jobs])
    sweep = Sweep(tmp_path / "sweep")
    assert [run.path.name for run in sweep.runs] == [str(number) for number in range(12)]
    assert sweep.name_of(runs[3].overrides) == "seed=3"
    (runs[11].path / ".hydra" / "config.yaml").unlink()
    assert sweep.missing == [("11", jobs[11][:2])]
    assert not sweep.complete
    with pytest.raises(UserError, match=r"Expected a sweep directory, which holds sweep\.json \(sweep\), got "):
        Sweep(tmp_path)


def test_what_did_not_end_well_is_listed_even_where_it_left_no_word(make_sweep: MakeSweep, tmp_path: Path) -> None:
    failed, killed, missing, complete = make_sweep(*([f"seed={seed}"] for seed in range(4)))
    failed.write_failure("Expected sense, got nonsense.")
    (missing.path / ".hydra" / "config.yaml").unlink()
    (complete.path / "metrics.json").touch()
    assert Sweep(tmp_path / "sweep").failures == [
        (failed.path, ["seed=0"], "Expected sense, got nonsense."),
        (killed.path, ["seed=1"], "No error was recorded; the process was probably killed or ran out of memory."),
        (tmp_path / "sweep" / "2", ["seed=2"], "It was not started."),
    ]


def jobs_of(*overrides: str) -> list[list[str]]:
    """The runs that a command line asks for."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        from hydra import compose

        grids = [override for override in overrides if override.startswith("+")]
        config = compose("config", grids, return_hydra_config=True)
        config.hydra.overrides.task = list(overrides)
        jobs = _jobs(config)
    assert jobs
    return jobs


def test_the_grids_are_the_reports() -> None:
    grid = {tuple(job[:3]) for job in jobs_of("+sweep=paper_grid")}
    assert len(grid) == 60
    epochs = [int(job[0].removeprefix("epochs=")) for job in jobs_of("+sweep=paper_grid")]
    assert epochs == sorted(epochs), "short runs come first, so that longer ones may start from them"
    nine = jobs_of("lr=0.001,0.002,0.005", "latent_dim=10,15,20")
    assert len(nine) == 9
    assert len(jobs_of("lr=0.001,0.002,0.005", "latent_dim=10,15,20", "+sweep=seeds")) == 27
    assert len(jobs_of("+sweep=[paper_grid,seeds]")) == 180


def test_the_experiments_are_exactly_the_rows_of_the_papers_table_3() -> None:
    jobs = jobs_of(with_files("experiment=glob(table3/*)"))
    configs = [composed(*job) for job in jobs]
    assert {(config.epochs, config.latent_dim, config.lr) for config in configs} == set(TABLE_3)
    assert len(configs) == 13
    assert [config.epochs for config in configs] == sorted(config.epochs for config in configs)
    assert {config.model._target_ for config in configs} == {"cvae_lightning.models.cvae.CVAE"}


SWEEP = ["-m", *QUICK, "epochs=1,6", "lr=0.001,0.002,0.005", "hydra.sweep.dir=sweep"]


def table(sweep: Path) -> dict[str, Any]:
    return {path.parent.name: without_times(json.loads(path.read_text())) for path in sweep.glob("*/metrics.json")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep of six runs, in `sweep`."""
    folder = tmp_path_factory.mktemp("undisturbed")
    answer = execute(*SWEEP, cwd=folder)
    assert answer.returncode == 0, answer.stderr
    assert len(re.findall("Going on from epoch 1, where sweep/[012] ends.", answer.stdout)) == 3
    return folder


@pytest.mark.slow
def test_a_sweep_that_was_killed_ends_with_the_same_table(tmp_path: Path, undisturbed: Path) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command(*SWEEP), cwd=tmp_path, env=environment(), stdout=pipe, stderr=pipe, text=True
    ) as process:
        assert "epoch 4/6" in list(lines_until(process, "epoch 4/6"))[-1]
        process.send_signal(signal.SIGKILL)
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("sweep/*/metrics.json")}
    assert len(finished) == 3
    answer = execute(*SWEEP, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert table(tmp_path / "sweep") == table(undisturbed / "sweep")
    assert finished == {path: path.stat().st_mtime_ns for path in finished}, "what was finished is left alone"
    assert "epoch 1/1" not in answer.stdout


def test_a_finished_sweep_answers_at_once(undisturbed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("metrics.json")}
    answer = execute(*SWEEP, cwd=undisturbed)
    assert answer.returncode == 0
    assert answer.stdout == "All 6 runs of sweep are complete. See sweep/report.html\n"
    assert before == {path: path.stat().st_mtime_ns for path in undisturbed.rglob("metrics.json")}


def test_a_sweep_is_not_made_in_the_directory_of_a_run(undisturbed: Path) -> None:
    answer = execute(*SWEEP[:-1], "hydra.sweep.dir=sweep/0", cwd=undisturbed)
    assert answer.returncode == 1
    assert re.search(r"'sweep/0' \(hydra\.sweep\.dir\) is the directory of a run\. Choose another", answer.stderr)


def test_what_is_no_json_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(UserError, match=rf"JSON in {tmp_path}/{RECORD}"):
        _ = Sweep(tmp_path).record


def test_another_sweep_is_not_made_in_its_directory(undisturbed: Path) -> None:
    before = sorted(undisturbed.rglob("*"))
    answer = execute(*SWEEP, "beta=2", cwd=undisturbed)
    assert answer.returncode == 1
    assert re.search(r"'sweep' \(hydra\.sweep\.dir\) already holds .*data=digits .*choose another", answer.stderr)
    assert sorted(undisturbed.rglob("*")) == before


def test_one_failing_run_does_not_cost_the_others(tmp_path: Path) -> None:
    answer = execute("-m", *QUICK, "epochs=1", "lr=-1,0.01", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert answer.returncode == 1
    sentence = "Expected a finite number above 0 (lr), got -1. The paper searches 0.001 to 0.02."
    overrides = shlex.join([*QUICK, "epochs=1", "lr=-1"])
    assert answer.stderr.splitlines()[-1] == f"sweep/0 ({overrides}): {sentence}"
    assert Run(tmp_path / "sweep" / "0").failure == sentence
    assert Run(tmp_path / "sweep" / "1").complete


@pytest.fixture
def tensorboard(undisturbed: Path) -> Iterator[str]:
    """The address of a TensorBoard that shows the sweep."""
    import socket
    import sys

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logdir = undisturbed / "sweep" / TENSORBOARD
    arguments = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", str(port)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        yield f"http://localhost:{port}"
        server.terminate()


def ask(address: str, question: dict[str, Any] | None = None) -> Any:
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_tensorboard_has_a_row_and_a_name_for_each_run(
    tensorboard: str, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the server is on this machine
    groups: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60
    while len(groups) < 6 and time.monotonic() < deadline:
        time.sleep(0.5)
        try:
            experiment = ask(f"{tensorboard}/data/plugin/hparams/experiment", {})
            question = {
                "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
                "colParams": [{"metric": info["name"]} for info in experiment["metricInfos"]],
                "startIndex": 0,
                "sliceSize": 100,
            }
            groups = ask(f"{tensorboard}/data/plugin/hparams/session_groups", question).get("sessionGroups", [])
        except (OSError, KeyError):
            continue
    assert len(groups) == 6, "one row a run"
    (columns,) = {tuple(sorted(group["hparams"])) for group in groups}
    assert {"epochs", "latent_dim", "lr", "seed", "model", "dataset"} <= set(columns)
    sweep = Sweep(undisturbed / "sweep")
    final = {run.metrics["epochs"]: 0 for run in sweep.runs}
    assert final.keys() == {1, 6}
    rows = {}
    for group in groups:
        values = {value["name"]["tag"]: value["value"] for value in group["metricValues"] if "value" in value}
        rows[group["hparams"]["epochs"], group["hparams"]["lr"]] = values
    for run in sweep.runs:
        shown = rows[run.metrics["epochs"], run.metrics["lr"]]
        assert shown["final/score_uncapped"] == pytest.approx(run.metrics["val"]["score_uncapped"], rel=1e-6)
    names = set(ask(f"{tensorboard}/data/runs"))
    assert names == {f"epochs={run.metrics['epochs']},lr={run.metrics['lr']}" for run in sweep.runs}
