"""The structure of a report, from which its Markdown and its HTML are written."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Cell(NamedTuple):
    text: str
    value: Any = None  # what a column is sorted by; None comes last
    best: bool = False


class Table(NamedTuple):
    columns: list[str]
    numeric: list[bool]
    rows: list[list[Cell]]


class Picture(NamedTuple):
    name: str
    caption: str
    png: bytes
    svg: str | None = None  # shown instead of the PNG where a page can contain it


class Section(NamedTuple):
    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    table: Table | None = None


class Report(NamedTuple):
    title: str
    command: str
    counts: dict[str, int]
    facts: dict[str, str]
    warnings: list[str]
    sections: list[Section]
