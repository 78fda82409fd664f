"""The structure of a report, from which its Markdown and its HTML are written."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """One cell of a table."""

    text: str
    value: Any = None  # what a column is sorted by; None comes last
    best: bool = False


class Table(NamedTuple):
    """A table of text."""

    columns: list[str]  # their titles
    numeric: list[bool]  # whether the column holds numbers, which are aligned to the right
    rows: list[list[Cell]]


class Picture(NamedTuple):
    """A picture with its caption; `name` is that of its file in plots/, without the ending."""

    name: str
    caption: str
    png: bytes
    svg: str | None = None  # shown instead of the PNG where a page can contain it


class Section(NamedTuple):
    """A section of a report; text, pictures and table may each be missing."""

    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    table: Table | None = None


class Report(NamedTuple):
    """The report of a sweep."""

    title: str
    command: str  # that started the sweep
    counts: dict[str, int]  # status -> number of runs
    facts: dict[str, str]  # name -> text
    warnings: list[str]
    sections: list[Section]
