"""Scores of images: a table that adds up, classes by Bayes' theorem, and what is unknown stays empty."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import composed
from labelled_data import KINDS
from PIL import Image

from cvae_lightning.core.errors import UserError
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.drawing.commands import score
from cvae_lightning.drawing.score import log_size
from cvae_lightning.models.class_probabilities import likelihoods_by_class
from cvae_lightning.runs.run import Run

Table = list[dict[str, str]]
Call = Callable[..., tuple[Table, dict[str, Any]]]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """Runs the command; returns the rows of the table, and the arrays."""

    def called(run: Run, *overrides: str) -> tuple[Table, dict[str, Any]]:
        out = tmp_path / "scores"
        few = [] if any("num_samples" in word for word in overrides) else ["num_samples=20"]
        score(composed(f"run={run.path}", f"out={out}", *few, *overrides, config_name="score"))
        with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with np.load(out / "scores.npz", allow_pickle=False) as archive:
            return rows, {name: archive[name] for name in archive.files}

    return called


def test_the_table_of_a_cvae_adds_up(call: Call, runs: dict[str, Run], tmp_path: Path) -> None:
    rows, arrays = call(runs["cvae"], "num=40")
    assert len(rows) == len(arrays["images"]) == 40
    names = [f"p({number})" for number in range(10)]
    for row, log_posterior in zip(rows, arrays["log_posterior"], strict=True):
        probabilities = [float(row[name]) for name in names]
        assert sum(probabilities) == pytest.approx(1, abs=1e-3)
        assert probabilities == pytest.approx(np.exp(log_posterior).tolist(), abs=1e-4)
        assert row["prediction"] == str(int(np.argmax(probabilities)))
        assert float(row["probability"]) == pytest.approx(max(probabilities))
        assert float(row["elbo"]) <= -float(row["nll_given_label"])
        own = float(np.log(max(float(row[f"p({row['label']})"]), 1e-300)))
        shares = runs["cvae"].metrics["dataset"]["images_per_class"]
        log_share = math.log(shares[int(row["label"])] / sum(shares))
        assert float(row["nll"]) == pytest.approx(float(row["nll_given_label"]) - log_share + own, abs=0.01), "Bayes"
    assert {path.name for path in (tmp_path / "scores").iterdir()} == {
        *("scores.csv", "scores.png", "scores.npz", "reliability.png", "reliability.npz")
    }


def test_scores_are_those_of_the_model(call: Call, runs: dict[str, Run]) -> None:
    run = runs["cvae"]
    _, arrays = call(run, "index=[3,8,5]", "num_samples=100", "seed=1")
    x, y = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
    model = run.model()
    with random_stream(1):
        bounds = likelihoods_by_class(model, run.condition, x, y, 100)
    own = y[:, None]
    np.testing.assert_allclose(-arrays["nll_given_label"], bounds.importance_weighted.gather(1, own)[:, 0], rtol=1e-5)
    np.testing.assert_allclose(arrays["elbo"], bounds.elbo.gather(1, own)[:, 0], rtol=1e-5)
    mse = (run.reconstruct(x, y, seed=1) - x).square().mean((1, 2, 3))
    np.testing.assert_allclose(arrays["mse"], mse, rtol=1e-5)


def test_a_model_without_classes_has_fewer_columns(call: Call, runs: dict[str, Run], tmp_path: Path) -> None:
    rows, arrays = call(runs["vae"], "num=10")
    assert list(rows[0]) == ["image", "label", "elbo", "nll", "nll_given_label", "mse", "distance", "excess"]
    assert {row["label"] for row in rows} == {""}
    assert arrays["log_posterior"].shape == (10, 0)
    assert not (tmp_path / "scores" / "reliability.png").exists()


def test_an_unusual_image_is_far_from_the_typical_ones(call: Call, runs: dict[str, Run], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    typical, _ = call(runs["cvae"], "num=50")
    (row,), _ = call(runs["cvae"], f"images={tmp_path / 'noise.png'}")
    assert float(row["distance"]) > 5 > np.median([float(other["distance"]) for other in typical])
    assert float(row["excess"]) > max(float(other["excess"]) for other in typical)
    assert float(row["nll"]) > max(float(other["nll"]) for other in typical)


def test_the_class_of_an_image_of_ones_own_may_be_unknown(call: Call, runs: dict[str, Run], tmp_path: Path) -> None:
    x = call(runs["cvae"], "index=[0,1]")[1]["images"]
    for number, image in enumerate(x):
        Image.fromarray((255 * image[0]).round().astype("u1")).save(tmp_path / f"{number}.png")
    files = f"images=[{tmp_path}/0.png,{tmp_path}/1.png]"
    rows, arrays = call(runs["cvae"], files)
    assert [row["image"] for row in rows] == [f"{tmp_path}/0.png", f"{tmp_path}/1.png"]
    assert [(row["label"], row["nll_given_label"]) for row in rows] == [("any", ""), ("any", "")]
    assert arrays["labels"].tolist() == [-1, -1]
    assert np.isfinite(arrays["nll"]).all()
    assert np.isfinite(arrays["mse"]).all()
    known, _ = call(runs["cvae"], files, "labels=[3,4]")
    assert [row["label"] for row in known] == ["3", "4"]
    assert [row["nll"] for row in known] == [row["nll"] for row in rows], "the label changes nothing in -log p(x)"


def test_without_the_data_the_distance_stays_empty(
    call: Call, runs: dict[str, Run], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    (row,), _ = call(runs["cvae"], f"images={tmp_path}/black.png", f"data_dir={tmp_path}/nowhere")
    assert (row["distance"], row["excess"]) == ("", "")
    assert "the columns distance and excess stay empty" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_every_condition_is_scored(call: Call, run_on: Callable[..., Run], kind: str, tmp_path: Path) -> None:
    run = run_on(kind, *(["model=vae"] if kind == "nothing" else []))
    condition = KINDS[kind][1]
    rows, arrays = call(run, "num=7")
    assert len(rows) == 7
    assert arrays["log_posterior"].shape == (7, condition.num_classes)
    assert np.isfinite(arrays["nll"]).all()
    if condition.num_classes:
        y = torch.from_numpy(arrays["labels" if condition.is_one_class else "conditions"])
        assert (np.isnan(arrays["nll_given_label"]) == (condition.classes(y) < 0).numpy()).all()


def test_numbers_of_an_image_of_ones_own_have_to_be_known(
    call: Call, run_on: Callable[..., Run], tmp_path: Path
) -> None:
    run = run_on("turned")
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    with pytest.raises(UserError, match=r"Expected values of digit, angle \(condition\), got None"):
        call(run, f"images={tmp_path}/black.png")
    (row,), _ = call(run, f"images={tmp_path}/black.png", "condition={digit: 1, angle: 5}")
    assert row["label"] == "digit 1, angle 5"


def test_the_excess_has_no_trend_with_the_size_of_images_of_val(call: Call, runs: dict[str, Run]) -> None:
    """It is what is left of -log p(x) when a line through the log of the compressed sizes is taken away."""
    _, arrays = call(runs["cvae"], "num=1000")
    sizes = log_size(torch.from_numpy(arrays["images"])).double()
    excess, nll = torch.from_numpy(arrays["excess"]), torch.from_numpy(arrays["nll"])
    assert float(excess.mean()) == pytest.approx(0, abs=1e-3), "all images of val are the typical ones"
    assert abs(float(torch.corrcoef(torch.stack([sizes, excess]))[0, 1])) < 1e-3
    assert float(excess.std()) <= float(nll.std())


def test_simple_images_compress_well() -> None:
    plain, noise = torch.full((1, 3, 20, 20), 0.5), torch.rand(1, 3, 20, 20)
    sizes = log_size(torch.cat([plain, noise]))
    assert sizes[0] < 4 < 6 < sizes[1]
