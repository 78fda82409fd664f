"""What a model is conditioned on: columns of classes, real numbers or flags, each of which may be unknown.

A data set describes its condition, a model turns it into its context, and people read it by its names and units. The
labels `y` of a data set with one column of classes are class numbers, (B,) int64, and -1 is unknown. Those of any other
condition are (B, values) float32: a class number, a number in its own unit, or 0 and 1 for each flag; nan is unknown.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F

from cvae_lightning.core.errors import UserError, refuse
from cvae_lightning.core.shapes import AnyLabels, Conditions, Context, Labels, as_labels

UNKNOWN = "any"
"""The name of an unknown value, as pictures and pages show it."""
NEVER_UNKNOWN = "Each image that the model has seen has one: model.label_dropout=0.1 trains a model that needs none."
GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, fill an interval evenly

Described: TypeAlias = dict[str, dict[str, Any]]
"""A condition as plain values, as a configuration and metrics.json have it."""


@dataclass(frozen=True)
class Classes:
    """A column with one class per image; its context is the one-hot vector."""

    name: str
    names: tuple[str, ...]
    """Of the classes 0, 1, ..., as a person knows them."""
    optional: bool = False
    """Whether it may be unknown."""

    num_values = 1

    @property
    def width(self) -> int:
        return len(self.names)

    def context(self, values: torch.Tensor) -> Context:
        return F.one_hot(values[:, 0].nan_to_num(self.width).long(), self.width + 1)[:, :-1].float()

    def read(self, given: Any) -> list[float]:
        """The class that `given` names: by its name, or by its number if no name is the same."""
        if str(given) in self.names:
            return [float(self.names.index(str(given)))]
        if type(given) is not int or not 0 <= given < len(self.names):
            refuse(f"one of {_listed(self.names)}", self.name, given, "Leave it out, or name another.")
        return [float(given)]

    def written(self, values: Sequence[float]) -> str:
        """The name of the class."""
        return self.names[int(values[0])]

    def spread(self, num: int) -> torch.Tensor:
        """The classes in turn, (num, 1)."""
        return (torch.arange(num) % self.width)[:, None].float()

    def steps(self, num: int) -> torch.Tensor:
        """All classes, (classes, 1), whatever `num` is."""
        return torch.arange(self.width)[:, None].float()

    def typical(self) -> list[float]:
        """The value that stands for the column where none is given: the first class."""
        return [0.0]

    def described(self) -> dict[str, Any]:
        return {"classes": list(self.names), "optional": self.optional}


@dataclass(frozen=True)
class Number:
    """A column of real numbers; the context is the number minus the mean, divided by the standard deviation."""

    name: str
    mean: float
    std: float
    low: float
    """The smallest and the largest value of the training images."""
    high: float
    optional: bool = False

    num_values = 1
    width = 1

    def context(self, values: torch.Tensor) -> Context:
        return ((values - self.mean) / self.std).nan_to_num(0.0)

    def read(self, given: Any) -> list[float]:
        """The number itself."""
        if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) < float("inf"):
            refuse("a finite number", self.name, given, f"The images have {self.low:g} to {self.high:g}.")
        return [float(given)]

    def written(self, values: Sequence[float]) -> str:
        """The number, after the name of the column, with as many digits as tell a thousandth of the range."""
        digits = max(0, 3 - math.ceil(math.log10(self.high - self.low or 1)))
        return f"{self.name} {round(values[0], digits):.10g}"

    def spread(self, num: int) -> torch.Tensor:
        """Numbers from `low` to `high` that cover the interval evenly, however many are taken: (num, 1)."""
        share = (torch.arange(num, dtype=torch.float64)[:, None] + 0.5) * GOLDEN % 1
        return (self.low + share * (self.high - self.low)).float()

    def steps(self, num: int) -> torch.Tensor:
        """`num` numbers from `low` to `high` in equal steps, (num, 1)."""
        return torch.linspace(self.low, self.high, num)[:, None]

    def typical(self) -> list[float]:
        """The mean."""
        return [self.mean]

    def described(self) -> dict[str, Any]:
        numbers = {"mean": self.mean, "std": self.std, "low": self.low, "high": self.high}
        return {**numbers, "optional": self.optional}


@dataclass(frozen=True)
class Flags:
    """A column with several labels that an image may or may not have; the context is a vector of 0 and 1."""

    name: str
    names: tuple[str, ...]
    optional: bool = False

    @property
    def num_values(self) -> int:
        return len(self.names)

    @property
    def width(self) -> int:
        return len(self.names)

    def context(self, values: torch.Tensor) -> Context:
        return values.nan_to_num(0.0)

    def read(self, given: Any) -> list[float]:
        """1 for each flag in the list `given`; a single name is a list of one."""
        listed = [given] if isinstance(given, str) else given
        if not isinstance(listed, Sequence) or not set(map(str, listed)) <= set(self.names):
            refuse(f"a list of {_listed(self.names)}", self.name, given, "An empty list has none of them.")
        return [float(name in map(str, listed)) for name in self.names]

    def written(self, values: Sequence[float]) -> str:
        """The names of the flags that are set."""
        return "+".join(name for name, value in zip(self.names, values, strict=True) if value) or f"no {self.name}"

    def spread(self, num: int) -> torch.Tensor:
        """All combinations in turn, (num, flags)."""
        return (torch.arange(num)[:, None] >> torch.arange(len(self.names)) & 1).float()

    def steps(self, num: int) -> torch.Tensor:
        """Each flag alone, (flags, flags), whatever `num` is."""
        return torch.eye(self.width)

    def typical(self) -> list[float]:
        """No flag is set."""
        return [0.0] * len(self.names)

    def described(self) -> dict[str, Any]:
        return {"flags": list(self.names), "optional": self.optional}


Column: TypeAlias = Classes | Number | Flags


@dataclass(frozen=True)
class Condition:
    """The columns that a data set has for each image; with none, its images are unlabelled.

    >>> Condition.of_classes(10).context(torch.tensor([7])).shape
    torch.Size([1, 10])
    >>> turned = Condition.from_config({"digit": 10, "angle": {"mean": 0, "std": 26, "low": -45, "high": 45}})
    >>> turned.parse({"digit": 3, "angle": 30})
    tensor([[ 3., 30.]])
    """

    columns: tuple[Column, ...] = ()

    @classmethod
    def of_classes(cls, num: int) -> "Condition":
        """One column `label` with the classes 0 to num - 1."""
        return cls((Classes("label", tuple(map(str, range(num)))),))

    @classmethod
    def from_config(cls, described: Mapping[str, Any]) -> "Condition":
        """The condition of a configuration, by the names of its columns.

        A column is a number of classes, a list of their names, or what `described` returns. Raises UserError for
        anything else.
        """
        return cls(tuple(_column(str(name), description) for name, description in described.items()))

    def described(self) -> Described:
        """The columns as plain values, from which `from_config` makes the same condition."""
        return {column.name: column.described() for column in self.columns}

    def with_unknown(self) -> "Condition":
        """The same columns, each of which may also be unknown."""
        return Condition(tuple(replace(column, optional=True) for column in self.columns))

    def __bool__(self) -> bool:
        return bool(self.columns)

    @property
    def is_one_class(self) -> bool:
        """Whether `y` is (B,) int64: one column, of classes. An unlabelled data set has such labels too, all 0."""
        return not self.columns or (len(self.columns) == 1 and isinstance(self.columns[0], Classes))

    @property
    def num_values(self) -> int:
        """The number of values per image in a `y` of two dimensions."""
        return sum(column.num_values for column in self.columns)

    @property
    def value_names(self) -> list[str]:
        """The names of these values: that of the column, or "tags: red" for each of its flags."""
        return [name for column in self.columns for name in _value_names(column)]

    @property
    def width(self) -> int:
        """The width of the context: that of each column, and one more for each that may be unknown."""
        return sum(column.width + column.optional for column in self.columns)

    @cached_property
    def main(self) -> Classes | None:
        """The first column of classes, by which metrics group images; None if there is none."""
        return next((column for column in self.columns if isinstance(column, Classes)), None)

    @property
    def num_classes(self) -> int:
        """The number of classes of the main column; 0 if there is none."""
        return self.main.width if self.main else 0

    @property
    def num_groups(self) -> int:
        """The number of densities that a prior or sampler may have: one per class, and one for an unknown class."""
        return self.num_classes + bool(self.main and self.main.optional)

    @property
    def may_be_unknown(self) -> bool:
        """Whether some column may be unknown."""
        return any(column.optional for column in self.columns)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes of the main column."""
        return self.main.names if self.main else ()

    def context(self, y: Conditions) -> Context:
        """What the networks see of `y`: the context of each column, zeros where it is unknown.

        A column that may be unknown is followed by a flag, 1 where it is.
        """
        if self.is_one_class:
            if not self.columns:
                return torch.empty(len(y), 0, device=y.device)
            column = self.columns[0]
            if not column.optional:
                return F.one_hot(y, column.width).float()
            return F.one_hot(torch.where(y < 0, column.width, y), column.width + 1).float()
        parts: list[torch.Tensor] = []
        for column, values in self.by_column(y):
            parts.append(column.context(values))
            if column.optional:
                parts.append(values.isnan().any(1, keepdim=True).float())
        return torch.cat(parts, 1)

    def by_column(self, y: Conditions) -> list[tuple[Column, torch.Tensor]]:
        """Each column with its values (B, values) in `y`, float32; nan is unknown."""
        if self.is_one_class:
            return [(column, torch.where(y < 0, torch.nan, y.float())[:, None]) for column in self.columns]
        values = torch.split(y, [column.num_values for column in self.columns], 1)
        return list(zip(self.columns, values, strict=True))

    def classes(self, y: Conditions) -> Labels:
        """The class of each image in the main column, (B,) int64; -1 where it is unknown, or if there is no class."""
        if self.main is None:
            return torch.full((len(y),), -1, device=y.device)
        if self.is_one_class:
            return y
        values = dict(self.by_column(y))[self.main]
        return values[:, 0].nan_to_num(-1).long()

    def groups(self, y: Conditions) -> Labels:
        """The density of a prior or sampler for each image: its class, the last one if that is unknown, or 0."""
        if self.main is None:
            return torch.zeros(len(y), dtype=torch.long, device=y.device)
        classes = self.classes(y)
        return torch.where(classes < 0, self.num_classes, classes) if self.main.optional else classes

    def unknown(self, num: int, device: torch.device | None = None) -> Conditions:
        """`num` labels of which nothing is known; 0 if there are no columns."""
        if self.is_one_class:
            return torch.full((num,), -1 if self.columns else 0, device=device)
        return torch.full((num, self.num_values), float("nan"), device=device)

    def without_class(self, y: Conditions) -> Conditions:
        """`y` with the class of the main column unknown, and all else as it is."""
        if self.is_one_class:
            return self.unknown(len(y), y.device)
        return self._with_main(y, torch.nan)

    def with_class(self, y: Conditions, number: int | Labels) -> Conditions:
        """`y` with this class, or these, in the main column, and all else as it is."""
        if self.is_one_class:
            return torch.full_like(y, number) if isinstance(number, int) else number
        return self._with_main(y, number)

    def hidden(self, y: Conditions, probability: float) -> Conditions:
        """`y` with each column of each image unknown with this probability, drawn from torch's random stream."""
        drawn = torch.rand(len(y), max(len(self.columns), 1), device=y.device) < probability
        if self.is_one_class:
            return y.masked_fill(drawn[:, 0], -1) if self.columns else y
        by_column = zip(drawn.split(1, 1), self.columns, strict=True)
        whole = torch.cat([hides.expand(-1, column.num_values) for hides, column in by_column], 1)
        return y.masked_fill(whole, float("nan"))

    def spread(self, num: int) -> Conditions:
        """`num` labels that cover what there is: the classes in turn, numbers evenly, all combinations of flags."""
        if self.is_one_class:
            return torch.arange(num) % max(self.num_classes, 1)
        return torch.cat([column.spread(num) for column in self.columns], 1)

    def examples(self, num: int = 5) -> Conditions:
        """Labels that a picture shows if none are asked for, the other columns at their typical values.

        They are all classes of the main column; without one, `num` numbers from the lowest to the highest of the first
        column of numbers; without that, each flag of the first column of flags alone. A model that knows unknown
        labels has one such row more, at the end.
        """
        if not self.columns:
            return torch.zeros(1, dtype=torch.long)
        leading = self.main or next((column for column in self.columns if isinstance(column, Number)), self.columns[0])
        values = leading.steps(num)
        parts = (
            values if column is leading else torch.tensor(column.typical()).expand(len(values), -1)
            for column in self.columns
        )
        rows = torch.cat(list(parts), 1)
        y = rows[:, 0].long() if self.is_one_class else rows
        return torch.cat([y, self.unknown(1)]) if leading.optional else y

    def parse(
        self, given: "AnyLabels | AnyCondition", num: int | None = None, device: torch.device | None = None
    ) -> Conditions:
        """What a person gives as labels, as `y` on `device`; one label stands for all `num` images.

        `given` is a number or a name of a class, or a list, tensor or array of them (None is unknown); or a mapping
        from the names of columns to such values, where a column that is left out is unknown. Raises UserError, naming
        the column, for what the condition does not have, and for an unknown value where every image had one.
        """
        if isinstance(given, Mapping):
            return self._from_mapping(given, num, device)
        if isinstance(given, torch.Tensor) and given.ndim == 2 and not self.is_one_class:
            return self._expanded(given.float(), num).to(device)
        if self.is_one_class:
            return as_labels(self._numbers(given), num, self.num_classes, device, unknown=self.columns[0].optional)
        if self.main is None:
            refuse(
                f"a value for {_listed([column.name for column in self.columns])}", "condition", given, self._example
            )
        return self._from_mapping({self.main.name: given}, num, device)

    def written(self, y: Conditions) -> list[str]:
        """Each label as a person reads it: the name of its class, or "digit 3, angle 30" for several columns."""
        return list(map(", ".join, self.written_by_column(y)))

    def written_by_column(self, y: Conditions) -> list[list[str]]:
        """The columns of each label as a person reads them, such as ["digit 3", "angle 30"]."""
        by_column = [(column, values.tolist()) for column, values in self.by_column(y)]
        return [[self._written(column, rows[row]) for column, rows in by_column] for row in range(len(y))]

    def _with_main(self, y: Conditions, value: float | Labels) -> Conditions:
        """`y` of several columns with this value, or these, in the main column, if there is one."""
        if self.main is None:
            return y
        place = sum(column.num_values for column in self.columns[: self.columns.index(self.main)])
        changed = y.clone()
        changed[:, place] = value
        return changed

    def _written(self, column: Column, values: list[float]) -> str:
        alone = len(self.columns) == 1
        if any(map(math.isnan, values)):
            return UNKNOWN if alone else f"{UNKNOWN} {column.name}"
        text = column.written(values)
        return f"{column.name} {text}" if text.isdigit() and not alone else text

    @property
    def labels_example(self) -> str:
        """A sentence with labels that Python code may pass."""
        if self.is_one_class and self.class_names[:10] == tuple("0123456789"):
            return "Pass for example [2, 7, 9]."
        if self.is_one_class:
            return f"Pass for example {list(self.class_names[:3])}."
        given = ", ".join(f"{column.name!r}: {_example_of(column, repr)}" for column in self.columns)
        return f"Pass for example {{{given}}}."

    @property
    def _example(self) -> str:
        given = ", ".join(f"{column.name}: {_example_of(column)}" for column in self.columns)
        return f"For example 'condition={{{given}}}'."

    def _numbers(self, given: Any) -> Any:
        """`given` with the names of classes replaced by their numbers, and None by -1."""
        if isinstance(given, np.ndarray) and given.dtype.kind in "UO":
            given = given.tolist()
        if isinstance(given, str) or given is None:
            given = [given]
        if not isinstance(given, list | tuple) or all(type(value) is int for value in given):
            names = self.class_names
            if names != tuple(map(str, range(len(names)))) and isinstance(given, list | tuple | int):
                listed = [given] if isinstance(given, int) else given
                return [self._number(value) for value in listed]
            return given
        return [self._number(value) for value in given]

    def _number(self, value: Any) -> Any:
        column = self.columns[0]
        if value is None:
            if not column.optional:
                refuse("a class", "labels", "none", NEVER_UNKNOWN)
            return -1
        named = isinstance(value, str) or str(value) in self.class_names
        if named and str(value) not in self.class_names:
            refuse(f"one of {_listed(self.class_names)}", "labels", value, "Leave it out, or name another.")
        return int(column.read(value)[0]) if named else value

    def _from_mapping(self, given: Mapping[str, Any], num: int | None, device: torch.device | None) -> Conditions:
        known = [column.name for column in self.columns]
        if strange := [name for name in given if str(name) not in known]:
            refuse(f"the columns {_listed(known)}", "condition", strange[0], self._example)
        parts = [self._values(column, given.get(column.name)) for column in self.columns]
        size = max(map(len, parts)) if num is None else num
        for column, part in zip(self.columns, parts, strict=True):
            if len(part) not in (1, size):
                refuse(f"one value or {size} values", column.name, f"{len(part)} values", "Give one value per image.")
        rows = torch.cat([torch.tensor(part).expand(size, -1) for part in parts], 1).to(device)
        return rows[:, 0].nan_to_num(-1).long() if self.is_one_class else rows

    def _values(self, column: Column, given: Any) -> list[list[float]]:
        """The values of one column: one row, or one row per image."""
        if isinstance(given, torch.Tensor) or hasattr(given, "tolist"):
            given = given.tolist()
        several = isinstance(given, list | tuple) and (
            not isinstance(column, Flags) or any(isinstance(value, list | tuple) for value in given)
        )
        rows = list(given) if several else [given]
        if not rows:
            refuse("at least one value", column.name, "none", self._example)
        if any(value is None for value in rows) and not column.optional:
            refuse("a value", column.name, "none", f"{self._example} {NEVER_UNKNOWN}")
        return [[float("nan")] * column.num_values if value is None else column.read(value) for value in rows]

    def _expanded(self, y: torch.Tensor, num: int | None) -> torch.Tensor:
        if y.shape[1] != self.num_values or (num is not None and len(y) not in (1, num)):
            refuse(f"the shape ({num or 'batch'}, {self.num_values})", "condition", tuple(y.shape), self._example)
        return y if num is None else y.expand(num, -1)


AnyCondition: TypeAlias = Mapping[str, Any]
"""A value, or a list of values, for each column by its name."""


def _column(name: str, description: Any) -> Column:
    match description:
        case int() if description > 0 and not isinstance(description, bool):
            return Classes(name, tuple(map(str, range(description))))
        case [_, *_] if _differ(description):
            return Classes(name, tuple(map(str, description)))
        case {"classes": names, **rest}:
            return replace(_classes(name, names), optional=bool(rest.get("optional", False)))
        case {"flags": [_, *_] as names, **rest} if _differ(names):
            return Flags(name, tuple(map(str, names)), bool(rest.get("optional", False)))
        case {"mean": mean, "std": std, "low": low, "high": high, **rest} if std > 0:
            return Number(name, float(mean), float(std), float(low), float(high), bool(rest.get("optional", False)))
    raise UserError(
        f"Expected the description of a column (data.condition.{name}), got {description!r}. "
        "Write a number of classes or a list of different names; the data set itself describes numbers and flags."
    )


def _differ(names: Sequence[Any]) -> bool:
    return len(set(map(str, names))) == len(names)


def _classes(name: str, names: Any) -> Classes:
    column = _column(name, names)
    if not isinstance(column, Classes):
        raise UserError(f"Expected a number or a list (data.condition.{name}.classes), got {names!r}.")
    return column


def _value_names(column: Column) -> list[str]:
    return [f"{column.name}: {flag}" for flag in column.names] if isinstance(column, Flags) else [column.name]


def _example_of(column: Column, quoted: Callable[[str], str] = str) -> str:
    match column:
        case Classes():
            return quoted(column.names[0])
        case Number():
            return f"{column.mean:.3g}"
        case Flags():
            return f"[{quoted(column.names[0])}]"


def _listed(names: Sequence[str], most: int = 12) -> str:
    """Names in one line; of many, the first ones and the number of the others."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
