"""metrics.json: the settings of a run, and every number that was measured.

The types below are the layout of the file. `read_metrics` checks a file against them, since it may have been changed by
hand or come from somebody else; `write_metrics` is the only writer.
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NotRequired, TypeAlias, TypedDict, cast, get_args, get_origin, get_type_hints, is_typeddict

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.files import read_json, write_whole
from cvae_lightning.data.description import DataDescription
from cvae_lightning.runs.configuration import SCHEMA, check_schema

Numbers: TypeAlias = dict[str, float | None]
"""The value of each metric of a split by its name; None if it does not exist."""

Setting: TypeAlias = float | str | None
"""A setting that not every part has: null if the run's part lacks it."""


class Settings(TypedDict):
    """The settings of a run, under the same keys for every model; choices by the names of their files in conf/.

    Runs of earlier versions lack the keys that are not required.
    """

    model: str
    network: str
    hidden: str
    injection: Setting
    likelihood: str
    variance: Setting
    binarize: Setting
    prior: str
    prior_components: Setting
    bound: str
    warmup_epochs: Setting
    free_bits: Setting
    num_samples: Setting
    parameters: int
    epochs: int
    latent_dim: int
    lr: float
    batch_size: int
    beta: float
    seed: int
    optimizer: str
    schedule: str
    sampler: str
    components: Setting
    temperature: Setting
    averaging: str
    averaging_decay: Setting
    max_shift: int
    flip: NotRequired[Setting]
    balance: NotRequired[Setting]
    labelled: NotRequired[Setting]
    label_dropout: NotRequired[Setting]
    precision: Setting
    backward_precision: str


class Time(TypedDict):
    """How long the run took, in seconds, and the median speed of its training, in images per second."""

    fit_seconds: float
    images_per_second: float
    evaluate_seconds: float


class Environment(TypedDict):
    """The versions and the device that a run was made with; null if they are unknown."""

    cvae_lightning: str | None
    python: str
    torch: str
    pytorch_lightning: str
    device: str
    threads: int
    packed: NotRequired[bool]
    """Whether an epoch was trained beside other runs as one stacked model; runs of earlier versions lack the key."""
    commit: str | None


class Metrics(Settings):
    """The result of a training: its settings, its data, and the numbers of val and test."""

    dataset: DataDescription
    val: Numbers
    test: Numbers
    absent: dict[str, str]
    """Why each number that is None does not exist, by <split>/<name>."""
    time: Time
    environment: Environment


class StoredMetrics(Metrics):
    """The content of metrics.json: the result, and the weights that it is the result of."""

    schema: int
    weights_sha256: str


def write_metrics(path: Path, metrics: Metrics, weights_sha256: str) -> None:
    """Write metrics.json atomically. Raises ValueError for nan or infinity, which JSON does not have."""
    content = {"schema": SCHEMA, **metrics, "weights_sha256": weights_sha256}
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_metrics(path: Path) -> StoredMetrics:
    """The content of metrics.json.

    Raises UserError if the file has another schema, or if a key is missing or has a value of another type; the
    message names the key. Keys that are not part of the layout are kept and not checked.
    """
    content = read_json(path)
    if isinstance(content, dict):
        check_schema(content.get("schema", 1), path)
    for key, value, kind in _mismatches("", content, StoredMetrics):
        refuse(kind, f"{key or 'all'} in {path}", value, "Train again, or name another run.")
    return cast(StoredMetrics, content)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


KINDS: dict[Any, tuple[str, Callable[[object], bool]]] = {
    int: ("an integer", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: ("a number", _is_number),
    float | None: ("a number or null", lambda value: value is None or _is_number(value)),
    Any: ("anything", lambda value: True),
    list[int]: ("a list", lambda value: isinstance(value, list)),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    str: ("text", lambda value: isinstance(value, str)),
    str | None: ("text or null", lambda value: value is None or isinstance(value, str)),
    Setting: ("a number, text or null", lambda value: value is None or isinstance(value, str) or _is_number(value)),
}
"""The name of each type of value in the layout, and the test of it."""


class Missing:
    """Stands in the place of a value whose key the file lacks."""

    def __repr__(self) -> str:
        return "nothing"


def _mismatches(key: str, value: object, expected: Any) -> Iterator[tuple[str, object, str]]:
    """Yield key, value and expected kind of whatever in `value` is not of the type `expected`, outermost first."""
    if is_typeddict(expected) or get_origin(expected) is dict:
        if not isinstance(value, dict):
            yield key, value, "an object"
            return
        types = get_type_hints(expected) if is_typeddict(expected) else dict.fromkeys(value, get_args(expected)[1])
        optional: frozenset[str] = getattr(expected, "__optional_keys__", frozenset())
        for name, inner in types.items():
            if name in optional and name not in value:
                continue
            yield from _mismatches(f"{key}/{name}".lstrip("/"), value.get(name, Missing()), inner)
        return
    kind, is_one = KINDS[expected]
    if not is_one(value):
        yield key, value, kind
