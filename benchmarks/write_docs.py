"""Writes every table and picture of the documentation from the csv files in multirun/reference.

    python benchmarks/write_docs.py [<file> ...]

With names, such as docs/claims.md or docs/claims/epochs.png, it writes only these files. Three pages of docs/ come from
the templates in benchmarks/pages by `str.format`; others hold tables between <!-- table: <name> --> and <!-- end -->.
"""

import argparse
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

from kept import ROOT
from pages import ablation, benchmark, claims, own, pretrained, reference, theory

from cvae_lightning.core.files import write_whole
from cvae_lightning.reports.plots import png_of

FROM_TEMPLATES: dict[str, ModuleType] = {"claims.md": claims, "ablation.md": ablation, "benchmark.md": benchmark}
WITH_TABLES = (
    "README.md",
    "docs/drawing.md",
    "docs/pretrained.md",
    "docs/reproduction.md",
    "docs/results.md",
    "multirun/reference/README.md",
)
TABLES: dict[str, Callable[[], str]] = {**benchmark.TABLES, **own.TABLES, **pretrained.TABLES, **reference.TABLES}
PICTURES = {**claims.PICTURES, **ablation.PICTURES, **theory.PICTURES}
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="*", choices=[[], *FILES], metavar="file")
    for name in parser.parse_args().file or FILES:
        write_whole(ROOT / name, FILES[name]())


def from_template(name: str) -> bytes:
    template = Path(__file__).with_name("pages") / name
    return template.read_text().format(**FROM_TEMPLATES[name].values()).encode()


def with_tables(text: str) -> str:
    """The text with new tables between its markers."""
    return MARKED.sub(lambda found: found[1] + TABLES[found[2]]() + "\n" + found[3], text)


def with_tables_in(name: str) -> bytes:
    return with_tables((ROOT / name).read_text()).encode()


def picture(name: str) -> bytes:
    return png_of(PICTURES[name]())


FILES: dict[str, Callable[[], bytes]] = {
    **{f"docs/{name}": partial(from_template, name) for name in FROM_TEMPLATES},
    **{name: partial(with_tables_in, name) for name in WITH_TABLES},
    **{f"docs/{name}": partial(picture, name) for name in PICTURES},
}
"""Each file by its path in the repository, and the function that returns its new content."""

if __name__ == "__main__":
    main()
