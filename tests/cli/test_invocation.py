"""Invocations in this process: what they print, what they return, and what they leave behind."""

import logging
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import QUICK
from hydra._internal.hydra import Hydra

from cvae_lightning.cli import commands
from cvae_lightning.cli.invocation import FULL_ERROR, Invocation
from cvae_lightning.cli.signals import Interrupted
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.locks import holder
from cvae_lightning.runs.run import Run

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, and the log as it was: Hydra configures it for each run."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield tmp_path
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers, root.level = handlers, level


def test_a_help_names_the_command_as_it_was_typed(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Invocation("sample", ["--help"]).run() == 0
    with_module = capsys.readouterr().out
    assert "usage: python -m cvae_lightning.sample run=" in with_module
    monkeypatch.setattr(sys, "argv", ["/usr/bin/cvae-lightning", "sample", "--help"])
    assert Invocation("sample", ["--help"]).run() == 0
    with_script = capsys.readouterr().out
    assert "usage: cvae-lightning sample run=" in with_script
    assert "python -m" not in with_script
    assert with_script.count("cvae-lightning sample") == with_module.count("python -m cvae_lightning.sample")


def test_no_help_shows_what_hydra_is_not_asked_to_list() -> None:
    templates = [path.read_text() for path in CONF.glob("hydra/help/*.yaml")]
    assert len(templates) >= len(commands.COMMANDS)
    assert not any("CONFIG_GROUPS" in template for template in templates)
    listing = Hydra.format_config_groups
    assert Invocation("sample", ["--help"]).run() == 0
    assert Hydra.format_config_groups is listing


@pytest.mark.parametrize("words", [["latentdim=3"], ["-m", "latentdim=3,4"], ["resume=nowhere"], ["--lr", "3"]])
def test_a_mistake_is_a_sentence_and_status_1(words: list[str], capsys: Captured, empty: Path) -> None:
    typed = sys.argv[:]
    assert Invocation("train", words).run() == 1
    assert (sys.argv, os.environ.get(FULL_ERROR)) == (typed, None), "the process is left as it was"
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert not [path for path in empty.rglob("*") if path.is_file()]


def raises(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the task of every command raise this."""

    def task(_: object) -> None:
        raise error

    monkeypatch.setattr("cvae_lightning.cli.invocation.task_of", lambda _: task)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("words", [["data=digits"], ["-m", "data=digits", "seed=1,2", "hydra.sweep.dir=sweep"]])
def test_an_interruption_has_the_status_that_a_shell_expects(
    signum: signal.Signals, status: int, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    raises(Interrupted(signum), monkeypatch)
    assert Invocation("train", words).run() == status
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"Interrupted by {signum.name}.")
    assert ("hydra.sweep.dir=sweep" in last) is ("-m" in words)
    assert holder(Path("sweep")) is None, "the next one may begin at once"


def test_a_signal_during_the_report_of_a_sweep_ends_as_any_other(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def interrupted(_: object) -> list[str]:
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr("cvae_lightning.cli.multirun.SweepInProgress.finish", interrupted)
    monkeypatch.setattr("cvae_lightning.cli.invocation.task_of", lambda _: lambda _: None)
    assert Invocation("train", ["-m", "data=digits", "seed=1,2", "hydra.sweep.dir=sweep"]).run() == 130
    assert "Interrupted by SIGINT. Continue with the same command" in capsys.readouterr().err


def test_a_fault_of_the_program_and_with_full_errors_a_mistake_keep_their_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raises(ZeroDivisionError("a fault"), monkeypatch)
    with pytest.raises(ZeroDivisionError, match="a fault"):
        Invocation("sample", ["run=x"]).run()
    raises(UserError("a mistake"), monkeypatch)
    assert Invocation("sample", ["run=x"]).run() == 1
    monkeypatch.setenv(FULL_ERROR, "1")
    with pytest.raises(UserError, match="a mistake"):
        Invocation("sample", ["run=x"]).run()


def test_what_stops_a_sweep_is_said_beside_the_runs_that_it_left_undone(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """A worker of an engine that dies is no error of a run; a fault in the report is one of the program."""
    left = ["No error was recorded."]
    monkeypatch.setattr("cvae_lightning.cli.multirun.SweepInProgress.finish", lambda _: left)
    raises(ZeroDivisionError("a worker died"), monkeypatch)
    words = ["-m", "data=digits", "seed=1,2", "hydra.sweep.dir=sweep"]
    assert Invocation("train", words).run() == 1
    assert capsys.readouterr().err.splitlines()[-1] == "a worker died"

    def faulty(_: object) -> list[str]:
        raise TypeError("a fault")

    monkeypatch.setattr("cvae_lightning.cli.multirun.SweepInProgress.finish", faulty)
    with pytest.raises(TypeError, match="a fault"):
        Invocation("train", words).run()


def test_a_sweep_reports_all_its_runs_and_has_status_1_where_one_failed(capsys: Captured) -> None:
    words = ["-m", *QUICK, "epochs=1", "lr=-1,0.01", "hydra.sweep.dir=sweep"]
    assert Invocation("train", words).run() == 1
    captured = capsys.readouterr()
    failed, trained = Run("sweep/0"), Run("sweep/1")
    assert trained.complete
    assert failed.failure
    assert re.search(r"\(lr\), got -1", failed.failure)
    assert captured.err.splitlines()[-1].startswith("sweep/0 (")
    assert captured.err.splitlines()[-1].endswith(f": {failed.failure}")
    assert Path("sweep/report.html").exists()


def test_every_command_has_a_task() -> None:
    for name in commands.TASKS:
        assert callable(commands.task_of(name))
    assert {"train" if name in ("config", "resume") else name for name in commands.TASKS} == commands.COMMANDS.keys()
