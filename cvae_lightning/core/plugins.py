"""Plug-ins: modules and packages outside this one whose classes and functions a configuration may name.

A person names them: plugins=[my_parts] on a command line, CVAE_LIGHTNING_PLUGINS=my_parts, or `trust("my_parts")` in
Python. An installed package names itself by an entry point in the group `cvae_lightning.plugins`. No file that is read
can name one: what a run directory records is only repeated to the person.
"""

import functools
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from cvae_lightning.core.errors import UserError, refuse

KEY = "plugins"
PLUGINS = "CVAE_LIGHTNING_PLUGINS"
GROUP = "cvae_lightning.plugins"

NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
OURS = frozenset({"cvae_lightning", "hydra_plugins", "__main__"})
LIBRARIES = re.compile(  # what this package imports, and what its extras install
    "PIL|filelock|functorch|hydra|jaxtyping|joblib|lightning_fabric|matplotlib|mlflow|mpl_toolkits|numpy|omegaconf"
    "|onnx|onnxruntime|onnxscript|optuna|pandas|pylab|pytorch_lightning|ray|safetensors|scipy|sklearn|sqlalchemy"
    "|submitit|tensorboard|torch|torch_fidelity|torchgen|torchmetrics|torchvision|tqdm|wandb|yaml"
)


def trust(*modules: str) -> None:
    """Allow configurations to build what these modules or packages define, in this process and its child processes.

    >>> trust("my_parts")

    Nothing is imported before a configuration names a part of it. Raises UserError for a module that Python does not
    find, and for one of Python, of this package, or of a library.
    """
    check(modules)
    os.environ[PLUGINS] = ",".join(dict.fromkeys([*named(), *modules]))


def check(modules: Iterable[Any], key: str = KEY) -> None:
    """Raises UserError, naming the `key` they came from, if one of `modules` cannot be a plug-in or is not found."""
    for module in modules:
        _check_name(module, key)
        if _spec(module) is None:
            refuse("a module that Python finds", key, module, "Install it, or add its folder to PYTHONPATH.")


def named() -> list[str]:
    """The plug-ins that were named by `trust` or in the environment. Raises UserError for a name that none can have."""
    return list(_named(os.environ.get(PLUGINS, "")))


def trusted() -> list[str]:
    """All plug-ins: those that were named, then the installed ones."""
    return list(dict.fromkeys([*named(), *installed()]))


def installed() -> tuple[str, ...]:
    """The plug-ins of installed packages, by their entry points in the group `cvae_lightning.plugins`.

    A package that merely lies in the working directory is not installed: the directory may be somebody else's.
    """
    return _installed(tuple(sys.path), str(Path.cwd()))


def plugin_of(module: str) -> str | None:
    """The plug-in that is `module`, or contains it; None if there is none."""
    return next((plugin for plugin in trusted() if is_within(module, plugin)), None)


def is_within(module: str, plugin: str) -> bool:
    """Whether `module` is the plug-in or is in it."""
    return f"{module}.".startswith(f"{plugin}.")


def may_be_plugin(module: Any) -> bool:
    """Whether a person could name `module` as a plug-in."""
    try:
        _check_name(module, KEY)
    except UserError:
        return False
    return True


def recorded_in(config: Mapping[str, Any] | DictConfig) -> list[str]:
    """The plug-ins that a run was trained with, as its configuration says; they are only shown, never trusted."""
    recorded = config._get_node(KEY) if isinstance(config, DictConfig) else config.get(KEY)  # evaluates nothing
    names: Any = OmegaConf.to_container(recorded, resolve=False) if isinstance(recorded, ListConfig) else recorded
    return [name for name in names if may_be_plugin(name)] if isinstance(names, list) else []


def word(modules: Iterable[str]) -> str:
    """What to add to a command, such as "plugins=[my_parts]"."""
    return f"{KEY}=[{','.join(modules)}]"


def call(modules: Iterable[str]) -> str:
    """What to write in Python, such as 'trust("my_parts")'."""
    return f"trust({', '.join(map(json.dumps, modules))})"


def imported(module: str) -> ModuleType:
    """The module of a plug-in. Raises UserError, which says why, if importing it fails."""
    try:
        return import_module(module)
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if isinstance(error, ImportError | SyntaxError) else f" ({last.filename}, line {last.lineno})"
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}{where}"
        message = f"Expected a module that can be imported ({KEY}), got {module!r}, which raises {reason}."
        raise UserError(message) from error


def folders(subfolder: str) -> list[Path]:
    """The folder `subfolder` of each plug-in that is a package and has one. No code of the plug-ins is executed."""
    found = (Path(place, subfolder) for plugin in trusted() for place in _places(plugin))
    return [path for path in dict.fromkeys(found) if path.is_dir()]


@functools.cache
def _named(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        _check_name(name, PLUGINS)
    return names


@functools.cache
def _installed(path: tuple[str, ...], here: str) -> tuple[str, ...]:
    elsewhere = [entry for entry in path if Path(entry or ".").resolve() != Path(here).resolve()]
    entries = (entry for package in distributions(path=elsewhere) for entry in package.entry_points.select(group=GROUP))
    names = sorted({entry.value.partition(":")[0].strip() for entry in entries})
    for name in names:
        _check_name(name, f"an entry point in {GROUP}")
    return tuple(names)


def _check_name(module: Any, key: str) -> None:
    if not isinstance(module, str) or not NAME.fullmatch(module) or module.endswith(".py"):
        refuse("the name of a module or package", key, module, "Write my_parts for a file my_parts.py.")
    root = module.partition(".")[0]
    if root in OURS:
        refuse("a module of your own", key, module, "The parts of this package are built anyway.")
    if root in sys.stdlib_module_names or LIBRARIES.fullmatch(root):
        remedy = f"Every run could then call anything in {root}; if yours has the same name, rename it."
        refuse("a module of your own", key, module, remedy)


def _spec(module: str) -> Any:
    """The specification of the module or package that contains `module`, found without importing it."""
    try:
        return find_spec(module.partition(".")[0])
    except ValueError:  # a module that was made by hand
        return None


def _places(plugin: str) -> Iterator[Path]:
    """The folders of the package `plugin`; none if it is a module or is missing."""
    spec = _spec(plugin)
    for place in (spec and spec.submodule_search_locations) or ():
        yield Path(place, *plugin.split(".")[1:])
