"""Inpainting as a command: what is seen stays, what is missing is drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import composed
from labelled_data import KINDS
from PIL import Image

from cvae_lightning.drawing.commands import inpaint
from cvae_lightning.drawing.inpaint import PARTS, seen_pixels
from cvae_lightning.runs.run import Run

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    def called(run: Run, *overrides: str) -> dict[str, Any]:
        words = [f"run={run.path}", f"out={tmp_path / 'drawn'}", "proposals=50", *overrides]
        inpaint(composed(*words, config_name="inpaint"))
        assert (tmp_path / "drawn" / "inpaintings.png").is_file()
        with np.load(tmp_path / "drawn" / "inpaintings.npz", allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    return called


@pytest.mark.parametrize("mask", PARTS)
def test_a_named_part_is_missing(mask: str) -> None:
    seen = seen_pixels(mask, 28, 20)
    share = float((~seen).float().mean())
    assert share == pytest.approx(0.25 if mask == "centre" else 0.5, abs=0.02)
    corners = {"top": seen[0].any(), "bottom": seen[-1].any(), "left": seen[:, 0].any(), "right": seen[:, -1].any()}
    assert {name for name, there in corners.items() if not there} == ({mask} & corners.keys())
    assert seen_pixels(mask, 3, 3).any(), "of a tiny image too"


def test_what_is_seen_stays_and_the_draws_differ(call: Call, runs: dict[str, Run]) -> None:
    arrays = call(runs["cvae"], "num=3", "draws=4", "mask=left")
    images, draws, seen = arrays["images"], arrays["draws"], arrays["seen"]
    assert draws.shape == (3, 4, 1, 28, 28)
    assert not seen[:, :14].any()
    assert seen[:, 14:].all()
    assert (draws[..., seen] == images[:, None][..., seen]).all()
    assert arrays["effective"].shape == (3,)
    again = call(runs["cvae"], "num=3", "draws=4", "mask=left")
    assert (again["draws"] == draws).all(), "the same seed"
    other = call(runs["cvae"], "num=3", "draws=4", "mask=left", "seed=1")
    assert other["draws"].shape == draws.shape


def test_a_picture_says_what_is_missing(call: Call, runs: dict[str, Run], tmp_path: Path) -> None:
    mask = np.zeros((28, 28), np.uint8)
    mask[5:9, 10:20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    arrays = call(runs["vae"], "num=2", "draws=2", f"mask={tmp_path / 'mask.png'}")
    assert (arrays["seen"] == (mask == 0)).all()
    Image.fromarray(mask * 0).save(tmp_path / "mask.png")
    arrays = call(runs["vae"], "num=2", "draws=2", f"mask={tmp_path / 'mask.png'}")
    assert (arrays["draws"] == arrays["images"][:, None]).all(), "nothing is missing"


def test_an_image_of_ones_own_is_completed(call: Call, runs: dict[str, Run], tmp_path: Path) -> None:
    Image.new("L", (28, 28), 30).save(tmp_path / "own.png")
    arrays = call(runs["cvae"], f"images={tmp_path / 'own.png'}", "labels=7", "draws=2")
    assert arrays["labels"].tolist() == [7]
    assert arrays["draws"].shape == (1, 2, 1, 28, 28)


@pytest.mark.parametrize("kind", KINDS)
def test_every_condition_and_shape_is_completed(
    call: Call, run_on: Callable[..., Run], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_on(kind, *(["model=vae"] if kind == "nothing" else []))
    arrays = call(run, "num=2", "draws=3", "mask=centre")
    shape = KINDS[kind][0]
    assert arrays["draws"].shape == (2, 3, *shape)
    assert np.isfinite(arrays["draws"]).all()
    seen = torch.from_numpy(arrays["seen"]).expand(shape).numpy()
    assert (arrays["draws"][:, :, seen] == arrays["images"][:, None][:, :, seen]).all()
    few = "come from few latents" in caplog.text
    assert few == bool((arrays["effective"] < 5).any())
