"""The directory of a sweep, from before its first run until its report is written."""

import hashlib
import json
import shlex
import sys
from contextlib import ExitStack
from contextvars import ContextVar, Token
from pathlib import Path
from typing import Any, Self

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from cvae_lightning.cli.escape import Escape, errors_wrapped
from cvae_lightning.cli.plugins import conf_folders
from cvae_lightning.core import plugins
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError, quoted
from cvae_lightning.core.files import new_directory, refuse_links_out_of, write_whole
from cvae_lightning.core.imports import quick_imports
from cvae_lightning.core.locks import locked
from cvae_lightning.core.shell import path_argument
from cvae_lightning.runs.configuration import keys_that_refer_to
from cvae_lightning.runs.sweep import RECORD, Sweep

# Hydra builds its callbacks from conf/config.yaml alone, so a callback finds the sweep of its invocation here.
_current: ContextVar["SweepInProgress"] = ContextVar("_current")


class SweepInProgress:
    """The sweep that an invocation makes, if it makes one; a context in which Hydra's callbacks find it.

    Its directory stays locked until the context ends.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self._lock = ExitStack()

    def __enter__(self) -> Self:
        self._token: Token[SweepInProgress] = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
        self._lock.close()

    def begin(self, config: DictConfig) -> None:
        """Lock the directory and write sweep.json there, from which a sweep is read.

        Raises UserError if the directory holds something else, and Escape if all runs are complete.
        """
        path = Path(config.hydra.sweep.dir)
        self._lock.enter_context(locked(path, "hydra.sweep.dir"))
        _write_record(path, config)
        self.path = path
        if note := _on_shared_training(config):
            print(note, file=sys.stderr)

    def how_to_continue(self) -> str:
        """The command that continues the sweep, for the message after an interruption; empty if there is no sweep."""
        if not self.path:
            return ""
        return f" Continue with the same command and {path_argument('hydra.sweep.dir', self.path)}"

    def finish(self) -> list[str]:
        """Write the report and list the runs that did not end well on stderr; return what went wrong with each."""
        if not self.path:
            return []
        sweep = Sweep(self.path)
        if not sweep.runs:
            sweep.discard()
            return []
        with quick_imports():  # of matplotlib and pandas
            from cvae_lightning.reports.writing import write_report

        print(write_report(sweep))
        failures = sweep.failures
        for path, overrides, reason in failures:
            print(f"{path} ({shlex.join(overrides)}): {reason}", file=sys.stderr)
        return [reason for _, _, reason in failures]


class Multirun(Callback):
    """Hydra's callback, which checks the directory of a run or a sweep before Hydra makes it."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before Hydra opens train.log."""
        with errors_wrapped():
            _claim(config, "run")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before Hydra composes the configurations of the runs."""
        with errors_wrapped():
            for module in plugins.named():  # a plug-in that is broken is reported once, and not for each run
                plugins.imported(module)
            _claim(config, "sweep")
            _current.get().begin(config)


def _claim(config: DictConfig, mode: str) -> None:
    """Refuse a directory hydra.<mode>.dir with links that lead out of it; make a new one if its name is the default.

    The default name is the time, and another process may have taken it: `config` gets the name that was made instead.
    """
    refuse_links_out_of(Path(config.hydra[mode].dir), f"hydra.{mode}.dir", "Name another directory.")
    default = OmegaConf.load(CONF / "config.yaml").hydra
    if _template(config.hydra, mode) != _template(default, mode):
        return
    path = new_directory(Path(config.hydra[mode].dir))
    with read_write(config.hydra):
        config.hydra[mode].dir = str(path)
        config.hydra.overrides.hydra.append(f"hydra.{mode}.dir={path}")  # from which the runs of a sweep are composed


def _template(hydra: DictConfig, mode: str) -> Any:
    return OmegaConf.to_container(hydra[mode], resolve=False)["dir"]  # type: ignore[index,call-overload]  # a dict


def _write_record(path: Path, config: DictConfig) -> None:
    """Write sweep.json into the directory `path`, unless a run or another sweep is there.

    Raises UserError if one is, and Escape if the directory holds the same sweep and all of its runs are complete.
    """
    record = {
        "command": list(config.hydra.overrides.task),
        "jobs": _jobs(config),
        "composed_from": _digest(config),
    }
    if (path / RECORD).is_file():
        sweep = Sweep(path)
        asked = "jobs" if record["jobs"] else "command"  # a search chooses its runs as it goes on
        if sweep.record[asked] != record[asked]:
            raise UserError(
                f"{quoted(path)} (hydra.sweep.dir) already holds the sweep {shlex.join(sweep.record['command'])}. "
                "Repeat that command, or choose another directory."
            )
        if sweep.record == record and sweep.complete and (path / "report.html").exists():
            _answer_at_once(sweep)
    if (path / ".hydra").exists():
        raise UserError(f"{quoted(path)} (hydra.sweep.dir) is the directory of a run. Choose another for the sweep.")
    path.mkdir(parents=True, exist_ok=True)
    write_whole(path / RECORD, json.dumps(record, indent=1) + "\n")


def _answer_at_once(sweep: Sweep) -> None:
    """Say that all runs are complete, and leave Hydra, which would take longer to compose their configurations."""
    with quick_imports():  # of torch
        from cvae_lightning.runs.data_record import check_data_are_the_same

    for run in sweep.runs:
        check_data_are_the_same(run)
    print(f"All {len(sweep.runs)} runs of {sweep.path} are complete. See {sweep.path / 'report.html'}")
    raise Escape


def _jobs(config: DictConfig) -> list[list[str]] | None:
    """The overrides of each run, as Hydra's basic sweeper expands them; None if another sweeper chooses them."""
    sweeper = config.hydra.sweeper
    if not sweeper._target_.endswith(".BasicSweeper"):
        return None
    given = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    (jobs,) = BasicSweeper.split_arguments(parser.parse_overrides([*given, *config.hydra.overrides.task]), None)
    return jobs


def _on_shared_training(config: DictConfig) -> str:
    """A sentence for a sweep over epochs whose runs cannot begin with the training of shorter ones; otherwise empty."""
    lengths = {word for job in _jobs(config) or () for word in job if word.startswith("epochs=")}
    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    keys = [key for key in keys_that_refer_to("epochs", task) if key != "trainer.max_epochs"]
    if len(lengths) < 2 or not keys:
        return ""
    return f"Each number of epochs is trained from the start: {keys[0]} depends on it from the first step."


def _digest(config: DictConfig) -> str:
    """The SHA-256 of everything that the configurations of the runs are composed from, except the overrides."""
    files = [
        (path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8"))
        for folder in conf_folders()
        for path in sorted(folder.rglob("*.yaml"))
    ]
    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    shared = OmegaConf.to_container(task, resolve=True)
    return hashlib.sha256(json.dumps([files, shared], sort_keys=True).encode()).hexdigest()
