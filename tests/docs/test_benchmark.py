"""docs/benchmark.md, docs/benchmark.json and the README's table of results say the same."""

import json

import pandas as pd
import pytest
from benchmark import JSON, PICTURES, README
from benchmark_data import KINDS, SWEEPS
from benchmark_page import DIGITS, cell, page, with_results
from page_data import DOCS, REFERENCE

from cvae_lightning.core.build import CONF

NAMES = [kind.name for kind in KINDS]
KEPT = [("cvae_best", "best", "cvae"), ("vae_best", "best", "vae"), ("cvae_best_conv", "best_conv", "cvae")]


def test_each_sweep_is_on_the_page_and_each_row_has_a_name_of_its_own() -> None:
    assert {kind.sweep for kind in KINDS} == set(SWEEPS)
    assert len(set(NAMES)) == len(NAMES)


def test_a_number_is_written_with_its_spread_where_there_is_one() -> None:
    assert cell({"mean": 1234.5678, "sd": 0.25, "n": 3}, 2) == "1,234.57 ± 0.25"
    assert cell({"mean": 2.0, "sd": None, "n": 1}, 1) == "2.0"
    assert cell(None, 2) == "-"


def test_the_table_of_the_readme_is_replaced_between_its_marks() -> None:
    run = {"title": "A run", "metrics": {f"test/{name}": None for name in DIGITS}}
    text = "Before\n<!-- results, by make benchmark -->\nold\n<!-- end -->\nafter\n"
    new = with_results(text, {"runs": {"a": run}})
    assert "old" not in new
    assert "| A run |" in new
    assert new.startswith("Before\n")
    assert new.endswith("<!-- end -->\nafter\n")
    assert with_results(new, {"runs": {"a": run}}) == new


def test_the_page_and_the_readme_are_written_from_the_json() -> None:
    summary = json.loads(JSON.read_text())
    assert page(summary) == (DOCS / "benchmark.md").read_text()
    assert with_results(README.read_text(), summary) == README.read_text()
    assert all(f"| {run['title']} |" in README.read_text() for run in summary["runs"].values())


@pytest.mark.parametrize("name", NAMES)
def test_each_row_has_three_seeds_and_a_picture(name: str) -> None:
    assert json.loads(JSON.read_text())["runs"][name]["seeds"] == [0, 1, 2]
    assert (PICTURES / f"{name}.png").stat().st_size < 60_000


@pytest.mark.parametrize(("name", "folder", "model"), KEPT)
def test_the_runs_are_those_whose_csv_files_are_kept(name: str, folder: str, model: str) -> None:
    rows = pd.read_csv(REFERENCE / folder / "sweep.csv").query("model == @model")
    metrics = json.loads(JSON.read_text())["runs"][name]["metrics"]
    assert {key: spread and spread["mean"] for key, spread in metrics.items()} == {
        key: None if rows[key].isna().all() else pytest.approx(rows[key].mean(), rel=1e-5) for key in metrics
    }


def test_the_header_of_best_vae_conv_states_what_was_measured() -> None:
    header = (CONF / "experiment" / "best_vae_conv.yaml").read_text().partition("defaults:")[0]
    run = json.loads(JSON.read_text())["runs"]["vae_best_conv"]
    for key, digits in (("val/score_uncapped", 2), ("val/ssim", 3), ("val/mse", 4)):
        assert f"{run['metrics'][key]['mean']:.{digits}f}" in header
    assert f"{run['parameters']:,}" in header
