"""A report as one HTML file that works without a network."""

import base64
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template

from cvae_lightning.reports.structure import Cell, Picture, Report, Section, Table


def html(report: Report) -> str:
    """Return the report as an HTML page that contains its style, its script and its pictures."""
    template = Template(_file("template.html"))
    return template.substitute(
        title=escape(report.title),
        style=_file("style.css"),
        script=_file("script.js"),
        command=escape(report.command),
        counts="".join(_count(status, number) for status, number in report.counts.items()),
        facts="".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in report.facts.items()
        ),
        warnings="".join(f'<p class="warning">{escape(warning)}</p>' for warning in report.warnings),
        sections="\n".join(map(_section, report.sections)),
    )


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _count(status: str, number: int) -> str:
    return f'<li class="{status}{"" if number else " none"}"><b>{number}</b> {status}</li>'


def _section(section: Section) -> str:
    text = f"<p>{escape(section.text)}</p>" if section.text else ""
    table = _table(section.table, section.title) if section.table else ""
    pictures = "".join(map(_picture, section.pictures))
    figures = f'<div class="figures">{pictures}</div>' if pictures else ""
    both = f'<div class="beside">{table}{figures}</div>' if table and figures else f"{table}{figures}"
    return f"<section><h2>{escape(section.title)}</h2>{text}{both}</section>"


def _picture(picture: Picture) -> str:
    caption = escape(picture.caption)
    if picture.svg:
        image = f'<div class="plot" role="img" aria-label="{caption}">{picture.svg}</div>'
    else:
        image = f'<img alt="{caption}" src="data:image/png;base64,{base64.b64encode(picture.png).decode()}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _table(table: Table, name: str) -> str:
    head = "".join(
        f'<th scope="col"{_class(number=numeric)}><button type="button">{escape(title)}</button></th>'
        for title, numeric in zip(table.columns, table.numeric, strict=True)
    )
    body = "".join(f"<tr>{''.join(_row(row, table.numeric))}</tr>\n" for row in table.rows)
    label = escape(name)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _row(cells: list[Cell], numeric: list[bool]) -> Iterator[str]:
    for cell, number in zip(cells, numeric, strict=True):
        value = "" if cell.value is None else escape(str(cell.value))
        yield f'<td{_class(number=number, best=cell.best)} data-value="{value}">{escape(cell.text)}</td>'


def _class(**names: bool) -> str:
    chosen = " ".join(name for name, there in names.items() if there)
    return f' class="{chosen}"' if chosen else ""
