"""python -m cvae_lightning.evaluate run=<run directory>: measure a finished run again."""

import logging
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig

from cvae_lightning.command import run_command

log = logging.getLogger(__name__)


def evaluate(config: DictConfig) -> None:
    """Print the run's metrics, measured again from its weights, and where they differ from metrics.json."""
    from cvae_lightning.runs import Run
    from cvae_lightning.summary import summary
    from cvae_lightning.training import evaluate_again

    run = Run(config.run)
    again = evaluate_again(run, {key: config[key] for key in ("accelerator", "data_dir") if config[key] is not None})
    log.info("%s\n", summary({**run.metrics, **again}))
    differences = list(_differences(run.metrics, again))
    for difference in differences:
        log.info(difference)
    if not differences:
        log.info("All numbers are those of metrics.json, to the last digit.")


def _differences(metrics: dict[str, Any], again: dict[str, Any]) -> Iterator[str]:
    for split, numbers in again.items():
        for name, value in numbers.items():
            if value != metrics[split][name]:
                yield f"{split}/{name}: {value} now, {metrics[split][name]} in metrics.json"


if __name__ == "__main__":
    run_command(evaluate, "evaluate")
