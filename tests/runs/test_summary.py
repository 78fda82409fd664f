"""The summary at the end of a run, and when it shows the numbers of the paper."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from helpers import metrics_of_a_run

from cvae_lightning.runs.paper import TABLE_2, TABLE_3, best_run, same_settings
from cvae_lightning.runs.summary import next_commands, one_line, summary

NUMBERS = {"ssim": 0.65, "mse": 0.03, "fid_pixel": 8.8, "score": 17.1, "score_uncapped": 17.1}
NUMBERS |= {"elbo": -478.2, "log_likelihood": -473.0, "kl": 5.2, "loss": 478.2}


def metrics(**changes: Any) -> Any:
    return metrics_of_a_run(**{"val": NUMBERS, "test": NUMBERS, **changes})


def test_the_table_has_the_papers_numbers_for_its_settings() -> None:
    table = summary(metrics())
    assert table.splitlines()[0] == "cvae (mlp) on mnist: epochs 10, latent_dim 20, lr 0.005, batch_size 1024, seed 0"
    assert "paper, same settings" in table
    (row,) = [line for line in table.splitlines() if line.startswith("Score ")]
    assert row.split() == ["Score", "17.1000", "17.1000", "15.6900", "24.2248"]


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": {"name": "digits"}},
        {"network": "conv"},
        {"hidden": "[100]"},
        {"likelihood": "bernoulli", "variance": None},
        {"variance": 0.1},
        {"beta": 4.0},
        {"binarize": "dynamic"},
        {"prior": "learned"},
        {"bound": "iwae"},
        {"warmup_epochs": 5},
        {"free_bits": 0.5},
        {"averaging": "ema"},
        {"batch_size": 64},
    ],
)
def test_the_paper_is_left_out_if_the_run_is_not_comparable(change: dict[str, Any]) -> None:
    assert not best_run(metrics(**change))
    assert not same_settings(metrics(**change))
    assert "paper" not in summary(metrics(**change))


def test_every_row_of_table_3_is_found_by_its_settings() -> None:
    assert len(TABLE_3) == 13
    for (epochs, latent_dim, lr), score in TABLE_3.items():
        assert same_settings(metrics(epochs=epochs, latent_dim=latent_dim, lr=lr)) == {"score": score}
    assert not same_settings(metrics(epochs=11))


def test_the_unconditional_model_has_a_row_in_table_2_only() -> None:
    vae = metrics(model="vae", val={**NUMBERS, "fid_pixel": None}, test={**NUMBERS, "fid_pixel": None})
    assert best_run(vae) == TABLE_2["vae"]
    assert not same_settings(vae)
    (row,) = [line for line in summary(vae).splitlines() if line.startswith("fid_pixel")]
    assert row.split() == ["fid_pixel", "-", "-", "-"]


def test_a_row_that_nothing_was_measured_for_is_left_out() -> None:
    assert "label leak" not in summary(metrics())
    measured = {**NUMBERS, "label_leak": None}
    assert "label leak" in summary(metrics(val=measured, test=measured))


def test_the_next_commands_are_three_with_the_run_filled_in() -> None:
    text = next_commands(Path("outputs/2026-01-01/12-00-00"))
    commands = re.findall(r"^  python -m (cvae_lightning\.\w+) (.+?)  +# \w+", text, re.MULTILINE)
    assert len(commands) == len(text.partition("Next:")[2].splitlines()[1:]) == 3
    assert {arguments.split()[0] for _, arguments in commands} == {"run=outputs/2026-01-01/12-00-00"}


def test_the_next_commands_exist() -> None:
    for module in re.findall(r"python -m (\S+)", next_commands(Path("run"))):
        assert find_spec(module), module


def test_a_line_leaves_out_what_does_not_exist() -> None:
    assert one_line(metrics()).startswith("val SSIM 0.6500, MSE 0.0300, fid_pixel 8.8000, Score, uncapped 17.1000 (")
    without = {**NUMBERS, "score_uncapped": None, "fid_pixel": None}
    assert one_line(metrics(val=without)).startswith("val SSIM 0.6500, MSE 0.0300 (")
