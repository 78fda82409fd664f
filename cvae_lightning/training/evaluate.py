"""The command that measures a finished run again."""

import logging
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cvae_lightning.runs.sweep import chosen_run

log = logging.getLogger(__name__)


def evaluate(config: DictConfig) -> None:
    """Print the run's metrics, measured again from its weights, and where they differ from metrics.json."""
    run = chosen_run(str(config.run))
    _ = run.metrics  # which refuses an incomplete run, before torch is imported

    from cvae_lightning.runs.data_record import warn_of_other_data
    from cvae_lightning.runs.summary import summary
    from cvae_lightning.training.train import evaluate_again, prepared_data

    given = OmegaConf.to_container(config, resolve=False)  # interpolations are those of the run's configuration
    assert isinstance(given, dict)
    overrides = {key: given[key] for key in ("evaluators", "accelerator", "data_dir") if given[key] is not None}
    source = prepared_data(run.config_with(overrides), download=False).source
    source.fit_splits()
    source.test_split()
    warning = warn_of_other_data(run, source.digests, "The numbers are of other images.")
    again = evaluate_again(run, overrides)
    log.info("%s\n", summary({**run.metrics, **again._asdict()}))
    if warning:
        log.warning(warning)
    differences = list(_differences(run.metrics, {"val": again.val, "test": again.test}))
    for difference in differences:
        log.info(difference)
    if not differences:
        log.info("All numbers that metrics.json has are the same, to the last digit.")


def _differences(metrics: dict[str, Any], again: dict[str, Any]) -> Iterator[str]:
    for split, numbers in again.items():
        for name, value in numbers.items():
            if name in metrics[split] and value != metrics[split][name]:
                yield f"{split}/{name}: {value} now, {metrics[split][name]} in metrics.json"
