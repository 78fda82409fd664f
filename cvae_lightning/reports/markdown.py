"""A report as Markdown, with its plots beside it."""

from collections.abc import Iterator, Sequence

from cvae_lightning.core.escaping import escaped, fenced
from cvae_lightning.reports.parts import Content, Picture, Table


def markdown(content: Content) -> str:
    return "\n".join(_lines(content)) + "\n"


def _lines(content: Content) -> Iterator[str]:
    yield from (f"# Sweep {escaped(content.title)}", "", fenced(content.command), "")
    counts = ", ".join(f"{number} {status}" for status, number in content.counts.items() if number)
    for name, text in {"Runs": counts or "none", **content.facts}.items():
        yield f"* {name}: {escaped(text)}"
    for warning in content.warnings:
        yield from ("", f"> **Warning.** {escaped(warning)}")
    for section in content.sections:
        yield from ("", f"## {section.title}")
        if section.text:
            yield from ("", escaped(section.text))
        if section.table:
            yield from ("", *_table(section.table))
        if section.pictures:
            yield from ("", *_pictures(section.pictures))


def _pictures(pictures: Sequence[Picture]) -> Iterator[str]:
    """A picture and its caption; two of them side by side."""
    images = [f"![{escaped(picture.caption)}](plots/{picture.name}.png)" for picture in pictures]
    captions = [escaped(picture.caption) for picture in pictures]
    if len(pictures) > 1:
        yield from (_row(captions), _row(["---"] * len(pictures)), _row(images))
    else:
        yield from (images[0], "", f"*{captions[0]}*")


def _table(table: Table) -> Iterator[str]:
    yield _row([escaped(title) for title in table.columns])
    yield _row(["---:" if numeric else "---" for numeric in table.numeric])
    for cells in table.rows:
        yield _row([f"**{escaped(cell.text)}**" if cell.best else escaped(cell.text) for cell in cells])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
