"""The parts of a report, which can be written down as Markdown and as HTML."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Cell(NamedTuple):
    text: str
    value: Any = None  # by which a column is sorted; None comes last
    best: bool = False


class Table(NamedTuple):
    columns: list[str]
    numeric: list[bool]
    rows: list[list[Cell]]


class Picture(NamedTuple):
    name: str
    caption: str
    png: bytes
    svg: str | None = None  # where a page can hold it


class Section(NamedTuple):
    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    table: Table | None = None


class Content(NamedTuple):
    title: str
    command: str
    counts: dict[str, int]
    facts: dict[str, str]
    warnings: list[str]
    sections: list[Section]
