"""python -m cvae_lightning: train and evaluate a model; resume=<run directory> continues a run."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cvae_lightning.command import Interrupted, log_to_file, run_command
from cvae_lightning.errors import UserError

if TYPE_CHECKING:
    from cvae_lightning.runs import Run

log = logging.getLogger(__name__)


def train(config: DictConfig) -> float:
    """Train in the directory that Hydra has made; return the val metric that a sweeper maximises."""
    from cvae_lightning.runs import Run

    run = Run(_shortest(Path(HydraConfig.get().runtime.output_dir)))
    try:
        return _train(run)
    except UserError:
        run.discard_unless_begun()
        raise


def resume(config: DictConfig) -> None:
    """Continue the run in the directory `resume`, with the configuration that lies there."""
    from cvae_lightning.runs import Run

    run = Run(config.resume, key="resume")
    if run.complete:
        log.info("%s is complete: there is nothing to continue.", run.path)
    else:
        log_to_file(run.path / "train.log")
        _train(run)


def _train(run: "Run") -> float:
    from cvae_lightning.summary import next_commands, summary
    from cvae_lightning.training import train as train_run

    try:
        metrics = train_run(run)
    except Interrupted as interruption:
        log.warning("%s Continue with: python -m cvae_lightning resume=%s", interruption, run.path)
        raise
    log.info("\n%s\n", summary(metrics))
    log.info("%s", next_commands(run.path))
    value = metrics["val"][run.raw_config.objective.removeprefix("val/")]
    return float("nan") if value is None else float(value)


def _shortest(path: Path) -> Path:
    """Relative to the working directory, where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    if any(argument.startswith("resume=") for argument in sys.argv[1:]):
        run_command(resume, "resume")
    else:
        run_command(train, "config")
