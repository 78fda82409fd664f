"""The configuration in a run directory: read without evaluating anything, written with its values, and compared."""

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cvae_lightning.core import plugins
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError, refuse

KEY = re.compile(r"\$\{[^${}:\\]*\}")  # ${key}, which only points to another value of the same configuration
KEPT_IN_FALLBACK = ("binarize", "max_shift", "flip", "balance", "labelled")

SCHEMA = 2
"""The number of the layout of run directories. It rises when runs of an earlier version can no longer be read."""


def read_config(file: Path) -> DictConfig:
    """The configuration in a run directory, whose interpolations only refer to its own keys.

    Raises UserError for a resolver such as ${oc.env:HOME}: it reads the environment or runs code, and the run may be
    somebody else's. A resolver that conf/config.yaml has under the same key is allowed.
    """
    config = OmegaConf.load(file)
    if not isinstance(config, DictConfig):
        refuse("a configuration", str(file), type(config).__name__, "Name a folder of a past run.")
    check_schema(config.get("schema", 1), file)
    if isinstance(config.get("logger"), DictConfig) and "_target_" in config.logger:  # when there was one at most
        config.logger = {"tensorboard": config.logger}
    for key, text in _leaves(OmegaConf.to_container(config, resolve=False)):
        if calls_a_resolver(text) and text != _of_conf().get(key):
            refuse(
                f"values and ${{key}} in {file}",
                key,
                text,
                "A resolver of a run is never evaluated: put its value there, if you trust the run.",
            )
    return config


def check_schema(schema: Any, file: Path) -> None:
    """Raises UserError if the `schema` that `file` states is not the one that this version reads."""
    if schema != SCHEMA:
        raise UserError(
            f"{file} has layout {schema} of run directories, and this version of cvae_lightning reads layout {SCHEMA}: "
            "use the version that made the run, or train it again."
        )


def with_values(config: DictConfig) -> DictConfig:
    """`config` with each resolver replaced by its value, so that it can be read without one; ${key} is kept."""
    raw, values = (OmegaConf.to_container(config, resolve=resolve) for resolve in (False, True))
    return OmegaConf.create(_with_values(raw, values))


def shareable(config: DictConfig) -> DictConfig:
    """A copy of `config` for other machines, for a run that is complete.

    It has the default `data_dir`, only the name of other absolute paths, and no loggers, which may name a server.
    """
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    return OmegaConf.create({**_without_places(raw), "data_dir": _of_conf()["data_dir"], "logger": {}})


def without_place(text: str) -> str:
    """The last part of an absolute path, of this or another kind of machine; any other text as it is."""
    path = next((kind(text) for kind in (PurePosixPath, PureWindowsPath) if kind(text).is_absolute()), None)
    return text if path is None else path.name


def calls_a_resolver(text: Any) -> bool:
    """Whether `text` interpolates more than keys, at any level, as in ${a.${oc.env:HOME}}."""
    if not isinstance(text, str):
        return False
    while (shorter := KEY.sub("", text)) != text:
        text = shorter
    return "${" in text


def keys_that_refer_to(key: str, config: DictConfig) -> list[str]:
    """The full keys of the values in `config` that are written with ${key}."""
    leaves = _leaves(OmegaConf.to_container(config, resolve=False))
    return [name for name, value in leaves if isinstance(value, str) and f"${{{key}}}" in value]


def _without_places(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_places(child) for key, child in node.items()}
    if isinstance(node, list):
        return list(map(_without_places, node))
    return without_place(node) if isinstance(node, str) else node


def _with_values(raw: Any, value: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _with_values(child, value[key]) for key, child in raw.items()}
    if isinstance(raw, list):
        return [_with_values(*pair) for pair in zip(raw, value, strict=True)]
    return value if calls_a_resolver(raw) else raw


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Full key and value of everything that is neither a dict nor a list."""
    if not isinstance(node, dict | list):
        yield prefix, node
        return
    for key, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _leaves(child, f"{prefix}.{key}" if prefix else str(key))


@functools.cache
def _of_conf() -> dict[str, Any]:
    return dict(_leaves(OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"), resolve=False)))


def is_described(condition: Any) -> bool:
    """Whether `data.condition` describes all its columns, and does not leave some to the data set.

    null leaves everything to it, a list of names says which columns are meant, and a mapping may have the mere kind of
    a column, as in {angle: number}.
    """
    return isinstance(condition, Mapping) and not any(isinstance(column, str | None) for column in condition.values())


def is_open(config: DictConfig) -> bool:
    """Whether the configuration leaves the shape or the labels of the images to the data set."""
    return config.data.get("image_shape") is None or not is_described(config.data.get("condition"))


def difference(asked: DictConfig, begun: DictConfig) -> str | None:
    """How the run that was begun differs from the configuration `asked` for, such as "lr=0.005, not lr=0.5".

    The shortest key that differs is named; None if there is none. A data set that the run fell back to
    counts as the one that was asked for, and so do what the data set said of its images, and the precision that was
    fastest, where nothing else was asked.
    Plug-ins are not compared: a command may name one more or less.
    """
    if asked.data.fallback == begun.data.name:
        asked = OmegaConf.merge(asked, {})  # type: ignore[assignment]  # a copy
        asked.data = OmegaConf.merge(begun.data, {key: asked.data.get(key) for key in KEPT_IN_FALLBACK})
    asked = _closed_like(asked, begun)
    theirs, ours = (dict(_settings(OmegaConf.to_container(config, resolve=True))) for config in (begun, asked))
    for key in sorted(theirs | ours, key=lambda key: key.count(".")):
        if key != plugins.KEY and theirs.get(key) != ours.get(key):
            return f"{key}={theirs.get(key)}, not {key}={ours.get(key)}"
    return None


def _closed_like(asked: DictConfig, begun: DictConfig) -> DictConfig:
    """`asked`, with what `begun` found out where it leaves that open: the images, their labels, and the precision."""
    shape, condition = asked.data.get("image_shape"), asked.data.get("condition")
    theirs = begun.data.get("condition")
    closed = OmegaConf.merge(asked, {})
    if shape is None:
        closed.data.image_shape = begun.data.get("image_shape")
    if not is_described(condition) and (condition is None or list(condition) == list(theirs or ())):
        closed.data.condition = theirs
    if asked.trainer.get("precision") == "auto":
        closed.trainer.precision = begun.trainer.get("precision")
    assert isinstance(closed, DictConfig)
    return closed


def _settings(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Full key and value of everything that a configuration sets; a list is one value."""
    if isinstance(node, dict) and node:
        for key, child in node.items():
            yield from _settings(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node
