"""The interface of a data set, and the sources that runs share: each data set is read once per process."""

import functools
import json
from functools import cached_property
from typing import NamedTuple, Protocol

from omegaconf import DictConfig, OmegaConf

from cvae_lightning.core import plugins
from cvae_lightning.core.build import build
from cvae_lightning.core.conditions import Condition
from cvae_lightning.data.splits import Split


class Facts(NamedTuple):
    """What a data set says about itself before its images are read, for a configuration that leaves it open."""

    image_shape: tuple[int, int, int]
    """Channels, height and width."""
    condition: Condition


class Source(Protocol):
    """A data set and its split into train, val and test, 5:1:1.

    A source whose files may have to be downloaded also has a method `available`, which returns whether all of them are
    on this machine. A source that finds out the shape and the condition of its images has a method `facts`; it may list
    files and read their headers, and is called after `prepare`.
    """

    name: str
    digests: dict[str, str]
    """SHA-256 of each file that was read."""

    def prepare(self) -> None:
        """Make the data available on this machine. Raises DataUnavailable."""
        ...

    def fit_splits(self) -> tuple[Split, Split]:
        """The train and val splits; nothing of the test set is read."""
        ...

    def test_split(self) -> Split:
        """The test split."""
        ...


class ReadOnce:
    """A source whose splits are read once, however many data modules share it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name = source.name
        self.digests = source.digests

    def prepare(self) -> None:
        self.source.prepare()

    def available(self) -> bool:
        """Whether all files are on this machine."""
        return getattr(self.source, "available", lambda: True)()

    @property
    def skipped(self) -> dict[str, str]:
        """Why each file that the source has left out is not an image, by its name, once the splits have been read."""
        return getattr(self.source, "skipped", {})

    @property
    def has_facts(self) -> bool:
        """Whether the source finds out the shape and the condition of its images itself."""
        return hasattr(self.source, "facts")

    def facts(self) -> Facts:
        """The shape and the condition of the images, for a configuration that does not state them."""
        return self._facts

    def fit_splits(self) -> tuple[Split, Split]:
        return self._fit

    def test_split(self) -> Split:
        return self._test

    @cached_property
    def _facts(self) -> Facts:
        found: Facts = self.source.facts()  # type: ignore[attr-defined]  # a source of a fixed shape has none
        return found

    @cached_property
    def _fit(self) -> tuple[Split, Split]:
        return self.source.fit_splits()

    @cached_property
    def _test(self) -> Split:
        return self.source.test_split()


def source_of(config: DictConfig) -> ReadOnce:
    """The data set in a run's configuration; all runs on the same data set share one source."""
    source = OmegaConf.to_container(config.data.module.source, resolve=True)
    return _source(json.dumps({plugins.KEY: plugins.recorded_in(config), "source": source}))


@functools.cache
def _source(config: str) -> ReadOnce:
    return ReadOnce(build(OmegaConf.create(json.loads(config)).source))
