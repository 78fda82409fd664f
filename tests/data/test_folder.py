"""A folder of images: its layouts, what is refused, and the cache of decoded images."""

import zipfile
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
from cvae_lightning.core.errors import DataUnavailable, UserError
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


def test_the_classes_of_numbered_folders_are_in_the_order_of_the_numbers(tmp_path: Path, source: Any) -> None:
    folder = write_images(tmp_path / "digits", *classes("10", "9", "2"))
    assert source(folder).facts().condition.class_names == ("2", "9", "10")


def test_the_split_follows_from_its_seed(birds: Path, source: Any) -> None:
    first, same, other = (splits_of(source(birds, split_seed=seed))["test"].images for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_images_without_folders_are_unlabelled(tmp_path: Path, source: Any) -> None:
    folder = write_images(tmp_path / "faces", *(f"{number}.png" for number in range(14)))
    assert source(folder).facts().condition == Condition()
    assert sizes(source(folder)) == (10, 2, 2)
    assert not splits_of(source(folder))["train"].labels.any()
    with pytest.raises(UserError, match="no column, since the images are unlabelled"):
        source(folder, condition=["label"]).facts()


def test_hidden_files_and_other_kinds_are_ignored_and_links_followed(birds: Path, source: Any) -> None:
    for name in ("Thumbs.db", ".DS_Store", "README.txt", "cat/notes.json", ".hidden/a.png", "cat/._0.png"):
        (birds / name).parent.mkdir(exist_ok=True)
        (birds / name).write_text("no image")
    (birds / "dog" / "loop").symlink_to(birds)
    (birds / "cat" / "linked.png").symlink_to(birds / "owl" / "0.png")
    assert sum(sizes(source(birds))) == 22
    assert source(birds).facts().condition.class_names == ("cat", "dog", "owl")


def test_folders_in_the_folder_of_a_class_are_of_that_class(tmp_path: Path, source: Any) -> None:
    folder = write_images(
        tmp_path / "birds", *(f"{name}/{place}/{n}.png" for name in "ab" for place in "cd" for n in range(4))
    )
    facts = source(folder).facts()
    assert facts.condition.class_names == ("a", "b")


def test_a_class_may_be_called_train(tmp_path: Path, source: Any) -> None:
    assert source(write_images(tmp_path / "x", *classes("train", "car"))).facts().condition.class_names == (
        "car",
        "train",
    )


@pytest.mark.parametrize("condition", [["species"], {"species": "classes"}, {"species": None}, "species"])
def test_the_column_of_the_folders_may_be_named(birds: Path, source: Any, condition: Any) -> None:
    (column,) = source(birds, condition=condition).facts().condition.columns
    assert column == Classes("species", ("cat", "dog", "owl"))


def test_described_classes_keep_their_numbers(birds: Path, source: Any) -> None:
    described = {"species": {"classes": ["owl", "cat", "crow", "dog"], "optional": False}}
    split = splits_of(source(birds, condition=described))["train"]
    assert split.labels.tolist() == 5 * [1] + 5 * [3] + 5 * [0]
    assert split.condition == Condition.from_config(described)
    write_images(birds, "bat/0.png")
    with pytest.raises(UserError, match=r"one of owl, cat, crow, dog \(species\), got 'bat' for bat/0\.png"):
        source(birds, condition=described).facts()


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"size": 8}, (3, 8, 8)),
        ({"size": [8, 6]}, (3, 8, 6)),
        ({"channels": 1}, (1, 12, 10)),
        ({"size": 8, "channels": 1, "fit": "crop", "background": "white"}, (1, 8, 8)),
        ({"image_shape": [1, 8, 6]}, (1, 8, 6)),
        ({"image_shape": [1, 8, 6], "size": [8, 6], "background": [1, 2, 3]}, (1, 8, 6)),
    ],
)
def test_size_and_channels(birds: Path, source: Any, arguments: dict[str, Any], shape: tuple[int, ...]) -> None:
    assert source(birds, **arguments).facts().image_shape == shape
    assert splits_of(source(birds, **arguments))["val"].images.shape == (3, *shape)


def test_grey_images_have_one_channel(tmp_path: Path, source: Any) -> None:
    folder = write_images(tmp_path / "x", *classes("a", "b"), shape=(12, 10))
    assert source(folder).facts().image_shape == (1, 12, 10)
    write_images(folder, "a/colour.png")
    assert source(folder).facts().image_shape == (3, 12, 10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": 0}, "at least 1 (data.size), got 0"),
        ({"size": [1, 2, 3]}, "[height, width]"),
        ({"size": "large"}, "data.size"),
        ({"size": 8, "image_shape": [3, 9, 9]}, "the size of data.image_shape=[3, 9, 9] (data.size), got 8"),
        ({"channels": 4}, "1 or 3 (data.channels), got 4"),
        ({"channels": True}, "data.channels"),
        ({"channels": 1, "image_shape": [3, 9, 9]}, "data.image_shape=[3, 9, 9] (data.channels), got 1"),
        ({"fit": "stretch"}, "pad or crop (data.fit), got 'stretch'"),
        ({"background": "blurple"}, "a colour (data.background), got 'blurple'"),
        ({"background": [0, 0, 256]}, "data.background"),
        ({"background": 7}, "data.background"),
        ({"skip_broken": "maybe"}, "data.skip_broken"),
    ],
)
def test_arguments_that_are_refused(birds: Path, source: Any, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        source(birds, **arguments)
    assert words in str(error.value)


def refused(source: Folder) -> str:
    with pytest.raises(UserError) as error:
        splits_of(source)
    return str(error.value)


def test_no_such_folder(tmp_path: Path, source: Any) -> None:
    with pytest.raises(DataUnavailable, match=r"\(data\.path\), got '.*nowhere', which does not exist"):
        source(tmp_path / "nowhere").prepare()
    assert not source(tmp_path / "nowhere").available()


def test_no_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a folder of images \(data\.path\), got None. .* data\.path=birds"):
        Folder(None, str(tmp_path)).prepare()


def test_a_path_that_is_no_folder(birds: Path, tmp_path: Path, source: Any) -> None:
    assert "Name a folder." in refused(source(birds / "cat" / "0.png"))
    with zipfile.ZipFile(tmp_path / "birds.zip", "w") as archive:
        archive.write(birds / "cat" / "0.png")
    assert "birds.zip'. Unpack it, and name the folder." in refused(source(tmp_path / "birds.zip"))


def test_an_empty_folder(tmp_path: Path, source: Any) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    assert "images (.jpg, .jpeg, .png" in (words := refused(source(tmp_path / "empty")))
    assert "(data.path), got 'none in" in words


def test_a_folder_of_folders_of_folders(tmp_path: Path, source: Any) -> None:
    write_images(tmp_path / "x", *(f"birds/{name}" for name in classes("cat", "dog")))
    words = refused(source(tmp_path / "x"))
    assert "a subfolder per class" in words
    assert f"Name that one: data.path={tmp_path / 'x' / 'birds'}." in words


def test_images_beside_the_folders_of_classes(birds: Path, source: Any) -> None:
    write_images(birds, "stray.png")
    assert "stray.png" in refused(source(birds))


@pytest.mark.parametrize("tops", [("train", "test", "more"), ("val", "test"), ("train", "val", "valid")])
def test_folders_that_are_partly_splits(tmp_path: Path, source: Any, tops: tuple[str, ...]) -> None:
    folder = write_images(tmp_path / "x", *(f"{top}/{name}" for top in tops for name in classes("a", "b")))
    assert "train, and at most one val and test beside it" in refused(source(folder))


def test_one_class_says_nothing(tmp_path: Path, source: Any, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_images(tmp_path / "x", *classes("cat"))
    assert source(folder).facts().condition == Condition()
    assert [record.message for record in caplog.records] == [
        "Expected at least two classes (label), got only 'cat'. It is not part of the condition."
    ]
    assert "at least two classes (label)" in refused(source(folder, condition=["label"]))


def test_one_image_per_class(tmp_path: Path, source: Any, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_images(tmp_path / "x", *classes(*map(str, range(14)), num=1))
    assert sizes(source(folder)) == (10, 2, 2)
    assert source(folder).facts().condition.num_classes == 14
    assert "No class has enough images for a share of test" in caplog.text


def test_too_few_images_to_split(tmp_path: Path, source: Any) -> None:
    folder = write_images(tmp_path / "x", *classes("a", "b", num=2))
    assert "at least 5 images (data.path), got '3 images to draw val from'" in refused(source(folder))
    write_images(folder, "b/2.png")
    assert sizes(source(folder)) == (3, 1, 1)


def test_ten_thousand_classes(tmp_path: Path, source: Any) -> None:
    one = write_images(tmp_path, "0.png", shape=(2, 2)) / "0.png"
    for number in range(10_000):
        (tmp_path / "x" / f"c{number}").mkdir(parents=True)
        (tmp_path / "x" / f"c{number}" / "0.png").hardlink_to(one)
    facts = source(tmp_path / "x", size=2, channels=1).facts()
    assert facts.condition.num_classes == 10_000


def test_images_of_several_sizes_need_one(birds: Path, source: Any) -> None:
    write_images(birds, "cat/large.png", shape=(40, 30, 3))
    words = "got 'images of 2 sizes from 12x10 to 40x30'. For example data.size=10; data.fit says how."
    assert words in refused(source(birds))
    assert source(birds, size=8).facts().image_shape == (3, 8, 8)


def test_large_images_need_a_size(tmp_path: Path, source: Any) -> None:
    folder = write_images(tmp_path / "x", *classes("a", "b", num=3))
    Image.new("L", (5000, 5000)).save(tmp_path / "large.png")
    for file in folder.glob("*/*.png"):
        file.write_bytes((tmp_path / "large.png").read_bytes())
    assert "(data.size), got 'images of 5000x5000'. For example data.size=64" in refused(source(folder))
    assert splits_of(source(folder, size=4))["train"].images.shape[1:] == (1, 4, 4)


def test_images_of_one_pixel(tmp_path: Path, source: Any) -> None:
    folder = write_images(tmp_path / "x", *classes("a", "b"), shape=(1, 1, 3))
    assert splits_of(source(folder))["train"].images.shape == (10, 3, 1, 1)


def test_a_broken_image_is_named(birds: Path, source: Any, caplog: pytest.LogCaptureFixture) -> None:
    (birds / "cat" / "0.png").write_text("a text")
    (birds / "dog" / "1.png").write_bytes(b"")
    truncated = birds / "owl" / "2.png"
    truncated.write_bytes(truncated.read_bytes()[:-60])
    (birds / "owl" / "gone.png").symlink_to(birds / "nowhere.png")
    words = refused(source(birds, size=12, channels=3))
    assert "got 4 of 22 files that are not" in words
    assert f"{birds / 'cat' / '0.png'} (it is not an image), {birds / 'dog' / '1.png'} (it is empty)" in words
    assert "and 1 more" in words
    assert "data.skip_broken=true" in words
    assert "cat/0.png (it is not an image)" in refused(source(birds)), "from its header"
    whole = source(birds, skip_broken=True)
    assert sum(sizes(whole)) == 18
    assert list(whole.skipped) == ["cat/0.png", "dog/1.png", "owl/2.png", "owl/gone.png"]
    assert whole.skipped["owl/gone.png"] == "No such file or directory"
    assert "Left out, because they are not images: cat/0.png, dog/1.png" in caplog.text
    written = {
        pixels_of(birds / name).numpy().tobytes(): name
        for name in classes("cat", "dog", "owl")
        if name not in whole.skipped
    }
    for split in splits_of(whole).values():
        for image, label in zip(split.images, split.labels.tolist(), strict=True):
            assert written.pop(image.numpy().tobytes()).startswith(("cat", "dog", "owl")[label])
    assert not written


def test_nothing_but_broken_images(tmp_path: Path, source: Any) -> None:
    folder = write_images(tmp_path / "x", *classes("a", "b"))
    for file in folder.glob("*/*.png"):
        file.write_text("a text")
    assert "14 of 14" in refused(source(folder, skip_broken=True, size=4, channels=3))
    assert "none that can be read" in refused(source(folder, skip_broken=True))


def test_the_same_image_in_train_and_test(tmp_path: Path, source: Any, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_images(
        tmp_path / "x", *(f"{split}/{name}" for split in ("train", "test") for name in classes("a", "b"))
    )
    Image.open(folder / "train" / "a" / "3.png").save(folder / "test" / "b" / "same.bmp")
    (folder / "test" / "b" / "same.bmp").rename(folder / "test" / "b" / "same.png")
    source(folder, split_seed=1).fit_splits()
    assert (
        "Images of test that are also in train, which flatters its metrics: test/b/same.png (1 in all)." in caplog.text
    )


def test_a_name_that_a_configuration_cannot_hold(tmp_path: Path, source: Any) -> None:
    folder = write_images(tmp_path / "x", *classes("${oc.env:HOME}", "b"))
    assert "Rename it." in refused(source(folder))
