"""multirun/reference: each number that its README states follows from the csv files beside it."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy.stats import spearmanr  # type: ignore[import-untyped]

from cvae_lightning.core.build import PACKAGE
from cvae_lightning.runs.paper import TABLE_3

REFERENCE = PACKAGE.parent / "multirun" / "reference"
RUNS = {"table3": 39, "table2": 12, "nine": 9, "grid": 60, "best": 6}
README = (REFERENCE / "README.md").read_text()
PROJECT_README = (PACKAGE.parent / "README.md").read_text()


def sweep(name: str) -> Any:
    return pd.read_csv(REFERENCE / name / "sweep.csv")


def rows_of_table_3() -> Any:
    groups = sweep("table3").groupby(["epochs", "latent_dim", "lr"])["test/score"]
    rows = groups.agg(["mean", "std", "count"]).reset_index()
    rows["paper"] = [TABLE_3[key] for key in zip(rows.epochs, rows.latent_dim, rows.lr, strict=True)]
    return rows


@pytest.mark.parametrize("name", RUNS)
def test_a_sweep_is_whole(name: str) -> None:
    frame = sweep(name)
    assert len(frame) == RUNS[name]
    assert set(frame.status) == {"complete"}
    assert set(frame.dataset) == {"mnist"}
    assert frame.dataset_sha256.nunique() == 1
    assert not frame.duplicated(["model", "epochs", "latent_dim", "lr", "seed"]).any()
    assert {path.name for path in (REFERENCE / name).iterdir()} == {"plots", "report.html", "report.md", "sweep.csv"}


def test_it_is_small_and_holds_no_weights() -> None:
    files = [path for path in REFERENCE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_000_000
    assert {path.suffix for path in files} == {".csv", ".md", ".html", ".png"}


def test_table_3_has_the_papers_rows_three_times() -> None:
    rows = rows_of_table_3()
    assert len(rows) == len(TABLE_3)
    assert set(rows["count"]) == {3}
    for row in rows.itertuples():
        ours = f"{row.mean:.2f} ± {row.std:.2f}"
        line = (
            f"| {row.epochs} | {row.latent_dim} | {row.lr:g} | {ours} | {row.paper:g} | {row.mean - row.paper:+.2f} |"
        )
        assert line in README


def test_the_agreement_with_table_3_is_as_stated() -> None:
    rows = rows_of_table_3()
    for part, name in ((rows, "All 13 rows"), (rows[rows.lr < 0.005], "The 7 rows with lr below 0.005")):
        difference = (part["mean"] - part.paper).abs().mean()
        correlation = spearmanr(part["mean"], part.paper).statistic
        sentence = f"mean absolute difference {difference:.2f}, Spearman rank correlation {correlation:.3f}."
        assert f"* {name}: {sentence}" in README


@pytest.mark.parametrize(("model", "latent_dim"), [("vae", 15), ("vae", 20), ("cvae", 15), ("cvae", 20)])
def test_table_2_is_as_stated(model: str, latent_dim: int) -> None:
    frame = sweep("table2")
    runs = frame[(frame.model == model) & (frame.latent_dim == latent_dim)]
    assert sorted(runs.seed) == [0, 1, 2]
    cells = [f"{runs[f'test/{key}'].mean():.4f} ± {runs[f'test/{key}'].std():.4f}" for key in ("ssim", "mse")]
    keys = ("fid_pixel", "score")
    last = [f"{runs[f'test/{key}'].mean():.2f} ± {runs[f'test/{key}'].std():.2f}" for key in keys]
    if model == "vae":
        last[0] = "-"
    assert f"| {model.upper()} | {latent_dim} | {' | '.join([*cells, *last])} |" in README


TARGETS = {"cvae": {"score_uncapped": 32, "ssim": 0.94, "accuracy": 0.99, "accuracy_worst_class": 0.97}}
TARGETS |= {"vae": {"score_uncapped": 11}}


def test_the_best_runs_reach_on_val_what_they_should() -> None:
    means = sweep("best").groupby("model").mean(numeric_only=True)
    for model, targets in TARGETS.items():
        assert all(means.loc[model, f"val/{key}"] >= target for key, target in targets.items())
    cvae = means.loc["cvae"]
    assert cvae["val/mse"] <= 0.0055
    assert cvae["val/fid_pixel"] <= 1.4


def test_how_far_the_samples_of_the_best_are_from_the_floor_is_as_stated() -> None:
    means = sweep("best").groupby("model").mean(numeric_only=True).loc["cvae"]
    ratios = [means[f"{split}/fid_judge"] / means[f"{split}/fid_judge_floor"] for split in ("val", "test")]
    assert f"{ratios[0]:.1f} times that on val, {ratios[1]:.1f} times on test" in PROJECT_README


def grid(metric: str, **where: float) -> Any:
    """The grid's runs, a column for each number of epochs."""
    frame = sweep("grid")
    for key, value in where.items():
        frame = frame[frame[key] == value]
    return frame.pivot_table(index=["lr", "latent_dim"], columns="epochs", values=metric)


def test_claims_1_and_2_score_by_epochs_and_learning_rate() -> None:
    means = grid("test/score").groupby("lr").mean()
    for lr, row in means.iterrows():
        assert f"| lr {lr:g} | {' | '.join(f'{value:.2f}' for value in row)} |" in README
    assert all(list(means.loc[lr]) == sorted(means.loc[lr]) for lr in means.index), "claim 1 holds"
    assert set(means[[10, 20, 30]].idxmax()) == {0.002}, "claim 2 holds up to 30 epochs"
    assert f"{means[50][0.001]:.2f} against {means[50][0.002]:.2f}" in README


def test_claim_3_the_best_latent_dim() -> None:
    scores = grid("test/score", lr=0.002)[50].droplevel("lr")
    assert f"| Score | {' | '.join(f'{value:.2f}' for value in scores)} |" in README
    assert f"the best here is {scores.idxmax()} ({scores.max():.2f}), and 15 has {scores[15]:.2f}" in README


def test_claim_4_overfitting() -> None:
    loss = grid("val/loss")
    rises = int((loss[50] > loss[30]).sum())
    assert f"In {rises} of 15 families the val loss is higher after 50 epochs than after 30" in README


def test_the_readme_says_where_the_pages_are() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert Path(REFERENCE / link).exists()
