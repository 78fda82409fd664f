"""What a multirun does beside its runs: it notes what was asked for, answers at once when all is done, and reports."""

import atexit
import hashlib
import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from cvae_lightning.cli.mistakes import sentence
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError, refuse
from cvae_lightning.core.files import refuse_links_out_of, write_whole
from cvae_lightning.core.locks import locked, new_directory
from cvae_lightning.core.shell import path_argument
from cvae_lightning.runs.sweep import RECORD, Sweep

_directory: list[Path] = []  # of the multirun that this process has begun
_lock = ExitStack()  # that of the directory, held until the report is written
atexit.register(_lock.close)


class Multirun(Callback):
    """Claims a new directory for a run or a sweep that is named by the time alone, before Hydra makes it.

    Of a sweep it writes sweep.json, from which a sweep directory is read, before the first run. It ends the process
    itself where nothing is to be done, and where a directory is refused, since Hydra turns the exceptions of its
    callbacks into warnings.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before Hydra opens train.log."""
        with _one_sentence():
            _claim(config, "run")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _one_sentence():
            _claim(config, "sweep")
            path = Path(config.hydra.sweep.dir)
            _lock.enter_context(locked(path, "hydra.sweep.dir"))
            _begin(path, config)
        _directory[:] = [path]


def begun() -> bool:
    return bool(_directory)


def how_to_continue() -> str:
    if not begun():
        return ""
    return f" Continue with the same command and {path_argument('hydra.sweep.dir', _directory[0])}"


def finish() -> bool:
    """Write the report of the sweep, where there is one, and list its failures; return whether there were any."""
    if not begun():
        return False
    sweep = Sweep(_directory[0])
    with _lock:
        if not sweep.runs:
            sweep.discard()
            return False
        from cvae_lightning.reports.pages import write_report

        print(write_report(sweep))
        failures = sweep.failures
    for path, overrides, reason in failures:
        print(f"{path} ({shlex.join(overrides)}): {reason}", file=sys.stderr)
    return bool(failures)


@contextmanager
def _one_sentence() -> Iterator[None]:
    """End the process with exit status 1 and one sentence after a mistake."""
    try:
        yield
    except (UserError, OSError) as error:
        print(sentence(error, "config"), file=sys.stderr)
        sys.exit(1)


def _claim(config: DictConfig, mode: str) -> None:
    """Refuse a directory hydra.<mode>.dir with links that lead out of it; make it new where it is the default.

    `config` then has the name that it got.
    """
    refuse_links_out_of(Path(config.hydra[mode].dir), f"hydra.{mode}.dir", "Name another directory.")
    default = OmegaConf.load(CONF / "config.yaml").hydra
    if _template(config.hydra, mode) != _template(default, mode):
        return
    path = new_directory(Path(config.hydra[mode].dir))
    with read_write(config.hydra):
        config.hydra[mode].dir = str(path)
        config.hydra.overrides.hydra.append(f"hydra.{mode}.dir={path}")  # what the runs of a sweep are composed from


def _template(hydra: DictConfig, mode: str) -> Any:
    return OmegaConf.to_container(hydra[mode], resolve=False)["dir"]  # type: ignore[index,call-overload]  # a dict


def _begin(path: Path, config: DictConfig) -> None:
    record = {
        "command": list(config.hydra.overrides.task),
        "jobs": _jobs(config),
        "composed_from": _digest(config),
    }
    if (path / RECORD).is_file():
        sweep = Sweep(path)
        asked = "jobs" if record["jobs"] else "command"  # a search chooses its runs as it goes on
        if sweep.record[asked] != record[asked]:
            remedy = "Repeat the command that made it, or name another directory."
            refuse(
                f"the runs of the sweep in this directory ({shlex.join(sweep.record['command'])})",
                "hydra.sweep.dir",
                str(path),
                remedy,
            )
        if sweep.record == record and sweep.complete and (path / "report.html").exists():
            _answer_at_once(sweep)
    if (path / ".hydra").exists():
        refuse("a folder for a sweep", "hydra.sweep.dir", str(path), "A run lies in this one. Name another.")
    path.mkdir(parents=True, exist_ok=True)
    write_whole(path / RECORD, json.dumps(record, indent=1) + "\n")


def _answer_at_once(sweep: Sweep) -> None:
    """Composing each run's configuration takes Hydra longer than seeing that the same was composed before."""
    from cvae_lightning.runs.data_record import check_data_are_the_same

    for run in sweep.runs:
        check_data_are_the_same(run)
    print(f"All {len(sweep.runs)} runs of {sweep.path} are complete. See {sweep.path / 'report.html'}")
    sys.exit(0)


def _jobs(config: DictConfig) -> list[list[str]] | None:
    """The overrides of each run, as Hydra's basic sweeper expands them; None where another sweeper chooses them."""
    sweeper = config.hydra.sweeper
    if not sweeper._target_.endswith(".BasicSweeper"):
        return None
    given = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    (jobs,) = BasicSweeper.split_arguments(parser.parse_overrides([*given, *config.hydra.overrides.task]), None)
    return jobs


def _digest(config: DictConfig) -> str:
    """Of all that the runs' configurations are composed from, beside their overrides."""
    files = {str(path.relative_to(CONF)): path.read_text(encoding="utf-8") for path in sorted(CONF.rglob("*.yaml"))}
    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    shared = OmegaConf.to_container(task, resolve=True)
    return hashlib.sha256(json.dumps([files, shared], sort_keys=True).encode()).hexdigest()
