"""Trains everything on docs/benchmark.md: five sweeps, which take hours. `make benchmark` then writes the page.

    python benchmarks/benchmark.py [<folder>]

Each sweep gets a directory in the folder. A sweep that was interrupted is continued, and one that is complete is only
read. The numbers go to multirun/reference/benchmark/families.csv, and samples of each model to docs/benchmark.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch
from collect import rows_of
from kept import ROOT, keep
from pages.benchmark import FAMILIES, SWEEPS, UNRECORDED, Family, command
from PIL import Image

from cvae_lightning.reports.sweep_frame import ENVIRONMENT, metric_columns
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep

COLUMNS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "multirun" / "benchmark")
    folder = parser.parse_args().folder
    for name in SWEEPS:
        _, *arguments = shlex.split(command(name))
        subprocess.run([sys.executable, *arguments, f"hydra.sweep.dir={folder / name}"], check=True)
    sweeps = {name: Sweep(folder / name) for name in SWEEPS}
    rows = {name: rows_of(sweep) for name, sweep in sweeps.items()}
    keep(pd.DataFrame([row_of(family, rows[family.sweep]) for family in FAMILIES]), "benchmark/families")
    for family in FAMILIES:
        of_family = members(family, rows[family.sweep]).set_index("seed")["run"]
        picture = samples(Run(sweeps[family.sweep].path / str(of_family[0])))
        picture.save(ROOT / "docs" / "benchmark" / f"{family.name}.png", optimize=True)


def members(family: Family, rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["model"] == family.model) & (rows["dataset"] == family.dataset)]


def row_of(family: Family, rows: pd.DataFrame) -> pd.Series:
    """The settings of the family's runs, the mean and standard deviation of each metric, and the median times."""
    rows = members(family, rows)
    complete = (rows["status"] == "complete").sum()
    if complete == 0 or complete < len(rows):
        raise SystemExit(f"Expected complete runs of {family.title} in {family.sweep}, got {complete} of {len(rows)}.")
    settings = ["model", "dataset", "epochs", "latent_dim", "lr", "parameters"]
    metrics, times = metric_columns(rows), ["fit_seconds", "images_per_second"]
    return pd.concat(
        [
            pd.Series({"name": family.name, "n": len(rows)}),
            rows.iloc[0][settings],
            rows[metrics].mean(),
            rows[metrics].std().add_suffix("/sd"),
            rows[times].median().add_prefix("median_"),
            rows.iloc[0][[*ENVIRONMENT, "dataset_sha256"]].drop("commit"),
            pd.Series({"commit": commits(rows)}),
        ]
    )


def commits(rows: pd.DataFrame) -> str:
    """The commits of the runs; a run whose code lay in no checkout records none."""
    return ", ".join(rows["commit"].fillna(UNRECORDED).unique())


def samples(run: Run) -> Image.Image:
    """Ten rows of samples, black on white, pixel by pixel. A CVAE draws one class per row."""
    torch.manual_seed(0)
    images = run.model().sample(torch.arange(10).repeat_interleave(COLUMNS))
    tiles = (1 - images[:, 0]).mul(255).round().byte().unflatten(0, (10, COLUMNS))
    return Image.fromarray(tiles.transpose(1, 2).flatten(2).flatten(0, 1).numpy())


if __name__ == "__main__":
    main()
