"""docs/claims.md: the claims of the paper beside what was measured, from csv files alone.

    python benchmarks/claims.py [<folder>]

With a folder, which holds the sweeps `epochs`, `learning_rate`, `latent_dim`, `label` and `network`, their numbers are
first written into multirun/reference/claims/*.csv. The commands of the sweeps are in the page.
"""

import argparse
from pathlib import Path

from claims_data import collect
from claims_page import page
from claims_pictures import pictures
from page_data import DOCS

from cvae_lightning.reports.plots import png_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="of the sweeps; without it, the csv files are read")
    folder = parser.parse_args().folder
    if folder:
        collect(folder)
    (DOCS / "claims").mkdir(exist_ok=True)
    for name, figure in pictures().items():
        (DOCS / "claims" / f"{name}.png").write_bytes(png_of(figure))
    (DOCS / "claims.md").write_text(page())


if __name__ == "__main__":
    main()
