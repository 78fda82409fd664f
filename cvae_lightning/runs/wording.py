"""What the texts on a run say of its labels, and the labels that their examples draw."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from cvae_lightning.core.conditions import Classes, Column, Condition, Number
from cvae_lightning.core.markdown import code, escaped

MOST_NAMES = 20  # of the names in one line
PLAIN = re.compile(r"[A-Za-z_][\w./+-]*( [\w./+-]+)*|\d+", re.ASCII)  # text that Hydra reads as it is
NOT_TEXT = ("null", "true", "false", "nan", "inf")  # in any case


class Example(NamedTuple):
    """Three labels, or fewer if there are fewer classes, as somebody types them."""

    python: str
    """The arguments of `Run.sample`."""
    shell: str
    """The keys of the command that draws samples."""
    num: int
    """The number of images that the call in Python returns."""


def example_of(condition: Condition) -> Example:
    """Labels to draw images of, by the names of the condition; only a number of images if it is empty."""
    if not condition:
        return Example("num=3", "num=3", 3)
    if condition.is_one_class:
        names = condition.class_names
        chosen: Sequence[Any] = [2, 7, 9] if names[:10] == tuple("0123456789") else names[:3]
        listed = ",".join(map(_for_hydra, chosen))
        return Example(json.dumps(list(chosen), ensure_ascii=False), shlex.quote(f"labels=[{listed}]"), len(chosen))
    values = {column.name: _typical(column) for column in condition.columns}
    typed = ", ".join(f"{name}: {_for_hydra(value)}" for name, value in values.items())
    python = json.dumps(values, ensure_ascii=False)
    return Example(f"{python}, num=3", f"{shlex.quote(f'condition={{{typed}}}')} num=3", 3)


def columns(condition: Condition) -> Iterator[str]:
    """What there is to ask for in each column, in Markdown."""
    for column in condition.columns:
        unknown = "; may be unknown" if column.optional else ""
        yield f"{code(column.name)}: {_values(column)}{unknown}"


def listed(names: Sequence[str]) -> str:
    """Names in one line of Markdown; of many, the first ones and the number of the others."""
    shown = ", ".join(map(escaped, names[:MOST_NAMES]))
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES:,} more"


def _values(column: Column) -> str:
    match column:
        case Classes():
            return f"one of {len(column.names):,} classes: {listed(column.names)}"
        case Number():
            spread = f"mean {column.mean:.3g}, standard deviation {column.std:.3g}"
            return f"a number, from {column.low:g} to {column.high:g} in the training images ({spread})"
    return f"any of {len(column.names):,} flags: {listed(column.names)}"


def _typical(column: Column) -> Any:
    match column:
        case Number():
            return float(f"{column.mean:.3g}")
        case Classes():
            return int(column.names[0]) if column.names[0] == "0" else column.names[0]
    return [column.names[0]]


def _for_hydra(value: Any) -> str:
    """A value as Hydra reads it in an override, in quotes where it has to be."""
    if isinstance(value, list):
        return f"[{','.join(map(_for_hydra, value))}]"
    if not isinstance(value, str) or (PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT):
        return str(value)
    quoted = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + (r"\"" if found[2] else ""), value)
    return f'"{quoted}"'  # Hydra reads backslashes in pairs before a quote, and elsewhere as they are
