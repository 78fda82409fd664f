"""The labels that a drawing is asked for, and what is written of them: names for people, arrays for programs."""

import logging
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from cvae_lightning.core.conditions import AnyCondition, Condition
from cvae_lightning.core.errors import UserError, refuse
from cvae_lightning.core.shapes import AnyLabels, Conditions
from cvae_lightning.data.splits import Split
from cvae_lightning.drawing.picture import Arrays
from cvae_lightning.drawing.request import Request

log = logging.getLogger(__name__)

LONGEST = 60  # characters of a label in the name of a file


def given_labels(request: Request, condition: Condition) -> AnyLabels | AnyCondition | None:
    """The key `labels` as a list, or the key `condition` as a mapping; None if both are null.

    Without a `condition` they are ignored, with a warning. Raises UserError if both are given.
    """
    labels, values = request.keys.labels, request.keys.condition
    if labels is not None and values is not None:
        raise UserError("Expected labels or condition, got both. Leave labels out: condition can name the class too.")
    if not condition:
        if labels is not None or values is not None:
            key, value = ("labels", labels) if values is None else ("condition", values)
            log.warning("This model is not conditioned on the label: %s=%s is ignored.", key, value)
        return None
    if values is None:
        return None if labels is None else listed(labels)
    if not isinstance(values, DictConfig):
        columns = ", ".join(f"{column.name}: ..." for column in condition.columns)
        refuse("values of columns, in braces", "condition", plain(values), f"For example 'condition={{{columns}}}'.")
    return {str(name): value for name, value in plain(values).items()}


def chosen_labels(request: Request, condition: Condition) -> Conditions:
    """The labels that a drawing shows, one per row: those of the keys `labels` or `condition`, or examples.

    A model without a condition has one, 0, which it ignores. Raises UserError for a label that the condition lacks.
    """
    given = given_labels(request, condition)
    return condition.examples() if given is None else condition.parse(given)


def has_labels(split: Split, given: AnyLabels | AnyCondition, condition: Condition) -> torch.Tensor:
    """Which images of `split` have one of the labels `given` by a person: (N,) booleans.

    A list names classes, of which None are the images without one. A mapping names values of some columns, all of which
    an image has to have. Raises UserError for a label that the data set lacks.
    """
    if not isinstance(given, dict):
        if condition.main is None:
            refuse("images with classes", "labels", given, "The data set has none.")
        return torch.isin(split.classes, Condition((condition.main,)).with_unknown().parse(given))
    wanted, found = (
        torch.cat([values for _, values in condition.by_column(y)], 1)
        for y in (condition.with_unknown().parse(given), split.labels)
    )
    equal = (found[:, None] == wanted) | wanted.isnan()
    return equal.all(2).any(1)


def label_arrays(condition: Condition, y: Conditions) -> Arrays:
    """The arrays of the labels `y`, whose first axes are those of the images; none for an unconditional model.

    `labels` are class numbers, -1 where unknown. All other labels are `conditions`, whose last axis has the values that
    `columns` names, nan where unknown. In `names`, each label is written as a person reads it.
    """
    if not condition:
        return {}
    if condition.is_one_class:
        return {"labels": y, "names": _names(condition, y.flatten(), y.shape)}
    names = _names(condition, y.flatten(0, -2), y.shape[:-1])
    return {"conditions": y, "columns": np.array(condition.value_names), "names": names}


def subject(condition: Condition, name: str) -> str:
    """A label as it stands in a title: "label 3", where several columns name themselves."""
    return f"{condition.columns[0].name} {name}" if condition.is_one_class else name


def file_names(names: Sequence[str]) -> list[str]:
    """`names` as parts of file names, without characters that some system refuses, and each of them once."""
    found: list[str] = []
    for name in names:
        stem = re.sub(r"[^\w.+-]+", "-", name).strip("-.")[:LONGEST] or "label"
        taken = {other.casefold() for other in found}
        ways = (stem, *(f"{stem}_{number}" for number in range(2, len(found) + 3)))
        found.append(next(way for way in ways if way.casefold() not in taken))
    return found


def listed(value: Any) -> list[Any]:
    """The value of a key as a list of plain values; a single value is a list of one."""
    return list(plain(value)) if isinstance(value, ListConfig) else [plain(value)]


def plain(value: Any) -> Any:
    """The value of a key without omegaconf's types."""
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value


def _names(condition: Condition, y: Conditions, shape: torch.Size) -> npt.NDArray[np.str_]:
    return np.array(condition.written(y), dtype=np.str_).reshape(shape)
