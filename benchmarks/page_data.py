"""The csv files of multirun/reference that pages of docs/ are written from."""

from pathlib import Path

import pandas as pd

from cvae_lightning.core.build import PACKAGE
from cvae_lightning.reports.table import ENVIRONMENT, metrics_of, settings_of, table_of
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep

DOCS = PACKAGE.parent / "docs"
REFERENCE = PACKAGE.parent / "multirun" / "reference"


def rows_of(sweep: Sweep) -> pd.DataFrame:
    """One row a run that was started: its settings, parameters, metrics, times, and why it failed, if it did."""
    frame = table_of(sweep)
    frame = frame[frame["status"] != "missing"].copy()
    frame["parameters"] = [_parameters(sweep.path / str(run)) for run in frame["run"]]
    kept = [*settings_of(frame), "parameters", *metrics_of(frame), "fit_seconds", "images_per_second"]
    return frame[["run", "status", *kept, *ENVIRONMENT, "dataset_sha256", "error"]]


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    path.parent.mkdir(exist_ok=True)
    frame.to_csv(path, index=False, lineterminator="\n", float_format="%.6g")


def read_csv(path: Path) -> pd.DataFrame:
    """As `write_csv` left it, with short names."""
    return short_names(pd.read_csv(path))


def short_names(frame: pd.DataFrame) -> pd.DataFrame:
    """With the last part of an experiment's name, where there are experiments."""
    if "experiment" in frame:
        frame["experiment"] = frame["experiment"].str.rpartition("/")[2]
    return frame


def _parameters(path: Path) -> int | None:
    run = Run(path)
    return int(run.metrics["parameters"]) if run.complete else None
