"""Objects from their descriptions in a configuration, if conf/ names them or a trusted plug-in defines them."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from cvae_lightning.core import plugins
from cvae_lightning.core.errors import UserError, refuse

PACKAGE = Path(__file__).parent.parent
CONF = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())  # in a wheel, in a checkout

MOVED: dict[str, str] = {}
"""The present `_target_` of each class or function that was moved, by the one in older run directories."""


def build(config: DictConfig, **arguments: Any) -> Any:
    """The object that `config` describes by `_target_` and arguments, nested objects first; `arguments` are added.

    If `_partial_` is true, the result is a function that takes the remaining arguments. Raises UserError for a
    target that `part_named` refuses, so that a configuration from somebody else's run cannot execute code of its own,
    and for arguments that a constructor refuses.
    """
    recorded = plugins.recorded_in(config._get_root())  # type: ignore[arg-type]  # a DictConfig, as every configuration
    content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    return _built(content, recorded, **arguments)


def part_named(target: Any, recorded: Sequence[str] = ()) -> Callable[..., Any]:
    """The class or function that `_target_: <target>` names.

    It is either one that conf/ names, compared by identity, or one that a plug-in defines. Raises UserError for any
    other target; the message says which plug-ins to name, by those that the run has `recorded`, if it has. Only modules
    that conf/ names and plug-ins are ever imported here; for any other target, no module is imported and no attribute
    is read.
    """
    module, _, name = MOVED.get(str(target), str(target)).rpartition(".")
    plugin = plugins.plugin_of(module)
    part = None
    if plugin:
        part = getattr(plugins.imported(module), name, None)
    elif module in _modules_of_conf():
        try:
            part = getattr(import_module(module), name, None)
        except ImportError as error:
            raise UserError(f"Expected the module {module} ({target}), got: {error}. Is it on PYTHONPATH?") from error
    if part is None or not (_is_of_conf(part) or (plugin and _is_defined_in(part, plugin))):
        remedy = _remedy(module, plugin, recorded)
        refuse("a class or function that conf/ names or that a plug-in defines", "_target_", target, remedy)
    return part


def plugins_to_record(config: DictConfig) -> list[str]:
    """The plug-ins that were named, and the installed ones that `config` uses: a run says that it needs these."""
    targets = list(map(str, _targets(OmegaConf.to_container(config, resolve=True))))
    used = (plugin for plugin in plugins.installed() if any(plugins.is_within(target, plugin) for target in targets))
    return list(dict.fromkeys([*plugins.named(), *used]))


def load_group(group: str, name: str) -> DictConfig:
    """The content of conf/<group>/<name>.yaml. Raises FileNotFoundError for a name without a file."""
    files = _files_of(group)
    if name not in files:
        raise FileNotFoundError(f"conf/{group} has no {name}.yaml")
    config = OmegaConf.load(files[name])
    assert isinstance(config, DictConfig)
    return config


@functools.cache
def _files_of(group: str) -> dict[str, Path]:
    folder = CONF / group
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in folder.rglob("*.yaml")}


def _built(node: Any, recorded: Sequence[str], **arguments: Any) -> Any:
    if isinstance(node, list):
        return [_built(child, recorded) for child in node]
    if not isinstance(node, dict):
        return node
    if "_target_" not in node:
        return {key: _built(child, recorded) for key, child in node.items()}
    part = part_named(node["_target_"], recorded)
    own = {key: _built(child, recorded) for key, child in node.items() if key not in ("_target_", "_partial_")}
    arguments = {**own, **arguments}
    try:
        return functools.partial(part, **arguments) if node.get("_partial_") else part(**arguments)
    except TypeError as error:
        raise UserError(
            f"Expected arguments that fit, got: {error}. --cfg job shows all keys; ~<key> leaves one out."
        ) from error


def _remedy(module: str, plugin: str | None, recorded: Sequence[str]) -> str:
    """What to do about a target in `module` that is not built."""
    root = module.partition(".")[0]
    if root == PACKAGE.name:  # not to be trusted as a whole, because some of it writes and deletes files
        return "A part of this package is built where a file of conf/ names it."
    if plugin:
        return f"{plugin} is trusted, but does not define it: what a plug-in merely imports is not built."
    if not plugins.may_be_plugin(root):
        return "If it came with somebody else's files, it may run any code."
    if any(plugins.is_within(module, name) for name in recorded):
        named, add = list(recorded), f"It was trained with {plugins.word(recorded)}: if you trust that code, add it"
    else:
        named, add = [root], f"If you trust that code, add {plugins.word([root])}"
    return f"{add} to this command, or call {plugins.call(named)} in Python."


def _is_defined_in(part: Any, plugin: str) -> bool:
    """Whether the plug-in defines `part` itself, and does not merely import it."""
    return (inspect.isclass(part) or inspect.isfunction(part)) and f"{part.__module__}.".startswith(f"{plugin}.")


def _is_of_conf(part: Any) -> bool:
    """Whether conf/ names `part`. Modules that were never imported need not be searched."""
    imported = [(sys.modules[module], name) for module, name in _named_by_conf() if module in sys.modules]
    return any(part is getattr(module, name) for module, name in imported)


@functools.cache
def _modules_of_conf() -> frozenset[str]:
    return frozenset(module for module, _ in _named_by_conf())


@functools.cache
def _named_by_conf() -> frozenset[tuple[str, str]]:
    """Module and name of each `_target_` in conf/, except in the files that configure Hydra itself."""
    files = [file for file in CONF.rglob("*.yaml") if file.relative_to(CONF).parts[0] != "hydra"]
    texts = [text for text in (file.read_text(encoding="utf-8") for file in files) if "_target_" in text]
    own = [{key: node for key, node in yaml.safe_load(text).items() if key != "hydra"} for text in texts]
    pairs = (target.rpartition(".") for target in _targets(own))
    return frozenset((module, name) for module, _, name in pairs)


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _targets(child)
