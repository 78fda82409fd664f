"""Keeps the numbers of a finished sweep in multirun/reference, from where `make docs` reads them.

    python benchmarks/collect.py <sweep directory> claims/epochs [--curves]

The file is multirun/reference/claims/epochs.csv then. With --curves, claims/epochs_curves.csv beside it has the losses
of each epoch of the longest runs.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch
from kept import keep

from cvae_lightning.reports.sweep_frame import ENVIRONMENT, metric_columns, setting_columns, sweep_frame
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep
from cvae_lightning.training.callbacks.checkpoint import last_checkpoint
from cvae_lightning.training.callbacks.history import History


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("name", help="the path of the csv file in multirun/reference, without .csv")
    parser.add_argument("--curves", action="store_true")
    asked = parser.parse_args()
    sweep = Sweep(asked.sweep)
    keep(rows_of(sweep), asked.name)
    if asked.curves:
        keep(curves_of(sweep), f"{asked.name}_curves")


def rows_of(sweep: Sweep) -> pd.DataFrame:
    """One row per run that was started: its settings, parameters, metrics, times, and the error if it failed."""
    frame = sweep_frame(sweep)
    frame = frame[frame["status"] != "missing"].reset_index(drop=True)
    runs = [Run(sweep.path / str(run)) for run in frame["run"]]
    frame["parameters"] = [int(run.metrics["parameters"]) if run.complete else None for run in runs]
    numbers = ["parameters", *metric_columns(frame), "fit_seconds", "images_per_second"]
    return frame[["run", "status", *setting_columns(frame), *numbers, *ENVIRONMENT, "dataset_sha256", "error"]]


def curves_of(sweep: Sweep) -> pd.DataFrame:
    """One row per epoch, counted from 1, of the runs that no other run of the sweep continues.

    Losses are in nats per image. A run that diverged has the epochs before that.
    """
    most = max(run.raw_config.epochs for run in sweep.runs)
    return pd.concat(curve_of(run) for run in sweep.runs if run.raw_config.epochs == most)


def curve_of(run: Run) -> pd.DataFrame:
    checkpoint = last_checkpoint(run.path)
    assert checkpoint is not None
    rows = torch.load(checkpoint, map_location="cpu", weights_only=True)["callbacks"][History.__name__]["rows"]
    settings = {"lr": run.config["lr"], "seed": run.config["seed"], "epoch": range(1, len(rows) + 1)}
    return pd.concat([pd.DataFrame(settings), pd.DataFrame(rows, columns=["train/loss", "val/loss"])], axis="columns")


if __name__ == "__main__":
    main()
