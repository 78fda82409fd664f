"""The numbers of docs/claims.md: multirun/reference/claims/*.csv, and how they come from the sweeps."""

from pathlib import Path

import pandas as pd
import torch
from page_data import REFERENCE, read_csv, rows_of, write_csv

from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep
from cvae_lightning.training.callbacks.checkpoint import last_checkpoint
from cvae_lightning.training.callbacks.history import History

CLAIMS = REFERENCE / "claims"
SWEEPS = {
    "epochs": "experiment=claims/epochs",
    "learning_rate": "experiment=claims/learning_rate",
    "latent_dim": "experiment=claims/latent_dim",
    "label": "'experiment=glob(claims/label/*)' +sweep=seeds",
    "network": "'experiment=glob(claims/network/*)' +sweep=seeds",
}
WITH_CURVES = ("epochs", "learning_rate")


def command_of(sweep: str) -> str:
    return f"python -m cvae_lightning -m {SWEEPS[sweep]}"


def collect(folder: Path) -> None:
    """Write the csv files of the sweeps that `folder` holds, directories with the names of `SWEEPS`."""
    sweeps = {name: Sweep(folder / name) for name in SWEEPS if (folder / name).is_dir()}
    for name, sweep in sweeps.items():
        write_csv(CLAIMS / f"{name}.csv", rows_of(sweep))
    curves = [_curves(name, run) for name, sweep in sweeps.items() if name in WITH_CURVES for run in _longest(sweep)]
    write_csv(CLAIMS / "curves.csv", pd.concat(curves))


def runs(sweep: str) -> pd.DataFrame:
    """One row a run, as `collect` left them."""
    return read_csv(CLAIMS / f"{sweep}.csv")


def complete(sweep: str) -> pd.DataFrame:
    """The rows of the runs that ended well."""
    frame = runs(sweep)
    return frame[frame["status"] == "complete"]


def reference(name: str) -> pd.DataFrame:
    """The rows of another sweep of multirun/reference."""
    return pd.read_csv(REFERENCE / name / "sweep.csv")


def curves(sweep: str) -> pd.DataFrame:
    """lr, seed, epoch (the first is 1), train and val loss in nats per image; of the longest runs."""
    frame = pd.read_csv(CLAIMS / "curves.csv")
    return frame[frame["sweep"] == sweep]


def _longest(sweep: Sweep) -> list[Run]:
    """The runs that no other run of the sweep goes on from."""
    most = max(run.raw_config.epochs for run in sweep.runs)
    return [run for run in sweep.runs if run.raw_config.epochs == most]


def _curves(name: str, run: Run) -> pd.DataFrame:
    """Of a run that diverged, the epochs before that."""
    checkpoint = last_checkpoint(run.path)
    assert checkpoint is not None
    rows = torch.load(checkpoint, map_location="cpu", weights_only=True)["callbacks"][History.__name__]["rows"]
    frame = pd.DataFrame(rows, columns=["train/loss", "val/loss"])
    settings = {"sweep": name, "lr": run.config["lr"], "seed": run.config["seed"], "epoch": range(1, len(rows) + 1)}
    return pd.concat([pd.DataFrame(settings), frame], axis="columns")
