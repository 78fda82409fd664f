"""Data sets in .npz files: which arrays are read, how their images look, how they are split, and what is refused."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cvae_lightning.core.conditions import Classes, Condition, Flags, Number
from cvae_lightning.core.errors import DataUnavailable, UserError
from cvae_lightning.data import pixels
from cvae_lightning.data.npz_source import NpzSource
from cvae_lightning.data.splits import Split

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (70, 9, 7), "u1")
COLOUR = RANDOM.integers(0, 256, (70, 9, 7, 3), "u1")
TWO = np.arange(70) % 2


def source(folder: Path, arrays: dict[str, Any], **arguments: Any) -> NpzSource:
    save: Any = np.savez  # whose types take the arrays for an option
    save(folder / "x.npz", **arrays)
    return NpzSource("npz", folder / "x.npz", **arguments)


def splits_of(data: NpzSource) -> list[Split]:
    data.prepare()
    return [*data.fit_splits(), data.test_split()]


def test_images_without_parts_are_split_with_the_same_share_of_each_class(tmp_path: Path) -> None:
    data = source(tmp_path, {"images": GREY, "labels": TWO})
    splits = splits_of(data)
    assert [len(split.labels) for split in splits] == [50, 10, 10]
    assert all(split.labels.float().mean() == 0.5 for split in splits)
    found = {
        image.numpy().tobytes(): label
        for split in splits
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert found == {image.tobytes(): label for image, label in zip(GREY, TWO, strict=True)}
    assert data.facts() == ((1, 9, 7), Condition((Classes("label", ("0", "1")),)))
    assert list(data.digests) == ["x.npz"]


def test_the_split_depends_on_its_seed_and_not_on_the_condition(tmp_path: Path) -> None:
    arrays = {"images": GREY, "labels": TWO, "age": np.linspace(0, 1, 70)}
    one, same, other = (
        source(tmp_path, arrays, split_seed=seed, condition=condition).test_split().images
        for seed, condition in ((0, None), (0, ["age"]), (1, None))
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def medmnist(**changes: Any) -> dict[str, Any]:
    parts = {"train": slice(0, 40), "val": slice(40, 50), "test": slice(50, 70)}
    arrays = {f"{part}_images": COLOUR[rows] for part, rows in parts.items()}
    arrays |= {f"{part}_labels": TWO[rows, None] for part, rows in parts.items()}
    return {name: array for name, array in {**arrays, **changes}.items() if array is not None}


def test_the_parts_of_medmnist_are_kept(tmp_path: Path) -> None:
    splits = splits_of(source(tmp_path, medmnist()))
    assert torch.equal(torch.cat([split.images for split in splits]), torch.from_numpy(COLOUR.transpose(0, 3, 1, 2)))
    assert torch.cat([split.labels for split in splits]).tolist() == TWO.tolist()
    assert [len(split.labels) for split in splits] == [40, 10, 20]


def test_medmnist_with_several_labels(tmp_path: Path) -> None:
    flags = RANDOM.integers(0, 2, (70, 3))
    parts = {"train_labels": flags[:40], "val_labels": flags[40:50], "test_labels": flags[50:]}
    data = source(tmp_path, medmnist(**parts))
    assert data.facts().condition == Condition((Flags("label", ("0", "1", "2")),))
    assert torch.equal(data.test_split().labels, torch.from_numpy(flags[50:]).float())


def test_a_part_that_is_missing_is_split_off_train(tmp_path: Path) -> None:
    data = source(tmp_path, medmnist(val_images=None, val_labels=None))
    assert [len(split.labels) for split in splits_of(data)] == [34, 6, 20]
    data = source(tmp_path, medmnist(test_images=None, test_labels=None))
    assert [len(split.labels) for split in splits_of(data)] == [34, 10, 6]


def test_keras_names(tmp_path: Path) -> None:
    arrays = {"x_train": GREY[:60], "y_train": TWO[:60], "x_test": GREY[60:], "y_test": TWO[60:]}
    data = source(tmp_path, arrays)
    assert [len(split.labels) for split in splits_of(data)] == [50, 10, 10]
    assert data.test_split().labels.tolist() == TWO[60:].tolist()


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY[..., None], GREY[:, None]),
        (GREY[:, None], GREY[:, None]),
        (COLOUR, COLOUR.transpose(0, 3, 1, 2)),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR.transpose(0, 3, 1, 2)),
        ((GREY / 255).astype("f8"), GREY[:, None]),
        ((GREY / 255).astype("f4"), GREY[:, None]),
        (GREY > 127, 255 * (GREY > 127)[:, None]),
        (GREY.astype("i8"), GREY[:, None]),
    ],
)
def test_levels_and_layouts(tmp_path: Path, array: Any, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "CHUNK", 1000)  # in several parts
    splits = splits_of(source(tmp_path, {"train_images": array, "test_images": array[:3]}))
    assert torch.equal(splits[2].images, torch.from_numpy(np.ascontiguousarray(expected[:3])).byte())
    assert splits[2].images.dtype == torch.uint8


def test_grey_is_pillows_and_colour_is_grey_three_times(tmp_path: Path) -> None:
    grey = source(tmp_path, {"train_images": COLOUR, "test_images": COLOUR}, channels=1)
    pillow = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in COLOUR])
    assert grey.facts().image_shape == (1, 9, 7)
    assert np.array_equal(grey.test_split().images[:, 0].numpy(), pillow)
    colour = source(tmp_path, {"train_images": GREY, "test_images": GREY}, channels=3).test_split().images
    assert np.array_equal(colour.numpy(), np.stack([GREY] * 3, 1))


def test_resized_images_are_close_to_pillows(tmp_path: Path) -> None:
    smooth = np.asarray(Image.fromarray(GREY[0]).resize((60, 40), Image.Resampling.BICUBIC))
    data = source(tmp_path, {"train_images": smooth[None], "test_images": smooth[None]}, size=[20, 30])
    expected = np.asarray(Image.fromarray(smooth).resize((30, 20), Image.Resampling.BILINEAR))
    found = data.test_split().images[0, 0].numpy()
    assert data.facts().image_shape == (1, 20, 30) == (1, *found.shape)
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("size", "fit", "border"), [([8, 16], "pad", 0), ([8, 16], "crop", 200), (8, "pad", 200)])
def test_other_proportions_are_padded_or_cropped(tmp_path: Path, size: Any, fit: str, border: int) -> None:
    images = np.full((4, 32, 32), 200, "u1")
    test = source(tmp_path, {"train_images": images, "test_images": images}, size=size, fit=fit).test_split().images
    assert test.shape == (4, 1, 8, 16 if isinstance(size, list) else 8)
    assert (test[..., 0] == border).all()
    assert (test[..., 4:-4] == 200).all()


def test_the_shape_in_a_run_directory_decides_how_other_images_look(tmp_path: Path) -> None:
    arrays = {"train_images": COLOUR, "test_images": COLOUR}
    assert source(tmp_path, arrays, image_shape=[1, 5, 6]).test_split().images.shape == (70, 1, 5, 6)
    for wrong in ({"size": 4}, {"channels": 3}):
        with pytest.raises(UserError, match=r"data\.image_shape=\[1, 5, 6\]"):
            NpzSource("npz", tmp_path / "x.npz", image_shape=[1, 5, 6], **wrong)


def test_columns_of_every_kind(tmp_path: Path) -> None:
    age = np.linspace(20, 80, 70)
    age[3] = np.nan
    arrays = {
        "images": GREY,
        "age": age,
        "site": np.array(["left", "right"])[TWO],
        "labels": TWO,
        "class_names": ["no", "yes"],
        "stage": np.arange(70) % 3,
        "stage_names": ["I", "II", "III"],
        "findings": RANDOM.integers(0, 2, (70, 2)),
    }
    data = source(tmp_path, arrays)
    columns = {column.name: column for column in data.facts().condition.columns}
    assert list(columns) == ["label", "age", "site", "stage", "findings"]  # the labels first
    assert columns["label"] == Classes("label", ("no", "yes"))
    assert columns["site"] == Classes("site", ("left", "right"))
    assert columns["stage"] == Classes("stage", ("I", "II", "III"))
    assert columns["findings"] == Flags("findings", ("0", "1"))
    train = data.fit_splits()[0]
    ages = train.labels[:, 1]
    assert columns["age"].optional
    assert isinstance(columns["age"], Number)
    known = ages[~ages.isnan()].double()
    assert columns["age"].mean == pytest.approx(known.mean().item())
    assert columns["age"].std == pytest.approx(known.std(correction=0).item())
    assert train.condition == data.facts().condition


def test_the_condition_in_a_run_directory_is_read_alike(tmp_path: Path) -> None:
    arrays = {"images": GREY, "labels": TWO, "age": np.linspace(0, 1, 70)}
    first = source(tmp_path, arrays)
    again = source(tmp_path, arrays, condition=first.facts().condition.described())
    for one, two in zip(splits_of(first), splits_of(again), strict=True):
        assert torch.equal(one.labels, two.labels)
        assert one.condition == two.condition
    assert source(tmp_path, arrays, condition=["age"]).facts().condition.columns[0].name == "age"


def test_fitting_reads_no_label_of_the_test_set(tmp_path: Path) -> None:
    """A described condition leaves nothing to be found out from it."""
    data = source(tmp_path, medmnist(test_labels=np.full((20, 1), 7)), condition={"label": 2})
    assert len(data.fit_splits()[0].labels) == 40
    with pytest.raises(UserError, match="one of 0, 1"):
        data.test_split()


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (np.array([0.0, 1.0, 2.0, 1.0]), ("0", "1", "2"), [0, 1, 2, 1]),
        (np.array([0.0, np.nan, 1.0, 1.0]), ("0", "1"), [0, -1, 1, 1]),
        (np.array([0, -1, 1, 1]), ("0", "1"), [0, -1, 1, 1]),
        (np.array([-1, 1, -1, 1]), ("-1", "1"), [0, 1, 0, 1]),
        (np.array(["dog", "cat", "", "dog"]), ("cat", "dog"), [1, 0, -1, 1]),
        (np.array([b"dog", b"cat", b"cat", b"dog"]), ("cat", "dog"), [1, 0, 0, 1]),
        (np.array([300, 70000, 300, 300]), ("300", "70000"), [0, 1, 0, 0]),
        (np.eye(3)[[0, 2, 1, 1]], ("0", "1", "2"), [0, 2, 1, 1]),
    ],
)
def test_labels_that_are_classes(tmp_path: Path, labels: Any, names: Any, numbers: list[int]) -> None:
    arrays = {"train_images": GREY[:4], "train_labels": labels, "test_images": GREY[:4], "test_labels": labels}
    test = source(tmp_path, arrays).test_split()
    assert test.condition == Condition((Classes("label", names, optional=-1 in numbers),))
    assert test.labels.tolist() == numbers


def test_labels_that_are_not_whole_are_numbers_and_many_whole_ones_are_classes(tmp_path: Path) -> None:
    condition = source(tmp_path, {"images": GREY, "labels": np.linspace(0, 1, 70)}).facts().condition
    assert isinstance(condition.columns[0], Number)
    assert source(tmp_path, {"images": GREY, "labels": np.arange(70)}).facts().condition.num_classes == 70


def test_images_without_labels(tmp_path: Path) -> None:
    data = source(tmp_path, {"images": GREY})
    assert data.facts().condition == Condition()
    assert [split.labels.unique().tolist() for split in splits_of(data)] == [[0], [0], [0]]


def test_one_class_is_no_condition(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert source(tmp_path, {"images": GREY, "labels": 0 * TWO}).facts().condition == Condition()
    assert "two classes (label), got only '0'" in caplog.text
    with pytest.raises(UserError, match="two classes"):
        source(tmp_path, {"images": GREY, "labels": 0 * TWO}, condition=["label"]).facts()


def test_classes_with_fewer_than_four_images_are_split_without_regard_to_them(tmp_path: Path) -> None:
    data = source(tmp_path, {"images": GREY, "labels": np.arange(70)})
    assert [len(split.labels) for split in splits_of(data)] == [50, 10, 10]


def test_an_array_without_a_value_per_image_is_no_column(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = {"images": GREY, "labels": TWO, "mean": [0.5, 0.5, 0.5], "masks": GREY, "version": 3}
    with caplog.at_level(logging.WARNING):
        assert [column.name for column in source(tmp_path, arrays).facts().condition.columns] == ["label"]
    assert all(f"{name} has the shapes" in caplog.text for name in ("mean", "masks", "version"))


def test_images_in_both_train_and_test_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = {"train_images": GREY[:50], "val_images": GREY[50:60], "test_images": GREY[45:70]}
    with caplog.at_level(logging.WARNING):
        splits_of(source(tmp_path, arrays))
    assert "15 of the 25 test images of npz are also in train or val" in caplog.text


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pictures": GREY}, ["the arrays images and labels", "pictures", "Rename"]),
        ({"test_images": GREY}, ["train_images", "test_images"]),
        ({"images": GREY, "labels": TWO[:60]}, ["one label per image", "(60,)", "[70]"]),
        (medmnist(val_labels=None), ["one label per image", "no val_labels"]),
        (medmnist(val_labels=np.zeros((10, 2))), ["one label per image", "(10, 2)"]),
        (medmnist(val_images=COLOUR[:10, :3]), ["one shape", "(3, 9, 7)", "(3, 3, 7)", "Resize"]),
        ({"images": GREY.reshape(70, -1)}, ["(70, 63)", "(number, height, width)"]),
        ({"images": COLOUR[..., :2]}, ["(70, 9, 7, 2)"]),
        ({"images": np.zeros((70, 0, 7))}, ["(70, 0, 7)"]),
        ({"images": GREY.astype("i8") * 4}, ["integers in 0..255", "whole of npz"]),
        ({"images": GREY / 128.0}, ["floats in [0, 1]"]),
        ({"images": np.full((70, 9, 7), np.nan)}, ["nan", "floats in [0, 1]"]),
        ({"images": (GREY > 99).astype("u1")}, ["only the integers 0 and 1"]),
        ({"images": GREY.astype("c8")}, ["complex64"]),
        ({"images": np.array([[["a"]]] * 70)}, ["<U1"]),
        ({"images": GREY, "labels": TWO.astype(object)}, ["Python objects", "labels", "plain dtype"]),
        ({"images": GREY, "labels": TWO, "class_names": ["no", "no"]}, ["different names", "class_names"]),
        ({"images": GREY, "labels": TWO, "class_names": ["no"]}, ["0..0", "1 names", "got 1"]),
        ({"images": GREY, "labels": TWO, "age": np.full(70, np.inf)}, ["finite numbers (age)", "inf"]),
    ],
)
def test_refused(tmp_path: Path, arrays: dict[str, Any], words: list[str]) -> None:
    data = source(tmp_path, arrays)
    with pytest.raises(UserError) as error:
        (data.facts(), splits_of(data))
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": 0}, "data.size"),
        ({"size": [3, 4, 5]}, "data.size"),
        ({"size": "big"}, "data.size"),
        ({"size": True}, "data.size"),
        ({"channels": 2}, "data.channels"),
        ({"fit": "stretch"}, "data.fit"),
        ({"split_seed": -1}, "data.split_seed"),
    ],
)
def test_arguments_that_are_refused(arguments: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        NpzSource("npz", tmp_path / "x.npz", **arguments)


def test_a_file_that_is_not_there_or_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.path"):
        NpzSource("npz", None)
    data = NpzSource("npz", tmp_path / "none.npz")
    assert not data.available()
    with pytest.raises(DataUnavailable, match=r"none\.npz"):
        data.prepare()


@pytest.mark.parametrize("content", [b"", b"not an archive", b"half"])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=GREY)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == b"half" else content)
    with pytest.raises(UserError, match=r"x\.npz .*numpy.savez"):
        NpzSource("npz", path).facts()


def test_a_damaged_array(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", images=GREY)
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.npz"):
        splits_of(NpzSource("npz", tmp_path / "x.npz"))
