"""The data sets of runs, each read once a process."""

import functools
import json

from omegaconf import DictConfig, OmegaConf

from cvae_lightning.build import build
from cvae_lightning.data.splits import ReadOnce
from cvae_lightning.errors import refuse
from cvae_lightning.runs import Run


def source_of(config: DictConfig) -> ReadOnce:
    """The data set that a run's configuration names; runs of the same one share it."""
    return _source(json.dumps(OmegaConf.to_container(config.data.module.source, resolve=True)))


def check_data_are_the_same(run: Run) -> None:
    """Raises UserError where files that a complete run was trained on have changed since."""
    source = source_of(run.raw_config)
    source.prepare()
    source.fit_splits()
    source.test_split()
    if source.digests != run.metrics["dataset"]["files"]:
        remedy = f"{run.path} was trained on others. Name another directory."
        refuse("the data of the run", "data_dir", run.raw_config.data_dir, remedy)


@functools.cache
def _source(config: str) -> ReadOnce:
    return ReadOnce(build(OmegaConf.create(json.loads(config))))
