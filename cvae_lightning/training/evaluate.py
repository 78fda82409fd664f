"""The command that measures a finished run again."""

import logging
from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from cvae_lightning.runs.data_record import warn_of_other_data
from cvae_lightning.runs.metrics_file import Metrics
from cvae_lightning.runs.summary import summary
from cvae_lightning.runs.sweep import chosen_run
from cvae_lightning.training.parts import evaluation_parts
from cvae_lightning.training.train import measure

log = logging.getLogger(__name__)

CHANGED = ("evaluators", "accelerator")  # keys of the run that the command may set


def evaluate(config: DictConfig) -> None:
    """Print the metrics of a run, measured again from its weights, and their differences from metrics.json."""
    run = chosen_run(str(config.run))
    metrics = run.metrics
    given = OmegaConf.to_container(config, resolve=False)  # interpolations refer to keys of the run
    assert isinstance(given, dict)
    changes = {key: given[key] for key in CHANGED if given[key] is not None}
    parts = evaluation_parts(run, {**changes, **run.data_moved_to(config)})
    parts.data.source.fit_splits()
    parts.data.source.test_split()
    warning = warn_of_other_data(run, parts.data.source.digests, "The numbers are of other images.")
    again = measure(parts, parts.data)
    measured = metrics.copy()
    measured.update({"val": again.val, "test": again.test, "absent": again.absent})
    log.info("%s\n", summary(measured))
    if warning:
        log.warning(warning)
    differences = list(_differences(metrics, measured))
    for difference in differences:
        log.info(difference)
    if not differences:
        log.info("All numbers that metrics.json has are the same, to the last digit.")


def _differences(metrics: Metrics, again: Metrics) -> Iterator[str]:
    """A line for each number that metrics.json has with another value."""
    for split, then, now in (("val", metrics["val"], again["val"]), ("test", metrics["test"], again["test"])):
        for name, value in now.items():
            if name in then and value != then[name]:
                yield f"{split}/{name}: {value} now, {then[name]} in metrics.json"
