"""Data sets: what each one offers, and how the data set that a configuration names is read once per process."""

import functools
import json
from functools import cached_property
from typing import Protocol

from omegaconf import DictConfig, OmegaConf

from cvae_lightning.core.build import build
from cvae_lightning.data.splits import Split


class Source(Protocol):
    """A data set that knows how it is split 5:1:1.

    One that may have to be downloaded also has a method `available`, which says whether all its files are here.
    """

    name: str
    digests: dict[str, str]
    """SHA-256 of each file that was read."""

    def prepare(self) -> None:
        """Make the data available on this machine. Raises errors.DataUnavailable."""
        ...

    def fit_splits(self) -> tuple[Split, Split]:
        """Train and val; nothing of the test set is read."""
        ...

    def test_split(self) -> Split: ...


class ReadOnce:
    """A source that is read once, however many data modules share it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name = source.name
        self.digests = source.digests
        self.prepare = source.prepare

    def available(self) -> bool:
        """Whether all files are on this machine."""
        return getattr(self.source, "available", lambda: True)()

    def fit_splits(self) -> tuple[Split, Split]:
        return self._fit

    def test_split(self) -> Split:
        return self._test

    @cached_property
    def _fit(self) -> tuple[Split, Split]:
        return self.source.fit_splits()

    @cached_property
    def _test(self) -> Split:
        return self.source.test_split()


def source_of(config: DictConfig) -> ReadOnce:
    """The data set that a run's configuration names; runs of the same one share it."""
    return _source(json.dumps(OmegaConf.to_container(config.data.module.source, resolve=True)))


@functools.cache
def _source(config: str) -> ReadOnce:
    return ReadOnce(build(OmegaConf.create(json.loads(config))))
