"""docs/results.md: what it says beside public figures follows from the csv files of multirun/reference."""

import re
from typing import Any

import pandas as pd
import pytest
from page_data import DOCS, REFERENCE

from cvae_lightning.core.build import CONF

PAGE = (DOCS / "results.md").read_text()
PRESETS = {"best_conv": "best_conv", "nll_vae": "likelihood", "nll_cvae": "likelihood", "nll_iwae": "likelihood"}


def rows_of(preset: str) -> Any:
    frame = pd.read_csv(REFERENCE / PRESETS[preset] / "sweep.csv")
    return frame[frame.experiment == preset] if "experiment" in frame else frame


def cell(values: pd.Series, digits: int) -> str:
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_was_run_with_three_seeds(preset: str) -> None:
    rows = rows_of(preset)
    assert sorted(rows.seed) == [0, 1, 2]
    assert set(rows.status) == {"complete"}
    assert set(rows.dataset) == {"mnist"}


BEST_CONV = {"score_uncapped": 2, "ssim": 4, "mse": 5, "fid_pixel": 2, "fid_judge": 3, "fid_judge_floor": 3}
BEST_CONV |= {"precision": 3, "recall": 3, "accuracy": 4, "accuracy_worst_class": 3}


@pytest.mark.parametrize("key", BEST_CONV)
def test_best_conv_is_as_stated(key: str) -> None:
    cells = [cell(rows_of("best_conv")[f"{split}/{key}"], BEST_CONV[key]) for split in ("val", "test")]
    assert re.search(rf"^\| `{key}` \|.*\| {re.escape(' | '.join(cells))} \|$", PAGE, re.MULTILINE)


def test_best_conv_reaches_on_val_what_it_should() -> None:
    means = rows_of("best_conv").mean(numeric_only=True)
    assert means["val/score_uncapped"] >= 33
    ratios = [means[f"{split}/fid_judge"] / means[f"{split}/fid_judge_floor"] for split in ("val", "test")]
    assert ratios[0] <= 2
    assert f"{ratios[0]:.2f} times its floor on val, {ratios[1]:.2f} times on test" in PAGE


LIKELIHOODS = {"nll_vae": 86.3, "nll_cvae": 82.3, "nll_iwae": 84.5}


@pytest.mark.parametrize("preset", LIKELIHOODS)
def test_likelihoods_are_as_stated_and_below_the_public_ones(preset: str) -> None:
    rows = rows_of(preset)
    assert set(rows["val/nll_iw_samples"]) == {5000}
    assert rows["val/nll_iw"].mean() <= LIKELIHOODS[preset]
    keys = ("val/nll_iw", "test/nll_iw", "test/elbo")
    cells = " | ".join(cell(rows[key], 2) for key in keys)
    assert re.search(rf"^\| `experiment={preset}` \|.*\| {re.escape(cells)} \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_presets_header_states_what_was_measured(preset: str) -> None:
    key = "val/score_uncapped" if preset == "best_conv" else "val/nll_iw"
    header = (CONF / "experiment" / f"{preset}.yaml").read_text().partition("defaults:")[0]
    assert f"{rows_of(preset)[key].mean():.2f}" in header
