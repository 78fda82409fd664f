"""The condition of a data set from its columns: which kind of column the values are, and their names and units.

The same rules hold for the arrays of an .npz file and for the cells of a metadata.csv:

* Text is classes, or numbers if each cell is one; "" is unknown. Booleans are the classes False and True.
* Whole numbers are classes if there are at most 20 different ones, else numbers in some unit. Other floats are numbers;
  nan is unknown.
* A table of 0 and 1 with a row per image is flags, or classes if each row has a single 1 (one-hot labels).

`data.condition` may name the columns to use, and may state their kinds.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from cvae_lightning.core.conditions import Classes, Column, Condition, Flags, Number
from cvae_lightning.core.errors import UserError, refuse
from cvae_lightning.core.shapes import Conditions

log = logging.getLogger(__name__)

Kind: TypeAlias = Literal["classes", "number", "flags"]
KINDS: tuple[Kind, ...] = ("classes", "number", "flags")
Values: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float64]

MOST_WHOLE_CLASSES = 20
"""Whole numbers with more different values than this are numbers, unless they are said to be classes."""
MOST_NAMES = 1000
"""A column with more names than this is only a column of classes if it is said to be one."""
LEAST_SPREAD = 1e-6
"""Of a number, relative to its largest value, so that single precision can tell the values apart."""
NO_FLAGS = "none"
"""The cell of an image with none of the flags; an empty cell is unknown."""
BETWEEN_FLAGS = ";"

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d+")


class NothingToLearn(UserError):
    """A column whose known values are all the same, or which has none."""


class Found(NamedTuple):
    """A column of a data set, as it is stored."""

    values: Values
    """(N,) booleans, integers, floats or text, or a table (N, k) of 0 and 1."""
    kind: Kind | None = None
    """What the data set says it is; None: what the values look like."""
    names: Sequence[str] | None = None
    """Names of the classes 0, 1, ... or of the columns of the table, if these are stored beside the values."""


class Read(NamedTuple):
    """A column of a condition, and its values for each image, (N, column.num_values); nan is unknown."""

    column: Column
    values: Floats


class Labelled(NamedTuple):
    """The condition of a data set, and the labels of its images in the form that the condition describes."""

    condition: Condition
    labels: Conditions


def read_columns(
    found: Mapping[str, Found],
    train_rows: Values,
    condition: Any = None,
    where: Callable[[int], str] = "image {}".format,
) -> Labelled:
    """The condition that the columns `found` make, and the labels of all images.

    `condition` is data.condition: None for all columns, a list of names, or a mapping from names to kinds (as in
    {angle: number}) or to descriptions (as Condition.from_config takes them). A described column is read as described:
    a class has the number that it has there. With None, a column that is the same for all images is left out, with a
    warning. `train_rows` are the indices of the training images, or a mask; means and ranges are taken from these
    alone. `where` tells a person which image a row is. Raises UserError, naming the column.
    """
    asked = _asked(condition)
    missing = [name for name in asked or () if name not in found]
    if missing:
        known = f"the columns {', '.join(found)}" if found else "no column, since the images are unlabelled"
        refuse(known, "data.condition", missing[0], "null takes all columns.")
    read = []
    for name, column in found.items() if asked is None else ((name, found[name]) for name in asked):
        kind, described = (asked or {}).get(name, (None, None))
        try:
            read.append(column_of(name, column.values, train_rows, kind or column.kind, described, column.names, where))
        except NothingToLearn as reason:
            if asked is not None:
                raise
            log.warning("%s It is not part of the condition.", reason)
    return _labelled(read, len(next(iter(found.values())).values) if found else len(train_rows))


def described_by(condition: Any) -> Condition | None:
    """The condition that data.condition describes completely, so that no data set has to be asked; None otherwise."""
    described = [column for _, column in (_asked(condition) or {"": (None, None)}).values()]
    return None if None in described else Condition(tuple(column for column in described if column is not None))


def column_of(
    name: str,
    values: Values,
    train_rows: Values,
    kind: Kind | None = None,
    described: Column | None = None,
    names: Sequence[str] | None = None,
    where: Callable[[int], str] = "image {}".format,
) -> Read:
    """The column `name`, and its values as floats (N, column.num_values), nan where they are unknown.

    `values` is (N,) booleans, integers, floats or text, or a table (N, k) of 0 and 1; (N, 1) is (N,). Without a `kind`,
    the values decide, as the docstring of this module says. Flags in text are separated by semicolons: "red;round"; an
    image without any has the cell "none". With `described`, the values are read as that column, whose classes and units
    are kept. `names` are those of the classes 0, 1, ... which the values then number, or those of the k flags.

    Raises NothingToLearn for a column without two different known values (for numbers, among `train_rows`), and
    UserError, naming the column and `where` a wrong value is, for: a value of another kind; infinity, and numbers that
    float32 cannot hold or tell apart; a class that `described` or `names` lack; an unknown value where `described` has
    none; more than 1,000 names, or more than one per two images, of a column that is not said to be classes.
    """
    values = _plain(name, values)
    kind = _kind_of(described) or kind or _likely_kind(name, values, names)
    cells = _Cells(name, values, where)
    match kind:
        case "classes":
            read = _classes(cells, described, names)
        case "number":
            read = _number(cells, train_rows, described)
        case "flags":
            read = _flags(cells, described, names)
    unknown = np.isnan(read.values).any(1)
    if described is not None and unknown.any() and not described.optional:
        got = f"no value for {where(int(unknown.argmax()))}"
        refuse("a value for each image", name, got, "The model has not learned images without it.")
    return read


class _Cells(NamedTuple):
    """The values of a column, and what an error says about one of them."""

    name: str
    values: Values
    where: Callable[[int], str]

    def refuse_first(self, wrong: npt.NDArray[np.bool_], what: str, remedy: str) -> None:
        """Raise UserError if a value is wrong, naming the first one."""
        if wrong.any():
            row = int(wrong.argmax())
            got = self.values[row].tolist() if self.values.ndim == 2 else self.values[row].item()
            raise UserError(f"Expected {what} ({self.name}), got {got!r} for {self.where(row)}. {remedy}")


def _asked(condition: Any) -> dict[str, tuple[Kind | None, Column | None]] | None:
    """The kind and the description that data.condition has for each column; None if it leaves everything open."""
    if condition is None:
        return None
    if isinstance(condition, str):
        condition = [condition]
    if not isinstance(condition, Mapping):
        return {str(name): (None, None) for name in condition}
    return {str(name): _asked_of(str(name), how) for name, how in condition.items()}


def _asked_of(name: str, how: Any) -> tuple[Kind | None, Column | None]:
    if how is None:
        return None, None
    if isinstance(how, str):
        kind = next((kind for kind in KINDS if kind == how), None)
        if kind is None:
            refuse(f"one of {', '.join(KINDS)}", f"data.condition.{name}", how, "null: what the values look like.")
        return kind, None
    return None, Condition.from_config({name: how}).columns[0]


def _kind_of(column: Column | None) -> Kind | None:
    match column:
        case Classes():
            return "classes"
        case Number():
            return "number"
        case Flags():
            return "flags"
    return None


def _labelled(read: Sequence[Read], num: int) -> Labelled:
    condition = Condition(tuple(column for column, _ in read))
    if not read:
        return Labelled(condition, torch.zeros(num, dtype=torch.long))
    values = np.concatenate([values for _, values in read], 1)
    if condition.is_one_class:
        return Labelled(condition, torch.from_numpy(np.nan_to_num(values[:, 0], nan=-1).astype("i8")))
    return Labelled(condition, torch.from_numpy(values.astype("f4")))


def _plain(name: str, values: Values) -> Values:
    """The values as (N,) booleans, int64, float64 or stripped text, or a table (N, k > 1) of the first three."""
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2) or 0 in values.shape[1:]:
        refuse("one value, or one row of flags, per image", name, f"the shape {values.shape}", "Leave that array out.")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "U" and values.ndim == 1:
        return _bool_text(np.char.strip(values))
    if values.dtype.kind not in "biuf":
        got = f"{values.dtype} {values.shape}"
        refuse("booleans, integers, floats or text", name, got, "Convert it, or leave it out.")
    if values.dtype.kind == "b":
        return values
    return values.astype("f8" if values.dtype.kind == "f" else "i8")


def _bool_text(text: Values) -> Values:
    """Text, with true and false written as Python writes them if there is nothing else."""
    lower = np.char.lower(text)
    is_bool = np.isin(lower, ("true", "false", "")).all() and (lower != "").any()
    return np.char.capitalize(lower) if is_bool else text


def _likely_kind(name: str, values: Values, names: Sequence[str] | None) -> Kind:
    if values.ndim == 2:
        return "classes" if _is_one_hot(values) else "flags"
    if names is not None or values.dtype.kind == "b":
        return "classes"
    if values.dtype.kind == "f":
        return "number"
    known = values[values != ""] if values.dtype.kind == "U" else values
    num_different = len(np.unique(known))
    if values.dtype.kind == "U" and not all(map(_NUMBER.fullmatch, known)):
        if num_different > MOST_NAMES or num_different > max(MOST_WHOLE_CLASSES, len(known) / 2):
            remedy = (
                f"Name the columns that the model is conditioned on: data.condition=[...]; {{{name}: classes}} too."
            )
            refuse(f"at most {MOST_NAMES} names, for two images each", name, f"{num_different} names", remedy)
        return "classes"
    whole = values.dtype.kind == "i" or all(map(_WHOLE.fullmatch, known))
    return "classes" if whole and num_different <= MOST_WHOLE_CLASSES else "number"


def _is_one_hot(values: Values) -> bool:
    return bool(np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all())


def _classes(cells: _Cells, described: Column | None, names: Sequence[str] | None) -> Read:
    values = cells.values
    if values.ndim == 2:
        if not _is_one_hot(values):
            got = f"a table of {values.shape[1]} columns"
            refuse("one class per image, or one-hot rows", cells.name, got, f"data.condition={{{cells.name}: flags}}")
        names = tuple(map(str, range(values.shape[1]))) if names is None else names
        cells = cells._replace(values=values.argmax(1))
    text = _names_of(cells, names)
    known = text[text != ""]
    if described is None:
        ordered = tuple(map(str, names)) if names is not None else tuple(sorted(np.unique(known).tolist(), key=_order))
        if len(np.unique(known)) < 2:
            raise NothingToLearn(f"Expected at least two classes ({cells.name}), got {_one_value(known)}.")
        column = Classes(cells.name, ordered, optional=len(known) < len(text))
    else:
        assert isinstance(described, Classes)
        column = described
        text = _by_number(_renamed(text, names, column.names), column.names)
    numbers = {name: number for number, name in enumerate(column.names)}
    shown = ", ".join(column.names[:12]) + (", ..." if len(column.names) > 12 else "")
    strange = np.array([cell not in numbers and cell != "" for cell in text.tolist()], bool)
    cells.refuse_first(strange, f"one of {shown}", "Leave that image out, or name its class too.")
    return Read(column, np.array([numbers.get(cell, np.nan) for cell in text.tolist()], "f8")[:, None])


def _names_of(cells: _Cells, names: Sequence[str] | None) -> Values:
    """The name of each image's class, "" if it is unknown."""
    values = cells.values
    if values.dtype.kind == "U":
        return values
    if values.dtype.kind == "f":
        cells.refuse_first(~np.isnan(values) & (np.floor(values) != values), "whole numbers", "They number classes.")
        cells.refuse_first(np.abs(np.nan_to_num(values, posinf=2.0**53)) >= 2.0**53, "whole numbers", "Replace it.")
    if names is not None:
        wrong = ~np.isnan(values.astype("f8")) & ((values < 0) | (values >= len(names)))
        cells.refuse_first(wrong, f"a number in 0..{len(names) - 1}, since there are {len(names)} names", "Add a name.")
    listed = [None if value != value else value if isinstance(value, bool) else int(value) for value in values.tolist()]
    return np.array(["" if v is None else str(v) if names is None else str(names[v]) for v in listed], dtype=np.str_)


def _renamed(text: Values, stored: Sequence[str] | None, names: Sequence[str]) -> Values:
    """Text with the stored names of classes replaced by as many other names, in their order."""
    if stored is None or len(stored) != len(names) or set(map(str, stored)) & set(names):
        return text
    new = dict(zip(map(str, stored), names, strict=True))
    return np.array([new.get(cell, cell) for cell in text.tolist()], dtype=np.str_)


def _by_number(text: Values, names: Sequence[str]) -> Values:
    """Text with the numbers of classes replaced by their names, where no class has the number as its name."""
    replaced = {
        cell: names[int(cell)]
        for cell in np.unique(text).tolist()
        if cell not in names and _WHOLE.fullmatch(cell) and 0 <= int(cell) < len(names)
    }
    return np.array([replaced.get(cell, cell) for cell in text.tolist()], dtype=np.str_)


def _order(name: str) -> tuple[float, str]:
    """Numbers before names, and in their own order: 2 before 10."""
    return (float(name), name) if _WHOLE.fullmatch(name) else (float("inf"), name)


def _number(cells: _Cells, train_rows: Values, described: Column | None) -> Read:
    values = _as_floats(cells)
    too_large = np.abs(np.nan_to_num(values, posinf=np.inf, neginf=np.inf)) > np.finfo(np.float32).max
    cells.refuse_first(too_large, "finite numbers", "An unknown number is nan, or an empty cell.")
    if described is not None:
        return Read(described, values[:, None])
    train = values[train_rows]
    known = train[~np.isnan(train)]
    if not len(known) or known.min() == known.max():
        got = _one_value(known)
        raise NothingToLearn(f"Expected different numbers among the training images ({cells.name}), got {got}.")
    mean, std = float(known.mean()), float(known.std())
    if std < LEAST_SPREAD * float(np.abs(known).max()):
        got = f"{known.min()} to {known.max()}"
        refuse("numbers that single precision tells apart", cells.name, got, "Subtract their mean from them.")
    optional = bool(np.isnan(values).any())
    return Read(Number(cells.name, mean, std, float(known.min()), float(known.max()), optional), values[:, None])


def _as_floats(cells: _Cells) -> Floats:
    values = cells.values
    if values.ndim == 2:
        got = f"a table of {values.shape[1]} columns"
        refuse("one number per image", cells.name, got, "Store each of its columns as an array of its own.")
    if values.dtype.kind != "U":
        return values.astype("f8")
    wrong = np.array([cell != "" and not _NUMBER.fullmatch(cell) for cell in values.tolist()], bool)
    cells.refuse_first(wrong, "numbers", f"data.condition={{{cells.name}: classes}} takes any text.")
    return np.array([float(cell or "nan") for cell in values.tolist()], "f8")


def _flags(cells: _Cells, described: Column | None, names: Sequence[str] | None) -> Read:
    assert described is None or isinstance(described, Flags)
    if cells.values.dtype.kind == "U":
        table, found = _flags_in_text(cells, described.names if described else names)
    else:
        table = (cells.values if cells.values.ndim == 2 else cells.values[:, None]).astype("f8")
        alone = [cells.name] if table.shape[1] == 1 else list(map(str, range(table.shape[1])))
        found = list(map(str, names)) if names is not None else list(described.names) if described else alone
    if len(found) != table.shape[1] or (described and tuple(found) != described.names):
        expected = len(described.names if described else found)
        refuse(f"{expected} flags per image", cells.name, table.shape[1], "Name each of them once.")
    wrong = (~np.isnan(table) & (table != 0) & (table != 1)).any(1)
    remedy = "Several numbers per image are several columns: store each as an array of its own."
    cells.refuse_first(wrong, "0 or 1 for each flag", remedy)
    table[np.isnan(table).any(1)] = np.nan
    known = table[~np.isnan(table[:, 0])]
    if described is None and (not len(known) or (known == known[0]).all()):
        raise NothingToLearn(f"Expected flags that differ between images ({cells.name}), got the same for all.")
    return Read(described or Flags(cells.name, tuple(found), optional=len(known) < len(table)), table)


def _flags_in_text(cells: _Cells, names: Sequence[str] | None) -> tuple[Floats, list[str]]:
    """A row of 0 and 1 for each cell, and the names of the flags."""
    rows = [
        None if not cell else {part.strip() for part in cell.split(BETWEEN_FLAGS)} - {"", NO_FLAGS}
        for cell in cells.values.tolist()
    ]
    seen: set[str] = set().union(*(row for row in rows if row is not None))
    found = list(map(str, names)) if names is not None else sorted(seen, key=_order)
    wrong = np.array([row is not None and not row <= set(found) for row in rows], bool)
    cells.refuse_first(wrong, f"flags of {', '.join(found)}", "Separate them by semicolons.")
    if not found:
        raise NothingToLearn(f"Expected flags ({cells.name}), got none for any image.")
    table = [[np.nan] * len(found) if row is None else [float(name in row) for name in found] for row in rows]
    return np.array(table, "f8"), found


def _one_value(known: Values) -> str:
    return f"only {known[0].item()!r}" if len(known) else "no known value"
