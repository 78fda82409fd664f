"""Two configurations side by side."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

KEPT_IN_FALLBACK = ("binarize", "max_shift")  # of `data`, when a run falls back to another data set


def difference(asked: DictConfig, begun: DictConfig) -> str | None:
    """Where the configuration `asked` for differs from that of the run that was begun, in a sentence; None: nowhere.

    The data may be those that the run fell back to. The sentence names the shortest path.
    """
    if asked.data.fallback == begun.data.name:
        asked = OmegaConf.merge(asked, {})  # type: ignore[assignment]  # a copy
        asked.data = OmegaConf.merge(begun.data, {key: asked.data.get(key) for key in KEPT_IN_FALLBACK})
    theirs, ours = (dict(_leaves(OmegaConf.to_container(config, resolve=True))) for config in (begun, asked))
    for key in sorted(theirs | ours, key=lambda key: key.count(".")):
        if theirs.get(key) != ours.get(key):
            return f"There, {key} is {theirs.get(key)}, not {ours.get(key)}."
    return None


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Full path and value of all that a configuration sets."""
    if isinstance(node, dict) and node:
        for key, child in node.items():
            yield from _leaves(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node
