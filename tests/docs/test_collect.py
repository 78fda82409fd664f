"""benchmarks/collect.py and benchmarks/benchmark.py keep the numbers of sweeps."""

import sys
from pathlib import Path

import kept
import pandas as pd
import pytest
import torch
from benchmark import row_of
from collect import main, rows_of
from helpers import MakeSweep, metrics_of_a_run
from pages.benchmark import Family

from cvae_lightning.runs.metrics_file import write_metrics
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep


def complete(run: Run, score: float, fit_seconds: float = 12.5) -> None:
    numbers, seed = {"score": score}, run.raw_config.seed
    metrics = metrics_of_a_run(seed=seed, val=numbers, test=numbers, time={"fit_seconds": fit_seconds})
    write_metrics(run.path / "metrics.json", metrics, weights_sha256="")


def test_a_row_is_kept_for_each_run_that_was_started_and_its_curve_up_to_where_it_diverged(
    make_sweep: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished, diverged = make_sweep(["seed=0"], ["seed=1"])
    complete(finished, 1 / 3)
    (diverged.path / "error.txt").write_text("The loss is nan.\n")
    for run, losses in ((finished, [3.0, 2.0]), (diverged, [3.0])):
        (run.path / "checkpoints").mkdir()
        rows = [{"train/loss": loss, "val/loss": loss + 1} for loss in losses]
        torch.save({"callbacks": {"History": {"rows": rows}}}, run.path / "checkpoints" / "last.ckpt")
    monkeypatch.setattr(kept, "REFERENCE", tmp_path / "reference")
    monkeypatch.setattr(sys, "argv", ["collect.py", str(tmp_path / "sweep"), "claims/few", "--curves"])
    main()
    frame = kept.kept("claims/few")
    assert list(frame["status"]) == ["complete", "failed"]
    assert list(frame["error"].fillna("")) == ["", "The loss is nan."]
    assert list(kept.complete("claims/few")["val/score"]) == [0.333333]
    assert kept.complete("claims/few")["parameters"].iloc[0] == finished.metrics["parameters"]
    curves = kept.kept("claims/few_curves")
    assert curves[["seed", "epoch", "val/loss"]].to_numpy().tolist() == [[0, 1, 4], [0, 2, 3], [1, 1, 4]]


def test_a_family_has_means_standard_deviations_and_median_times(make_sweep: MakeSweep, tmp_path: Path) -> None:
    for number, run in enumerate(make_sweep(["seed=0"], ["seed=1"], ["seed=2"])):
        complete(run, score=float(number), fit_seconds=10.0**number)
    rows = rows_of(Sweep(tmp_path / "sweep"))
    row = row_of(Family("CVAE", "best", "cvae"), rows)
    expected = {"name": "cvae_best", "n": 3, "val/score": 1, "val/score/sd": 1, "median_fit_seconds": 10}
    expected["commit"] = "not recorded"
    assert {key: row[key] for key in expected} == expected
    assert set(row.index) <= set(pd.read_csv(kept.REFERENCE / "benchmark" / "families.csv"))


def test_a_family_with_an_incomplete_run_is_refused(make_sweep: MakeSweep, tmp_path: Path) -> None:
    first, _ = make_sweep(["seed=0"], ["seed=1"])
    complete(first, 1.0)
    with pytest.raises(SystemExit, match=r"complete runs of CVAE in best, got 1 of 2"):
        row_of(Family("CVAE", "best", "cvae"), rows_of(Sweep(tmp_path / "sweep")))
