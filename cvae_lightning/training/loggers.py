"""The loggers of a training, which are Lightning's own: where they write, how they continue, and what each can show.

What differs between them is in this file only.
"""

import csv
import importlib.util
import json
import logging
import os
import re
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import url2pathname
from uuid import uuid4

from filelock import FileLock
from omegaconf import DictConfig
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.writer import SummaryWriter

from cvae_lightning.core.build import build
from cvae_lightning.core.errors import UserError, check_boolean, refuse
from cvae_lightning.core.files import is_inside, read_json, write_whole
from cvae_lightning.runs.run import LOGGERS, Run
from cvae_lightning.runs.sweep import TENSORBOARD, sweep_of

PROJECTS = {"project", "experiment_name"}
NAMES = {*PROJECTS, "name", "entity", "group", "job_type", "notes", "run_name", "tracking_uri", "prefix", "sub_dir"}
ID = re.compile(r"[\w-]{1,64}", re.ASCII)
RGBA = 4  # the number of that colour space in a summary of TensorBoard
ENVIRONMENT = {  # what the libraries would otherwise do without being asked
    "MLFLOW_ALLOW_FILE_STORE": "true",  # recent versions refuse to log into a folder, which they maintain only
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
}

logging.getLogger("pytorch_lightning.loggers.mlflow").setLevel(logging.ERROR)  # it warns of each new experiment


class Kind(NamedTuple):
    """What a run adds to the configuration of a logger of Lightning, and which keys that configuration may have."""

    keys: frozenset[str]
    arguments: Callable[[Run, DictConfig], dict[str, Any]]
    package: str | None = None  # which an extra of the same name installs


def build_loggers(run: Run) -> list[Logger]:
    """The loggers of the run's configuration; none of them has written anything yet.

    Raises UserError for a package that is missing, for arguments that a logger would refuse only later, and for a
    logger that would write elsewhere than into the directory of the run or of its sweep. A logger of a plug-in is built
    from its configuration alone.
    """
    parts = {name: part for name, part in run.raw_config.logger.items() if part is not None}
    return [_built(run, f"logger.{name}", part) for name, part in parts.items()]


def _built(run: Run, key: str, config: DictConfig) -> Logger:
    if not isinstance(config, DictConfig) or "_target_" not in config:
        refuse("a logger", key, config, "Choose one of conf/logger.")
    kind = KINDS.get(str(config._target_).removeprefix("pytorch_lightning.loggers."))
    if kind is None:
        return build(config)
    if unknown := sorted(map(str, config.keys() - kind.keys - {"_target_"})):
        name = str(config._target_).rpartition(".")[2]
        refuse(f"other arguments of {name}", key, unknown, "Leave them out.")
    _check_names(key, config)
    arguments = kind.arguments(run, config)
    if kind.package and importlib.util.find_spec(kind.package) is None:
        install = f"Install the extra: pip install 'cvae_lightning[{kind.package}]'."
        raise UserError(f"logger={kind.package} needs the package {kind.package}, which is not installed. {install}")
    for name, default in ENVIRONMENT.items():
        os.environ.setdefault(name, default)
    logger: Logger = build(config, **arguments)
    if isinstance(logger, TensorBoardLogger | CSVLogger) and not is_inside(logger.log_dir, Path(logger.save_dir)):
        remedy = "Leave its name, version and sub_dir out."
        refuse("a folder in the run directory", key, logger.log_dir, remedy)
    return logger


def _of_tensorboard(run: Run, config: DictConfig) -> dict[str, Any]:
    """The folder of the run, or in a sweep a folder beside the runs, so that TensorBoard shows nothing but its name."""
    sweep = sweep_of(run)
    if sweep is None:
        return {"save_dir": str(run.path), "version": ""}
    return {"save_dir": str(sweep.path / TENSORBOARD), "version": sweep.folder_of(run.overrides, run.path.name)}


def _of_csv(run: Run, config: DictConfig) -> dict[str, Any]:
    return {"save_dir": str(run.path), "version": ""}


def _of_wandb(run: Run, config: DictConfig) -> dict[str, Any]:
    check_boolean("logger.wandb.offline", config.get("offline"), "true keeps everything in the run directory.")
    return {
        "save_dir": str(run.path),
        "name": config.get("name") or name_of(run),
        "id": stored_ids(run).get("wandb") or uuid4().hex,
        "settings": {"silent": True, "console": "off"},  # it neither prints nor records what the run prints
        **({"mode": "offline"} if config.offline else {}),
    }


def _of_mlflow(run: Run, config: DictConfig) -> dict[str, Any]:
    store = run.path.absolute().parent / "mlruns"
    return {
        "tracking_uri": config.get("tracking_uri") or store.as_uri(),
        "run_name": config.get("run_name") or name_of(run),
        "run_id": stored_ids(run).get("mlflow"),
    }


def _check_names(key: str, config: DictConfig) -> None:
    """Raises UserError if one of the names in `config` is not text; only those of a project may not be null."""
    for name in NAMES & config.keys():
        value = config[name]
        if not isinstance(value, str | None) or (name in PROJECTS and not value):
            refuse("a name", f"{key}.{name}", value, "Leave it out for the default.")


KINDS = {
    "TensorBoardLogger": Kind(
        frozenset({*signature(TensorBoardLogger).parameters, *signature(SummaryWriter).parameters} - {"save_dir"}),
        _of_tensorboard,
    ),
    "CSVLogger": Kind(frozenset({"name", "prefix", "flush_logs_every_n_steps"}), _of_csv),
    "WandbLogger": Kind(
        frozenset({"project", "name", "offline", "prefix", "entity", "group", "job_type", "tags", "notes"}),
        _of_wandb,
        "wandb",
    ),
    "MLFlowLogger": Kind(
        frozenset({"experiment_name", "run_name", "tracking_uri", "tags", "prefix", "synchronous"}),
        _of_mlflow,
        "mlflow",
    ),
}
"""By the names of their classes in `pytorch_lightning.loggers`. No other key is accepted, because a run may be somebody
else's, and some of the others name files or programs."""


def name_of(run: Run) -> str:
    """The name under which loggers show the run: the settings that differ in its sweep, or that of its directory."""
    sweep = sweep_of(run)
    return sweep.folder_of(run.overrides, run.path.name) if sweep else run.path.absolute().name


def stored_ids(run: Run) -> dict[str, str]:
    """The names by which wandb and MLflow know the run, if it has begun to log there."""
    file = run.path / LOGGERS
    stored = read_json(file) if file.is_file() else {}
    names = stored.values() if isinstance(stored, dict) else [None]
    if not all(isinstance(name, str) and ID.fullmatch(name) for name in names):
        refuse("the names of a run in wandb and MLflow", str(file), stored, "Delete the file.")
    return stored


def open_loggers(run: Run, loggers: Sequence[Logger]) -> None:
    """Begin the logs, or continue those that an earlier process has begun, and record which these are.

    Raises UserError if a logger refuses.
    """
    ids = stored_ids(run)
    for logger in loggers:
        try:
            ids |= _opened(logger)
        except OSError:
            raise
        except Exception as error:  # of a library that need not be installed
            reason = " ".join(str(error).split())
            remedy = f"Leave it out of logger, or delete {run.path / LOGGERS} to begin another log."
            raise UserError(f"{type(logger).__name__} (logger) cannot begin its log: {reason}. {remedy}") from error
    if ids:
        write_whole(run.path / LOGGERS, json.dumps(ids) + "\n")


def _opened(logger: Logger) -> dict[str, str]:
    """Open the log; the result is the name of the run there, if it is the logger that has given it one."""
    if isinstance(logger, CSVLogger):
        _open_csv(logger)
    if isinstance(logger, WandbLogger):
        return {"wandb": _open_wandb(logger)}
    if isinstance(logger, MLFlowLogger):
        return {"mlflow": _open_mlflow(logger)}
    return {}


def _open_csv(logger: CSVLogger) -> None:
    """Open metrics.csv and keep the rows that an earlier process has written, which `CSVLogger` would delete."""
    file = Path(logger.log_dir, "metrics.csv")
    kept = file.with_name("metrics.kept.csv")
    if file.exists():
        os.replace(file, kept)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Experiment logs directory")
        writer = logger.experiment
    if kept.exists():
        os.replace(kept, file)
        with file.open(newline="", encoding="utf-8") as rows:
            writer.metrics_keys.extend(next(csv.reader(rows), []))


def _open_wandb(logger: WandbLogger) -> str:
    """Start the run of wandb. Each part of a run that was interrupted has a folder of its own under the same id."""
    import wandb

    wandb.setup(wandb.Settings(silent=True, console="off"))
    with _variable_kept("WANDB_MODE"):
        run = logger.experiment
    for link in Path(str(logger.save_dir), "wandb").glob(f"*-{run.id}/logs/debug-core.log"):
        link.unlink()  # it leads to a file in the home directory, and no command accepts such a link
    return str(run.id)


def _open_mlflow(logger: MLFlowLogger) -> str:
    """Start the run of MLflow, or continue it; runs that begin at the same time share one experiment."""
    folder = url2pathname((logger.save_dir or "").removeprefix("//"))  # empty for a server
    lock = FileLock(f"{folder}.lock") if folder else nullcontext()
    with _variable_kept("MLFLOW_TRACKING_URI"), lock:
        run_id = str(logger.run_id)
    logger.experiment.update_run(run_id, status="RUNNING")
    return run_id


@contextmanager
def _variable_kept(name: str) -> Iterator[None]:
    """A context after which the environment variable is what it was: libraries set it for all that follows."""
    before = os.environ.get(name)
    try:
        yield
    finally:
        os.environ.pop(name, None)
        os.environ.update({} if before is None else {name: before})


def log_metrics(loggers: Iterable[Logger], metrics: Mapping[str, float], step: int) -> None:
    """Log numbers, and write them at once where the logger keeps them back."""
    for logger in loggers:
        logger.log_metrics(dict(metrics), step)
        logger.save()


def log_hyperparameters(loggers: Iterable[Logger], settings: Mapping[str, Any]) -> None:
    """Log the settings of a run."""
    for logger in loggers:
        logger.log_hyperparams(dict(settings))


def log_picture(loggers: Iterable[Logger], file: Path, step: int) -> None:
    """Log a PNG file to each logger that can show pictures; it is not rendered again."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            _picture_for_tensorboard(logger, file, step)
        elif isinstance(logger, WandbLogger):
            logger.log_image(file.stem, [str(file)], step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifact(str(logger.run_id), str(file), "figures")


def _picture_for_tensorboard(logger: TensorBoardLogger, file: Path, step: int) -> None:
    png = file.read_bytes()
    width, height = struct.unpack(">II", png[16:24])  # of the header of a PNG file
    image = Summary.Image(width=width, height=height, colorspace=RGBA, encoded_image_string=png)
    logger.experiment.file_writer.add_summary(Summary(value=[Summary.Value(tag=file.stem, image=image)]), step)


def log_row(loggers: Iterable[Logger], settings: Mapping[str, Any], final: Mapping[str, float], step: int) -> None:
    """Write the row of the run in TensorBoard's HPARAMS; the other loggers have settings and numbers already.

    TensorBoard has no null: an absent setting is empty.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            row = {key: "" if value is None else value for key, value in settings.items()}
            logger.log_hyperparams(row, dict(final), step)
            logger.experiment.flush()  # now, not from a thread after metrics.json


def close_loggers(loggers: Iterable[Logger]) -> None:
    """End what would go on in this process: the next run of a sweep begins a run of wandb of its own."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger.experiment.finish()
