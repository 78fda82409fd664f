"""A report as Markdown, with its plots beside it."""

import re
from collections.abc import Iterator, Sequence

from cvae_lightning.report.parts import Content, Picture, Table


def markdown(content: Content) -> str:
    return "\n".join(_lines(content)) + "\n"


def _lines(content: Content) -> Iterator[str]:
    yield from (f"# Sweep {_escaped(content.title)}", "", "```", content.command, "```", "")
    counts = ", ".join(f"{number} {status}" for status, number in content.counts.items() if number)
    for name, text in {"Runs": counts or "none", **content.facts}.items():
        yield f"* {name}: {_escaped(text)}"
    for warning in content.warnings:
        yield from ("", f"> **Warning.** {_escaped(warning)}")
    for section in content.sections:
        yield from ("", f"## {section.title}")
        if section.text:
            yield from ("", _escaped(section.text))
        if section.table:
            yield from ("", *_table(section.table))
        if section.pictures:
            yield from ("", *_pictures(section.pictures))


def _pictures(pictures: Sequence[Picture]) -> Iterator[str]:
    """A picture and its caption; two of them side by side."""
    images = [f"![{_escaped(picture.caption)}](plots/{picture.name}.png)" for picture in pictures]
    captions = [_escaped(picture.caption) for picture in pictures]
    if len(pictures) > 1:
        yield from (_row(captions), _row(["---"] * len(pictures)), _row(images))
    else:
        yield from (images[0], "", f"*{captions[0]}*")


def _table(table: Table) -> Iterator[str]:
    yield _row([_escaped(title) for title in table.columns])
    yield _row(["---:" if numeric else "---" for numeric in table.numeric])
    for cells in table.rows:
        yield _row([f"**{_escaped(cell.text)}**" if cell.best else _escaped(cell.text) for cell in cells])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return re.sub(r"([\\`*<>\[\]|])", r"\\\1", " ".join(text.split()))
