"""metrics.json, checked where it is read: it may have been changed by hand, or be somebody else's."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.files import read_json


def read_metrics(path: Path) -> dict[str, Any]:
    """The object in the file. Raises UserError, naming the key, for a value that is not of the type it should be.

    A key may be missing, since older runs lack some; a key that is not listed here may have any value.
    """
    metrics = read_json(path)
    for key, value, kind in _expected(metrics):
        if not KINDS[kind](value):
            refuse(kind, f"{key or 'all'} in {path}", value, "Train again, or name another run.")
    return dict(metrics)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


KINDS: dict[str, Callable[[Any], bool]] = {
    "an object": lambda value: isinstance(value, dict),
    "a number": _is_number,
    "a number or null": lambda value: value is None or _is_number(value),
    "text": lambda value: isinstance(value, str),
    "a number, text or null": lambda value: value is None or isinstance(value, str) or _is_number(value),
}
VALUES = {
    **dict.fromkeys(("parameters", "epochs", "latent_dim", "lr", "batch_size", "beta", "seed"), "a number"),
    **dict.fromkeys(("model", "network", "weights_sha256"), "text"),
}
OF_THE_DATA = {"name": "text", "sha256": "text", "files": "an object"}
OF_THE_DATA |= dict.fromkeys(("train", "val", "test"), "a number")
WITHIN = {
    **dict.fromkeys(("val", "test", "time"), "a number or null"),
    "environment": "a number, text or null",
}


def _expected(metrics: Any) -> Iterator[tuple[str, Any, str]]:
    """Key, value and kind; an object before what is in it."""
    yield "", metrics, "an object"
    yield from ((key, metrics[key], kind) for key, kind in VALUES.items() if key in metrics)
    for part in (*WITHIN, "dataset"):
        if part in metrics:
            yield part, metrics[part], "an object"
    for part, kind in WITHIN.items():
        yield from ((f"{part}/{key}", value, kind) for key, value in metrics.get(part, {}).items())
    data = metrics.get("dataset", {})
    yield from ((f"dataset/{key}", data[key], kind) for key, kind in OF_THE_DATA.items() if key in data)
