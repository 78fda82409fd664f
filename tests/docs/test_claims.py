"""docs/claims.md: it is what the csv files of multirun/reference/claims say, and its words follow from them."""

import re
from pathlib import Path

import pandas as pd
import pytest
from claims_data import CLAIMS, SWEEPS, complete, reference, runs
from claims_page import page
from claims_pictures import SCORE, pictures
from helpers import composed
from page_data import DOCS
from page_text import Difference, listed, paired, spread, table

from cvae_lightning.core.build import CONF

if not (DOCS / "claims.md").exists():
    pytest.skip("the sweeps of conf/experiment/claims have not been run", allow_module_level=True)

PAGE = (DOCS / "claims.md").read_text()
NUM_SETTINGS = {"epochs": 5, "learning_rate": 6, "latent_dim": 6, "label": 6, "network": 2}


def means(sweep: str, by: str, key: str = SCORE) -> pd.Series:
    return complete(sweep).groupby(by)[key].mean()


def test_the_page_is_written_from_the_csv_files() -> None:
    assert page() == PAGE


def test_each_claim_has_its_picture() -> None:
    named = re.findall(r"\]\(claims/(\w+)\.png\)", PAGE)
    files = list((DOCS / "claims").iterdir())
    assert sorted(named) == sorted(pictures()) == sorted(path.stem for path in files)
    assert max(path.stat().st_size for path in files) <= 60_000


def test_the_csv_files_are_small() -> None:
    assert sum(path.stat().st_size for path in CLAIMS.iterdir()) < 150_000


@pytest.mark.parametrize("sweep", SWEEPS)
def test_each_setting_was_run_with_each_seed(sweep: str) -> None:
    frame = runs(sweep)
    assert list(frame.groupby("seed").size()) == [NUM_SETTINGS[sweep]] * 3
    assert set(frame["dataset"]) == {"mnist"}
    assert set(frame["dataset_sha256"].dropna()) == set(reference("grid")["dataset_sha256"])
    may_fail = frame["lr"] >= 0.02
    assert set(frame.loc[~may_fail, "status"]) == {"complete"}
    assert set(frame.loc[may_fail, "status"]) <= {"complete", "failed"}


@pytest.mark.parametrize("file", sorted((CONF / "experiment" / "claims").rglob("*.yaml")), ids=lambda path: path.stem)
def test_each_experiment_of_a_claim_is_a_command_of_the_page(file: Path) -> None:
    name = str(file.relative_to(CONF / "experiment").with_suffix(""))
    assert composed(f"experiment={name}").data.name == "mnist"
    assert f"-m experiment={name}\n" in PAGE or f"-m 'experiment=glob({name.rpartition('/')[0]}/*)'" in PAGE


def test_claim_1_the_score_rises_and_ever_slower() -> None:
    score = means("epochs", "epochs")
    assert list(score) == sorted(score)
    assert score[30] - score[10] > score[100] - score[30]


def test_claim_2_the_best_learning_rate_of_short_runs() -> None:
    score = means("learning_rate", "lr")
    assert score.idxmax() == 0.002
    assert score[0.0001] < score[0.001]
    assert score[0.005] < score[0.001]
    grid = reference("grid").query("epochs == 50").groupby("lr")[SCORE].mean()
    assert grid[0.001] >= grid[0.002]


def test_claim_6_a_tenth_with_a_baseline_and_far_less_without() -> None:
    frame = complete("epochs")
    key = "val/gradient_variance"
    for when in ("", "_untrained"):
        reparameterised = frame[f"{key}_reparameterised{when}"]
        assert (frame[f"{key}_reinforce_baseline{when}"] / reparameterised).between(5, 30).all()
        assert (frame[f"{key}_reinforce{when}"] / reparameterised > 100).all()


def test_claim_7_what_a_probe_reads() -> None:
    leak = means("label", "experiment", "val/label_leak")
    assert leak["concatenate"] < 0.25 < leak["vae"] < reference("best")["val/label_leak"].min()
    assert leak["add"] > leak["concatenate"]


def test_claim_8_is_about_equal_parameters() -> None:
    sizes = complete("network").groupby("experiment")["parameters"].first()
    assert sizes["conv"] == pytest.approx(sizes["mlp"], rel=0.02)


def test_numbers_are_written_with_their_spread() -> None:
    assert spread(pd.Series([1.0, 2.0, 3.0])) == "2.00 ± 1.00"
    assert spread(pd.Series([1234.5]), 0) == "1,234"
    assert spread(pd.Series([float("nan")])) == "-"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_difference_counts_from_two_standard_errors_on() -> None:
    rows = pd.DataFrame({"seed": [0, 1, 0, 1], "way": ["a", "a", "b", "b"], "score": [3.0, 5.0, 1.0, 2.0]})
    assert paired(rows, "score", "way", "a", "b") == pytest.approx((2.5, 0.5))
    assert Difference(2.5, 0.5).text == "+2.50 ± 0.50"
    verdicts = {Difference(mean, 0.5).verdict for mean in (0.9, -1.0)}
    assert verdicts == {"Not shown"}
    assert (Difference(1.1, 0.5).verdict, Difference(-1.1, 0.5).verdict) == ("Holds", "Wrong")
