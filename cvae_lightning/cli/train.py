"""The command that trains a run, alone or in a sweep, and the command that continues one."""

import logging
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from cvae_lightning.cli.interruption import Interrupted
from cvae_lightning.cli.mistakes import is_mistake, sentence
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.locks import locked
from cvae_lightning.core.shell import path_argument

if TYPE_CHECKING:
    from cvae_lightning.runs.run import Run

log = logging.getLogger(__name__)


def train(config: DictConfig) -> float | None:
    """Train in the directory that Hydra has made; return the val metric that a sweeper maximises.

    The same command in the same directory again continues what was interrupted, and leaves alone what is complete.
    """
    from cvae_lightning.runs.run import Run

    hydra = HydraConfig.get()
    path = _shortest(Path(hydra.runtime.output_dir))
    if config.data_dir:  # for whoever reads the run later, in another working directory
        config.data_dir = str(Path(str(config.data_dir)).absolute())
    in_sweep = hydra.mode == RunMode.MULTIRUN
    # Before the seconds that the imports take, so that longer runs see it in time.
    with locked(path, "hydra.run.dir", wait=in_sweep):
        run = Run.begin(path, config, hydra.overrides.task, OmegaConf.create({"hydra": hydra}))
        if run.raw_config.data.name != config.data.name:
            log.warning("%s was begun on %s, and stays with them.", run.path, run.raw_config.data.name)
        if in_sweep:
            return _train_in_sweep(run)
        try:
            return _train(run)
        except Exception:
            run.discard_unless_begun()
            raise


def resume(config: DictConfig) -> None:
    """Continue the run in the directory `resume`, with the configuration that lies there."""
    from cvae_lightning.core.files import refuse_links_out_of
    from cvae_lightning.runs.run import Run
    from cvae_lightning.runs.sweep import sweep_of

    run = Run(config.resume, key="resume").with_data_in(config.data_dir)
    sweep = sweep_of(run)  # whose locks are used
    refuse_links_out_of(sweep.path if sweep else run.path, "resume", "Remove the link.")
    if run.complete:
        log.info("%s is complete: there is nothing to continue.", run.path)
        return
    with locked(run.path, "resume"):
        log_to_file(run.path / "train.log")
        _train(run)


def _train(run: "Run") -> float | None:
    from cvae_lightning.runs.summary import next_commands, summary
    from cvae_lightning.training.train import train as train_run

    if run.complete:
        log.info("%s is complete: there is nothing to continue.", run.path)
        return run.objective
    try:
        metrics = train_run(run)
    except Interrupted as interruption:
        again = f"python -m cvae_lightning {path_argument('resume', run.path)}"
        log.warning("%s Continue with: %s", interruption, again)
        raise
    log.info("\n%s\n", summary(metrics))
    log.info("%s", next_commands(run.path))
    return run.objective


def _train_in_sweep(run: "Run") -> float | None:
    """An error is left with the run, for the report of the sweep."""
    try:
        from cvae_lightning.runs.data_record import check_data_are_the_same
        from cvae_lightning.runs.summary import one_line
        from cvae_lightning.training.train import train as train_run

        if run.complete:
            check_data_are_the_same(run)
            log.info("%s is complete.", run.path)
        else:
            log.info("%s: %s", run.path, shlex.join(run.overrides))
            train_run(run)
            log.info("%s: %s", run.path, one_line(run.metrics))
        return run.objective
    except Exception as error:
        message = sentence(error, "config")
        with suppress(UserError, OSError):  # of a full disk, of which the sentence tells too
            run.write_failure(message)
        log.error("%s failed: %s", run.path, message, exc_info=not is_mistake(error))
        raise


def _shortest(path: Path) -> Path:
    """Relative to the working directory, where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def log_to_file(path: Path) -> None:
    """Let the log go on in the train.log of an earlier part of the run."""
    config = OmegaConf.load(CONF / "hydra" / "job_logging" / "train.yaml")
    handler = logging.FileHandler(path, encoding=config.handlers.file.encoding, errors=config.handlers.file.errors)
    handler.setFormatter(logging.Formatter(config.formatters.timed.format))
    logging.getLogger().addHandler(handler)
