"""The keys of a command and their possible values, for hints after a mistake and for completion in a shell."""

import re
from collections.abc import Iterator
from glob import escape
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from cvae_lightning.cli.plugins import conf_folders
from cvae_lightning.core import plugins
from cvae_lightning.core.build import CONF


class Keys:
    """The keys of the command whose configuration is conf/<config_name>.yaml, as Hydra composes it."""

    def __init__(self, config_name: str) -> None:
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra.compose(config_name, return_hydra_config=True)
        groups = config.hydra.runtime.choices
        self._files = {name: files_of(name) for name in groups if "/" not in name}
        if "experiment" in groups:
            self._files |= {name: files_of(name) for name in ("hydra/launcher", "hydra/sweeper")}
            self._files["+sweep"] = files_of("sweep")  # not in the list of defaults, hence the +
        self._of_help = re.findall(r"^  ([a-z_]+)= ", config.hydra.help.template, re.MULTILINE)
        self._config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])

    @property
    def all(self) -> list[str]:
        """Every key: those that --help explains, the groups of conf/, and the full path of each value."""
        return list(dict.fromkeys([*self._of_help, *self._files, *_paths(self._config)]))

    def completed(self, word: str) -> list[str]:
        """The completions of `word`: each is a key, a key up to its next dot, or key=value."""
        key, equals, values = word.partition("=")
        if not equals:
            ends = ((name, name.find(".", len(key))) for name in self.all if name.startswith(key))
            return sorted({f"{name}=" if end < 0 else name[: end + 1] for name, end in ends})
        before, comma, last = values.rpartition(",")  # of several values, with -m
        return [f"{key}={before}{comma}{value}" for value in self._values(key, last)]

    def _values(self, key: str, begun: str) -> list[str]:
        """The files of a group, or the default of the key; if none of them begins with `begun`, paths on the disk."""
        if key == plugins.KEY:
            return _modules(begun)
        missing = OmegaConf.is_missing(self._config, key)
        known = self._files.get(key) or [str("" if missing else OmegaConf.select(self._config, key) or "")]
        return [value for value in known if value and value.startswith(begun)] or _on_disk(begun)


def files_of(group: str) -> list[str]:
    """The names of the files in conf/<group>, plug-ins' included; a file in a folder of it is called folder/name."""
    folders = [folder / group for folder in conf_folders()]
    return sorted(
        {file.relative_to(folder).with_suffix("").as_posix() for folder in folders for file in folder.rglob("*.yaml")}
    )


def choices_of(group: str) -> list[str]:
    """The names of the files in conf/<group>, with folder/... in place of all files of a folder."""
    return list(dict.fromkeys(name.partition("/")[0] + "/..." if "/" in name else name for name in files_of(group)))


def _paths(node: Any, prefix: str = "") -> Iterator[str]:
    """The full key of each value below `node`."""
    if not isinstance(node, DictConfig):
        yield prefix
        return
    for key in (key for key in map(str, node) if not key.startswith("_")):
        yield from _paths(node._get_node(key), f"{prefix}.{key}" if prefix else key)


def _modules(begun: str) -> list[str]:
    """The modules and packages in the working directory, as values of plugins=, with the bracket that was typed."""
    bracket, name = begun[: begun.startswith("[")], begun.removeprefix("[")
    packages = (path.parent for path in Path().glob("*/__init__.py"))
    found = sorted({path.stem for path in (*Path().glob("*.py"), *packages)})
    return [f"{bracket}{module}" for module in found if module.startswith(name) and plugins.may_be_plugin(module)]


def _on_disk(begun: str) -> list[str]:
    folder, slash, name = begun.rpartition("/")
    directory = Path(f"{folder}{slash}")
    found = directory.glob(f"{escape(name)}*") if directory.is_dir() else ()
    shown = (path for path in found if name or not path.name.startswith("."))
    return sorted(f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}" for path in shown)
