"""docs/benchmark.md, docs/benchmark.json and the README's table of results, with one command.

    python benchmarks/benchmark.py [<folder>]

Each sweep lies in the folder by its name. It is begun where it has no runs yet, continued where it was stopped, and
read where it is complete.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmark_data import SWEEPS, overrides_of, summary_of
from benchmark_page import grids, page, with_results
from page_data import DOCS

from cvae_lightning.core.build import PACKAGE
from cvae_lightning.core.files import write_whole

README = PACKAGE.parent / "README.md"
JSON = DOCS / "benchmark.json"
PICTURES = DOCS / "benchmark"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=PACKAGE.parent / "multirun" / "benchmark")
    folder = parser.parse_args().folder
    for sweep in SWEEPS:
        command = [sys.executable, "-m", "cvae_lightning", *overrides_of(sweep), f"hydra.sweep.dir={folder / sweep}"]
        subprocess.run(command, check=True)
    summary = summary_of(folder)
    write_whole(JSON, json.dumps(summary, indent=1, allow_nan=False) + "\n")
    PICTURES.mkdir(exist_ok=True)
    for name, image in grids(folder).items():
        image.save(PICTURES / f"{name}.png", optimize=True)
    write_whole(DOCS / "benchmark.md", page(summary))
    write_whole(README, with_results(README.read_text(), summary))


if __name__ == "__main__":
    main()
