"""The report of a sweep, written into its directory."""

import pandas as pd

from cvae_lightning.core.files import refuse_links_out_of, write_whole
from cvae_lightning.reports.content import FEW, best_columns, compose_report
from cvae_lightning.reports.formatting import format_table
from cvae_lightning.reports.html import html
from cvae_lightning.reports.markdown import markdown
from cvae_lightning.reports.statistics import agreement, beside_the_paper, objective_of, over_seeds, title_of
from cvae_lightning.reports.structure import Table
from cvae_lightning.reports.sweep_frame import sweep_frame
from cvae_lightning.runs.sweep import Sweep


def write_report(sweep: Sweep) -> str:
    """Write sweep.csv, report.md, report.html and plots/ into the sweep directory; return a summary as text."""
    refuse_links_out_of(sweep.path, "sweep", "Remove the link.")
    frame = sweep_frame(sweep)
    report = compose_report(sweep, frame)
    for section in report.sections:
        for picture in section.pictures:
            (sweep.path / "plots").mkdir(exist_ok=True)
            write_whole(sweep.path / "plots" / f"{picture.name}.png", picture.png)
    csv = frame.to_csv(index=False, lineterminator="\n")
    for name, text in (("sweep.csv", csv), ("report.md", markdown(report)), ("report.html", html(report))):
        write_whole(sweep.path / name, text)
    counts = ", ".join(f"{number} {status}" for status, number in report.counts.items() if number)
    lines = [f"{len(frame)} runs: {counts}.", *_best(frame), *report.warnings, f"See {sweep.path / 'report.html'}"]
    return "\n" + "\n".join(lines)


def _best(frame: pd.DataFrame) -> list[str]:
    families = over_seeds(frame, objective_of(frame))
    if families.empty:
        return []
    spread = ", mean ± standard deviation over seeds" if families["n"].max() > 1 else ""
    table = format_table(families.head(FEW), best_columns(frame, families))
    title = f"Best by {title_of(objective_of(frame))}{spread}:"
    return ["", title, "", *_lines(table), "", *filter(None, [agreement(beside_the_paper(families))])]


def _lines(table: Table) -> list[str]:
    """The lines of a table for the terminal, with numbers aligned to the right."""
    rows = [table.columns, *([cell.text for cell in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [">" if numeric else "<" for numeric in table.numeric]
    formats = list(zip(sides, widths, strict=True))
    return [
        "  ".join(f"{text:{side}{width}}" for text, (side, width) in zip(row, formats, strict=True)).rstrip()
        for row in rows
    ]
