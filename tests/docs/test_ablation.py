"""docs/ablation.md: it is what its csv file says, and has a row for each experiment."""

import pandas as pd
import pytest
from ablation import ABLATION, AT_THE_PAPERS, BEST, GROUPS, LONG, WAYS, WAYS_TO_DRAW, page, verdict
from page_data import DOCS, read_csv
from page_text import Difference

from cvae_lightning.core.build import CONF

NAMES = sorted(path.stem for path in (CONF / "experiment" / "ablation").glob("*.yaml"))


def test_each_experiment_is_a_row_of_one_table() -> None:
    assert sorted([BEST, *(name for group in GROUPS.values() for name in group)]) == NAMES


@pytest.mark.parametrize(("mean", "word"), [(-0.3, "better"), (0.3, "worse"), (0.19, "="), (-0.19, "=")])
def test_a_difference_counts_from_two_standard_errors_on(mean: float, word: str) -> None:
    assert verdict(Difference(mean, 0.1)) == word


def test_the_page_is_written_from_the_csv_file() -> None:
    assert page(read_csv(ABLATION)) == (DOCS / "ablation.md").read_text()


def test_each_row_was_run_with_three_seeds() -> None:
    rows = read_csv(ABLATION)
    assert set(rows["status"]) == {"complete"}
    assert rows.groupby("experiment")["seed"].apply(sorted).to_dict() == {name: [0, 1, 2] for name in NAMES}


def test_each_way_to_draw_was_measured_on_three_runs() -> None:
    seeds = pd.read_csv(WAYS_TO_DRAW).groupby("way")["seed"].apply(lambda of_way: sorted(set(of_way)))
    assert seeds.to_dict() == {way: [0, 1, 2] for way in WAYS}


def test_warm_up_and_free_bits_were_run_together_and_alone_with_three_seeds() -> None:
    seeds = pd.read_csv(AT_THE_PAPERS).groupby(["bound.warmup_epochs", "bound.free_bits"])["seed"].apply(sorted)
    assert seeds.to_dict() == {(warmup, bits): [0, 1, 2] for warmup in (0, 5) for bits in (0, 0.1)}


def test_what_is_against_overfitting_was_run_with_50_epochs_and_three_seeds() -> None:
    rows = read_csv(LONG)
    assert set(rows["epochs"]) == {50}
    seeds = rows.groupby("experiment")["seed"].apply(sorted)
    assert seeds.to_dict() == {"no_shift": [0, 1, 2], "no_weight_decay": [0, 1, 2]}
