"""A sweep directory: its runs, the command that made it, and which of its runs another can continue from."""

import hashlib
import logging
import re
import shlex
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.files import read_json, refuse_links_out_of
from cvae_lightning.core.locks import holder, wait_until_free
from cvae_lightning.metrics.catalog import describe
from cvae_lightning.runs.metrics_file import Environment
from cvae_lightning.runs.run import Run

log = logging.getLogger(__name__)

RECORD = "sweep.json"
TENSORBOARD = "tensorboard"  # the folder with the event files of all runs
MAX_NAME_BYTES, HASH_LENGTH = 255, 12  # what file systems take; characters of a SHA-256
QUICK_TO_COMPARE = ("seed", "lr", "latent_dim", "batch_size", "beta")  # a metrics.json is read a hundred times faster


class Sweep:
    """A directory that `python -m cvae_lightning -m ...` has made; nothing is read before it is asked for."""

    def __init__(self, path: str | Path) -> None:
        """Raises UserError if it is not a sweep directory."""
        self.path = Path(str(path))
        if not (self.path / RECORD).is_file():
            refuse(f"a sweep directory, which holds {RECORD}", "sweep", str(path), "Name a folder that -m has made.")

    @cached_property
    def record(self) -> dict[str, Any]:
        """`command`: the overrides on the command line; `jobs`: those of each run, null if a search chooses them.

        Raises UserError if they are anything else.
        """
        record = read_json(self.path / RECORD)
        jobs = record.get("jobs") if isinstance(record, dict) else ()
        words = [record.get("command"), *(jobs or [])] if isinstance(jobs, list | None) else [None]
        if not all(map(_are_overrides, words)):
            refuse("lists of overrides (command, jobs)", str(self.path / RECORD), record, "Name another sweep.")
        return dict(record)

    @property
    def runs(self) -> list[Run]:
        """All runs that have a directory, in the order of their numbers."""
        folders = (file.parent.parent for file in self.path.glob("*/.hydra/config.yaml"))
        return [Run(folder) for folder in sorted(folders, key=lambda folder: _natural(folder.name))]

    @property
    def missing(self) -> list[tuple[str, list[str]]]:
        """Number and overrides of each run of the command that has no directory yet."""
        begun = {run.path.name for run in self.runs}
        jobs = enumerate(self.record["jobs"] or [])
        return [(str(number), overrides) for number, overrides in jobs if str(number) not in begun]

    @property
    def complete(self) -> bool:
        """Whether all runs of the command are complete; always False for a search, which may go on."""
        return bool(self.record["jobs"]) and not self.missing and all(run.complete for run in self.runs)

    @property
    def failures(self) -> list[tuple[Path, list[str], str]]:
        """The directory, the overrides and what went wrong, for each run that did not end well."""
        killed = "No error was recorded; the process was probably killed or ran out of memory."
        incomplete = [(run, run.trained_by) for run in self.runs if not run.complete]
        ended = [
            (run.path, run.overrides, f"It is being trained by {process}." if process else run.failure or killed)
            for run, process in incomplete
        ]
        return [*ended, *((self.path / number, given, "It was not started.") for number, given in self.missing)]

    def discard(self) -> None:
        """Remove the record of a sweep none of whose runs began."""
        for file in (self.path / RECORD, self.path / "multirun.yaml"):
            file.unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def name_of(self, overrides: Sequence[str]) -> str:
        """The overrides that distinguish a run from the others in the sweep, such as "lr=0.001,latent_dim=10"."""
        jobs = self.record["jobs"] or []
        shared = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
        differing = [override for override in overrides if override not in shared]
        return ",".join(differing).replace("/", "-").replace("experiment=", "") or "run"

    def folder_of(self, overrides: Sequence[str], number: str) -> str:
        """`name_of` as the name of a folder on any system, which loggers show; a hash replaces the end of a long name.

        The `number` of the run stands at its end if another run may have the same overrides, as in a search.
        """
        alone = (self.record["jobs"] or []).count(list(overrides)) == 1
        name = self.name_of(overrides) if alone else f"{self.name_of(overrides)} ({number})"
        name = re.sub(r'^\.|\$\{|[<>:"\\|?*]|[. ]$|[^ -\U0010ffff]', "_", name)
        if len(name.encode()) <= MAX_NAME_BYTES:
            return name
        digest = hashlib.sha256(name.encode()).hexdigest()[:HASH_LENGTH]
        kept = name.encode()[: MAX_NAME_BYTES - HASH_LENGTH - len("...")].decode(errors="ignore")
        return f"{kept}...{digest}"


def sweep_of(run: Run) -> Sweep | None:
    """The sweep that the run is part of; None for a run of its own."""
    return Sweep(run.path.parent) if (run.path.parent / RECORD).is_file() else None


def chosen_run(path: str | Path) -> Run:
    """The complete run in the directory `path`, or if that is a sweep, its best one by `objective`, which is logged.

    Raises UserError if `path` is neither, if the run is incomplete, or if no run of the sweep is complete.
    """
    if not (Path(path) / RECORD).is_file():
        run = Run(path)
        _ = run.metrics  # raises UserError if the run is incomplete
        return run
    complete = [run for run in Sweep(path).runs if run.complete]
    runs = [run for run in complete if run.objective is not None]
    if complete and not runs:
        objective = complete[0].raw_config.objective
        refuse(f"a run that has {objective}", "run", str(path), "metrics.json says why; name one of the sweep's runs.")
    if not runs:
        process = holder(Path(path))
        remedy = f"It is being made by {process}; wait." if process else "Continue it with its own command."
        refuse("a sweep with a complete run", "run", str(path), remedy)
    best = max(runs, key=lambda run: describe(run.raw_config.objective).better * (run.objective or 0))
    log.info(
        "The best run of the sweep by %s: %s (%s).", best.raw_config.objective, best.path, shlex.join(best.overrides)
    )
    return best


def run_and_output(path: Any, out: Any, name: str) -> tuple[Run, Path]:
    """`chosen_run(path)`, and the folder that a command writes into: `out`, or if that is None, `name` in the run.

    For a model that comes with the package, it is `name` in outputs/pretrained/<model>, and the package stays as it is.
    Raises UserError as `chosen_run` does, and if a symbolic link leads out of a directory that would be written into.
    """
    path = Path(str(path))  # a number is a name too
    run = chosen_run(path)
    if out is not None:
        return run, Path(str(out))
    if run.pretrained:
        return run, Path("outputs", "pretrained", run.pretrained, name)
    refuse_links_out_of(path, "run", "Remove the link, or name another folder with out.")
    return run, run.path / name


def longest_prefix(run: Run, digests: dict[str, str], environment: Environment) -> Run | None:
    """The longest complete run of the same sweep that the training of `run` would repeat at first, bit for bit.

    Its configuration differs in the number of epochs only, and it was trained on the same files, with the same
    versions, device and number of threads. None if there is no such run.
    """
    sweep, config, family = sweep_of(run), run.raw_config, run.family
    candidates = [
        other
        for other in (sweep.runs if sweep else [])
        if other.complete
        and other.metrics["epochs"] < config.epochs
        and all(other.metrics.get(key) == config[key] for key in QUICK_TO_COMPARE)
        and other.family == family
        and digests.items() <= other.metrics["dataset"]["files"].items()
        and environment == other.metrics["environment"]
        and (other.path / "checkpoints" / "last.ckpt").is_file()
    ]
    return max(candidates, key=lambda other: other.metrics["epochs"], default=None)


def wait_for_shorter_ones(run: Run) -> None:
    """Wait while other processes train shorter runs of the same family, which `run` can then continue from.

    A run waits only for shorter ones, so there is no deadlock, and never for one that no process is training.
    """
    sweep = sweep_of(run)
    for other in sweep.runs if sweep else []:
        if not other.complete and other.raw_config.epochs < run.raw_config.epochs and other.family == run.family:
            wait_until_free(other.path)


def _are_overrides(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _natural(name: str) -> list[Any]:
    """A key for sorting names by the numbers in them: 2 before 10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
