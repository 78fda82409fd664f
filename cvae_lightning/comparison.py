"""Two configurations side by side."""

from collections.abc import Iterator
from typing import Any


def first_difference(ours: Any, theirs: Any) -> str | None:
    """Where two configurations, as plain values, differ, in a sentence that names the shortest path; None: nowhere."""
    a, b = dict(_leaves(ours)), dict(_leaves(theirs))
    for key in sorted(a | b, key=lambda key: key.count(".")):
        if a.get(key) != b.get(key):
            return f"There, {key} is {a.get(key)}, not {b.get(key)}."
    return None


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Full path and value of all that a configuration sets."""
    if isinstance(node, dict) and node:
        for key, child in node.items():
            yield from _leaves(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node
