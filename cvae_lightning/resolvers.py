"""Resolvers, ${name:...}, in the configuration of a run: evaluated when the run begins, refused where one is read."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cvae_lightning.build import CONF
from cvae_lightning.errors import refuse

KEY = re.compile(r"\$\{[^${}:\\]*\}")  # ${key}, which only points to another value of the same configuration


def read_config(file: Path) -> DictConfig:
    """The configuration in a run directory; its interpolations point to keys of its own.

    Raises UserError for a resolver, which reads the environment or runs code, where the run may be somebody else's.
    Those that conf/config.yaml has under the same key are no secret, and allowed.
    """
    config = OmegaConf.load(file)
    if not isinstance(config, DictConfig):
        refuse("a configuration", str(file), type(config).__name__, "Name a folder of a past run.")
    for key, text in _leaves(OmegaConf.to_container(config, resolve=False)):
        if calls_a_resolver(text) and text != _of_conf().get(key):
            refuse(
                f"values and ${{key}} in {file}",
                key,
                text,
                "A resolver of a run is never evaluated: put its value there, if you trust the run.",
            )
    return config


def with_values(config: DictConfig) -> DictConfig:
    """`config` with the value of each resolver in its place, so that reading it needs none; ${key} is kept."""
    raw, values = (OmegaConf.to_container(config, resolve=resolve) for resolve in (False, True))
    return OmegaConf.create(_with_values(raw, values))


def calls_a_resolver(text: Any) -> bool:
    """Whether more than keys is interpolated, also within other interpolations, as in ${a.${oc.env:HOME}}."""
    if not isinstance(text, str):
        return False
    while (shorter := KEY.sub("", text)) != text:
        text = shorter
    return "${" in text


def _with_values(raw: Any, value: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _with_values(child, value[key]) for key, child in raw.items()}
    if isinstance(raw, list):
        return [_with_values(*pair) for pair in zip(raw, value, strict=True)]
    return value if calls_a_resolver(raw) else raw


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Full key and value of all that is neither a dict nor a list."""
    if not isinstance(node, dict | list):
        yield prefix, node
        return
    for key, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _leaves(child, f"{prefix}.{key}" if prefix else str(key))


@functools.cache
def _of_conf() -> dict[str, Any]:
    return dict(_leaves(OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"), resolve=False)))
