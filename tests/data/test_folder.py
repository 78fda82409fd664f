"""A folder of images: its layouts, what is refused, and the cache of decoded images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import composed
from omegaconf import OmegaConf
from PIL import Image

from cvae_lightning.core.conditions import Classes, Condition
from cvae_lightning.data import cache, sources
from cvae_lightning.data.folder import Folder
from cvae_lightning.data.splits import Split
from cvae_lightning.runs.run import Run
from cvae_lightning.training.train import train

SHAPE = (12, 10, 3)


def write_images(folder: Path, *names: str, shape: tuple[int, ...] = SHAPE) -> Path:
    """A PNG of random pixels, other ones for each name."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(list(name.encode())).integers(0, 256, shape).astype("u1")
        Image.fromarray(pixels).save(file)
    return folder


def classes(*names: str, num: int = 7) -> list[str]:
    return [f"{name}/{number}.png" for name in names for number in range(num)]


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Three classes of seven images each."""
    return write_images(tmp_path / "birds", *classes("cat", "dog", "owl"))


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Folder]:
    return lambda folder, **arguments: Folder(str(folder), str(tmp_path / "data"), **arguments)


def splits_of(source: Folder) -> dict[str, Split]:
    train, val = source.fit_splits()
    return {"train": train, "val": val, "test": source.test_split()}


def sizes(source: Folder) -> tuple[int, ...]:
    return tuple(len(split.labels) for split in splits_of(source).values())


def pixels_of(file: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


def test_a_subfolder_is_a_class(birds: Path, source: Any) -> None:
    birds_source = source(birds)
    facts = birds_source.facts()
    assert facts.image_shape == (3, 12, 10)
    assert facts.condition == Condition((Classes("label", ("cat", "dog", "owl")),))
    splits = splits_of(birds_source)
    assert {name: split.labels.tolist() for name, split in splits.items()} == {
        "train": 5 * [0] + 5 * [1] + 5 * [2],
        "val": [0, 1, 2],
        "test": [0, 1, 2],
    }
    written = {pixels_of(birds / name).numpy().tobytes(): name for name in classes("cat", "dog", "owl")}
    for split in splits.values():
        for image, label in zip(split.images, split.labels.tolist(), strict=True):
            assert written.pop(image.numpy().tobytes()).startswith(("cat", "dog", "owl")[label])
    assert not written


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "Val"])
def test_folders_of_splits(tmp_path: Path, source: Any, val: str) -> None:
    folder = write_images(
        tmp_path / "birds", *(f"{split}/{name}" for split in ("train", val, "test") for name in classes("a", "b"))
    )
    assert sizes(source(folder)) == (14, 14, 14)


def test_a_split_without_a_folder_is_drawn_from_train(tmp_path: Path, source: Any) -> None:
    folder = write_images(tmp_path / "birds", *(f"train/{name}" for name in classes("a", "b")))
    assert sizes(source(folder)) == (10, 2, 2)
    write_images(folder, *(f"test/{name}" for name in classes("a", "b", num=1)))
    assert sizes(source(folder)) == (12, 2, 2)


def test_training_decodes_once(tmp_path: Path, birds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ["data=folder", f"data.path={birds}", f"data_dir={tmp_path / 'data'}", "network.hidden=[4]", "epochs=1"]
    config = composed(*overrides, "accelerator=cpu", "callbacks.figures=null")
    for name in ("first", "second"):
        (tmp_path / name / ".hydra").mkdir(parents=True)
        OmegaConf.save(config, tmp_path / name / ".hydra" / "config.yaml")
    runs = [Run(tmp_path / name) for name in ("first", "second")]
    first = train(runs[0])
    assert first["dataset"]["name"] == "birds"
    assert first["dataset"]["condition"] == {"label": {"classes": ["cat", "dog", "owl"], "optional": False}}
    assert runs[0].raw_config.data.image_shape == [3, 12, 10]
    monkeypatch.setattr(cache, "decode_into", None)
    monkeypatch.setattr(cache, "headers_of", None)
    sources._source.cache_clear()
    assert train(runs[1])["val"] == first["val"]
