"""plugins=[my_parts] on a command line: whose parts the person trusts, and where Hydra finds the files of these.

The words are taken off the command line before Hydra reads it, so that neither the overrides of a run nor the record of
a sweep depend on them, and so that no sweep runs over them.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig

from cvae_lightning.core import plugins
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import refuse

WORD = re.compile(rf"\+{{0,2}}{plugins.KEY}=(.*)", re.DOTALL)


def split(words: Sequence[str]) -> tuple[list[Any], list[str]]:
    """What the last plugins= among `words` lists, and the words without any plugins=.

    Raises UserError for a value that is several lists, as for a sweep.
    """
    values = [found[1] for found in map(WORD.fullmatch, words) if found]
    return _modules(values[-1]) if values else [], [word for word in words if not WORD.fullmatch(word)]


def trust(modules: Iterable[Any]) -> None:
    """Trust these modules and those that CVAE_LIGHTNING_PLUGINS names, in this process and its child processes.

    They are found in the working directory too, after everything else on Python's path, unless Python was told to keep
    it off (-P, PYTHONSAFEPATH). Raises UserError for a module that cannot be a plug-in or is not found.
    """
    modules = list(modules)
    if (modules or plugins.named()) and not sys.flags.safe_path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    plugins.check(plugins.named(), plugins.PLUGINS)
    plugins.trust(*modules)
    Plugins.instance().register(FilesOfPlugins)


@contextmanager
def left_as_it_was() -> Iterator[None]:
    """A context after which this process trusts the same plug-ins as before, and finds modules in the same folders."""
    named, path = os.environ.get(plugins.PLUGINS), sys.path[:]
    try:
        yield
    finally:
        sys.path[:] = path
        if named is None:
            os.environ.pop(plugins.PLUGINS, None)
        else:
            os.environ[plugins.PLUGINS] = named


def conf_folders() -> list[Path]:
    """The conf/ of this package, and that of each plug-in that is a package and has one, in the same layout."""
    return [CONF, *plugins.folders(CONF.name)]


def note(config: DictConfig) -> None:
    """Write the plug-ins that were named into what was composed. Raises UserError if a file names some: none may."""
    if config[plugins.KEY]:
        remedy = "No file names them: add them to the command itself."
        refuse("plug-ins on the command line", plugins.KEY, config[plugins.KEY], remedy)
    config[plugins.KEY] = plugins.named()


class FilesOfPlugins(SearchPathPlugin):
    """Lets Hydra find the files in the folder conf/ of each plug-in; a file of this package of the same name wins."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra before it composes."""
        for folder in conf_folders()[1:]:
            search_path.append(plugins.KEY, f"file://{folder}")


def _modules(value: str) -> list[Any]:
    """What is in the list that plugins= is given, names or not."""
    try:
        (override,) = OverridesParser.create().parse_overrides([f"{plugins.KEY}={value}"])
    except HydraException:
        override = None
    if override is None or override.is_sweep_override():
        names = value.split(",") if re.fullmatch(r"[\w.,]+", value) else ["my_parts"]
        refuse("one list of modules, for all runs of a sweep", plugins.KEY, value, f"Write {plugins.word(names)}.")
    given = override.value()
    return given if isinstance(given, list) else [given]
