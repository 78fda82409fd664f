"""docs/benchmark.json: what the runs of the benchmark came to."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from page_data import rows_of, short_names

from cvae_lightning.reports.table import ENVIRONMENT, metrics_of
from cvae_lightning.runs.sweep import Sweep

SWEEPS = {
    "paper": ("experiment=table2/cvae,table2/vae", "evaluators=full"),
    "paper_conv": (
        "experiment=table2/cvae,table2/vae",
        "network=conv",
        "trainer.precision=bf16-mixed",
        "evaluators=full",
    ),
    "best": ("experiment=best,best_vae",),
    "best_conv": ("experiment=best_conv,best_vae_conv",),
    "other_data": ("experiment=best", "data=fashion_mnist,digits"),
}
"""The overrides of each sweep, beside `+sweep=seeds`."""


class Kind(NamedTuple):
    """Runs that differ in nothing but the seed."""

    title: str
    sweep: str
    model: str
    dataset: str = "mnist"

    @property
    def name(self) -> str:
        """Of its picture, and in benchmark.json."""
        return f"{self.model}_{self.sweep}" if self.dataset == "mnist" else self.dataset


KINDS = [
    Kind("CVAE, paper", "paper", "cvae"),
    Kind("VAE, paper", "paper", "vae"),
    Kind("CVAE, paper, `network=conv`", "paper_conv", "cvae"),
    Kind("VAE, paper, `network=conv`", "paper_conv", "vae"),
    Kind("CVAE, `best`", "best", "cvae"),
    Kind("VAE, `best_vae`", "best", "vae"),
    Kind("CVAE, `best_conv`", "best_conv", "cvae"),
    Kind("VAE, `best_vae_conv`", "best_conv", "vae"),
    Kind("CVAE, `best`, Fashion-MNIST", "other_data", "cvae", "fashion_mnist"),
    Kind("CVAE, `best`, digits", "other_data", "cvae", "digits"),
]
"""What is on the page, in its order."""

Summary = dict[str, Any]


def overrides_of(sweep: str) -> list[str]:
    return ["-m", *SWEEPS[sweep], "+sweep=seeds"]


def summary_of(folder: Path) -> Summary:
    """Of each kind: settings, parameters, median times, and mean, standard deviation and number of each metric."""
    rows = {sweep: short_names(rows_of(Sweep(folder / sweep))) for sweep in SWEEPS}
    return {"schema": 1, "runs": {kind.name: _summary(kind, rows[kind.sweep]) for kind in KINDS}}


def _summary(kind: Kind, rows: pd.DataFrame) -> Summary:
    rows = rows[(rows["model"] == kind.model) & (rows["dataset"] == kind.dataset)]
    complete = (rows["status"] == "complete").sum()
    if complete == 0 or complete < len(rows):
        raise SystemExit(f"Expected complete runs of {kind.title} in {kind.sweep}, got {complete} of {len(rows)}.")
    first = rows.iloc[0]
    return {
        "title": kind.title,
        "command": " ".join(["python -m cvae_lightning", *overrides_of(kind.sweep)]),
        **{key: _plain(first[key]) for key in ("model", "dataset", "dataset_sha256", "parameters")},
        **{key: _plain(first[key]) for key in ("epochs", "latent_dim", "lr", *ENVIRONMENT)},
        "seeds": sorted(int(seed) for seed in rows["seed"]),
        "metrics": {key: _spread(rows[key]) for key in metrics_of(rows)},
        **{f"median_{key}": float(rows[key].median()) for key in ("fit_seconds", "images_per_second")},
    }


def _spread(values: pd.Series) -> dict[str, float | None] | None:
    """None for what the model does not have."""
    values = values.dropna().astype(float)
    if values.empty:
        return None
    return {"mean": values.mean(), "sd": values.std() if len(values) > 1 else None, "n": len(values)}


def _plain(value: Any) -> Any:
    """A number or a text as JSON has it; null where there is none, such as the commit of a copy without git."""
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
