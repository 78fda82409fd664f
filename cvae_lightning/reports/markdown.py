"""A report as Markdown, which shows the pictures in plots/."""

from collections.abc import Iterator, Sequence

from cvae_lightning.core.markdown import escaped, fenced
from cvae_lightning.reports.structure import Picture, Report, Table


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield from (f"# Sweep {escaped(report.title)}", "", fenced(report.command), "")
    counts = ", ".join(f"{number} {status}" for status, number in report.counts.items() if number)
    for name, text in {"Runs": counts or "none", **report.facts}.items():
        yield f"* {name}: {escaped(text)}"
    for warning in report.warnings:
        yield from ("", f"> **Warning.** {escaped(warning)}")
    for section in report.sections:
        yield from ("", f"## {section.title}")
        if section.text:
            yield from ("", escaped(section.text))
        if section.table:
            yield from ("", *_table(section.table))
        if section.pictures:
            yield from ("", *_pictures(section.pictures))


def _pictures(pictures: Sequence[Picture]) -> Iterator[str]:
    """A picture with its caption; several pictures side by side."""
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
