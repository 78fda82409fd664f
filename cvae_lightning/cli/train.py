"""The command that trains a run, alone or in a sweep, and the command that continues one."""

import functools
import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from cvae_lightning.cli.mistakes import is_mistake, sentence
from cvae_lightning.cli.signals import Interrupted
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError, refuse
from cvae_lightning.core.files import refuse_links_out_of
from cvae_lightning.core.imports import quick_imports
from cvae_lightning.core.locks import locked
from cvae_lightning.core.shell import command_line, path_argument
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.summary import next_commands, one_line, summary
from cvae_lightning.runs.sweep import sweep_of

log = logging.getLogger(__name__)

ON_ONE_GPU = ("joblib", "LocalLauncher")  # in the names of launchers that leave the choice of a GPU to the run


def train(config: DictConfig) -> float | None:
    """Train in the directory that Hydra has made; return the val metric that a sweeper maximises.

    The same command in the same directory continues a run that was interrupted, and leaves a complete one alone.
    """
    with begun(config) as run:
        in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        return _train_in_sweep(run) if in_sweep else _train_alone(run)


@contextmanager
def begun(config: DictConfig) -> Iterator[Run]:
    """The run of `config` in the directory that Hydra has made, locked while the context lasts."""
    hydra = HydraConfig.get()
    path = _relative(Path(hydra.runtime.output_dir))
    if config.data_dir:  # whoever reads the run later may be in another working directory
        config.data_dir = str(Path(str(config.data_dir)).absolute())
    if config.data.get("path"):
        config.data.path = os.path.abspath(str(config.data.path))  # noqa: PTH100 # without .., unlike Path.absolute
        if config.data.name == "folder":  # which stands for the name of the folder
            config.data.name = Path(config.data.path).name or "folder"
    with locked(path, "hydra.run.dir", wait=hydra.mode == RunMode.MULTIRUN):
        run = Run.begin(path, config, hydra.overrides.task, OmegaConf.create({"hydra": hydra}))
        if run.raw_config.data.name != config.data.name:
            log.warning("%s was begun on %s and continues with that data.", run.path, run.raw_config.data.name)
        yield run


def resume(config: DictConfig) -> None:
    """Continue the run in the directory `resume` with the configuration that is stored there."""
    run = Run(config.resume, key="resume").with_data_of(config)
    sweep = sweep_of(run)
    written = sweep.path if sweep else run.path  # training in a sweep takes locks in the folders of other runs
    refuse_links_out_of(written, "resume", "Remove the link.")
    if run.complete:
        _say_complete(run)
        return
    _check_store(run)
    with locked(run.path, "resume"):
        _append_log_to(run.path / "train.log")
        _train(run)


def _train_alone(run: Run) -> float | None:
    """Train the run; if it fails before its first checkpoint, remove what it has written."""
    try:
        return _train(run)
    except Exception:
        if not run.begun:
            _close_log()
        run.discard_unless_begun()
        raise


def _train(run: Run) -> float | None:
    """Train the run unless it is complete, and say how it went and what to do next."""
    if run.complete:
        _say_complete(run)
        return run.objective
    with quick_imports():  # of torch, now that the run is locked
        from cvae_lightning.training.train import train as train_run

    try:
        metrics = train_run(run)
    except Interrupted as interruption:
        again = f"{command_line('train')} {path_argument('resume', run.path)}"
        log.warning("%s Continue with: %s", interruption, again)
        raise
    log.info("\n%s\n", summary(metrics))
    log.info("%s", next_commands(run.path))
    return run.objective


def _train_in_sweep(run: Run) -> float | None:
    """Train one run of a sweep; an error is also written into its directory, for the report."""
    try:
        # The lock meanwhile tells other processes that this run is being trained, and they wait.
        with quick_imports():
            from cvae_lightning.runs.data_record import check_data_are_the_same
            from cvae_lightning.training.train import train as train_run

        _warn_of_idle_gpus(str(run.raw_config.accelerator))
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
        with suppress(UserError, OSError):  # if the disk is full, `message` says so
            run.write_failure(message)
        log.error("%s failed: %s", run.path, message, exc_info=not is_mistake(error))
        raise


@functools.cache
def _warn_of_idle_gpus(accelerator: str) -> None:
    """Warn, once in a process, if all processes of the launcher take the first of several GPUs."""
    from torch.cuda import device_count

    launcher = str(OmegaConf.select(OmegaConf.create({"hydra": HydraConfig.get()}), "hydra.launcher._target_"))
    if accelerator != "cpu" and any(word in launcher for word in ON_ONE_GPU) and (num := device_count()) > 1:
        log.warning("All runs share the first of %d GPUs: hydra/launcher=ray gives each run one of its own.", num)


def _check_store(run: Run) -> None:
    """Raises UserError if the run, which may be somebody else's, would log to a place that this person did not name."""
    for name, part in run.raw_config.logger.items():
        uri = part.get("tracking_uri") if isinstance(part, DictConfig) else None
        if uri is not None and uri != os.environ.get("MLFLOW_TRACKING_URI"):
            remedy = "The run logs there: if you trust that place, set MLFLOW_TRACKING_URI to it."
            refuse("null or the value of MLFLOW_TRACKING_URI", f"logger.{name}.tracking_uri", uri, remedy)


def _say_complete(run: Run) -> None:
    log.info("%s is complete: there is nothing to continue.", run.path)


def _relative(path: Path) -> Path:
    """The path relative to the working directory, if it lies in that directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _append_log_to(path: Path) -> None:
    """Append the log to the train.log of the earlier part of the run."""
    config = OmegaConf.load(CONF / "hydra" / "job_logging" / "train.yaml")
    handler = logging.FileHandler(path, encoding=config.handlers.file.encoding, errors=config.handlers.file.errors)
    handler.setFormatter(logging.Formatter(config.formatters.timed.format))
    logging.getLogger().addHandler(handler)


def _close_log() -> None:
    """Close train.log, because Windows removes no file that is open."""
    for handler in logging.getLogger().handlers[:]:
        if isinstance(handler, logging.FileHandler):
            logging.getLogger().removeHandler(handler)
            handler.close()
