"""The user's own IDX files, of any size, type and number of classes."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cvae_lightning.core.conditions import Classes, Condition, Number
from cvae_lightning.core.errors import DataUnavailable, UserError
from cvae_lightning.data.any_idx_source import AnyIdxSource

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (70, 16, 12), "u1")
LABELS = (np.arange(70) % 3 + 1).astype("u1")


def write(file: Path, array: npt.NDArray[Any], compress: bool = False) -> Path:
    code = CODES[f"{array.dtype.kind}{array.dtype.itemsize}"]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    content = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
    file.write_bytes(gzip.compress(content) if compress else content)
    return file


def source(path: Path, **arguments: Any) -> AnyIdxSource:
    data = AnyIdxSource("idx", path, **arguments)
    data.prepare()
    return data


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"),
        ("{}-images.idx3-ubyte", "{}-labels.idx1-ubyte"),
        ("emnist-letters-{}-images-idx3-ubyte", "emnist-letters-{}-labels-idx1-ubyte"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("test", ["t10k", "test"])
def test_files_named_as_mnist(tmp_path: Path, images: str, labels: str, compress: bool, test: str) -> None:
    ending = ".gz" if compress else ""
    for part, rows in (("train", slice(60)), (test, slice(60, 70))):
        write(tmp_path / (images.format(part) + ending), IMAGES[rows], compress)
        write(tmp_path / (labels.format(part) + ending), LABELS[rows], compress)
    data = source(tmp_path)
    assert data.facts() == ((1, 16, 12), Condition((Classes("label", ("1", "2", "3")),)))
    train, val = data.fit_splits()
    assert (len(train.labels), len(val.labels)) == (51, 9)  # 17 and 3 of each class
    split = data.test_split()
    assert torch.equal(split.images, torch.from_numpy(IMAGES[60:, None]))
    assert split.labels.tolist() == (LABELS[60:] - 1).tolist()
    assert set(data.digests) == {name.format(part) for name in (images, labels) for part in ("train", test)}


def test_the_digest_is_that_of_the_uncompressed_file(tmp_path: Path) -> None:
    digests = []
    for compress, name in ((False, "images-idx3-ubyte"), (True, "images-idx3-ubyte.gz")):
        data = source(write(tmp_path / name, IMAGES, compress))
        data.fit_splits()
        digests.append(data.digests)
    assert digests[0] == digests[1]


def test_one_file_of_images_with_its_labels(tmp_path: Path) -> None:
    file = write(tmp_path / "my-images-idx3-ubyte", IMAGES)
    write(tmp_path / "my-labels-idx1-int", np.arange(70, dtype="i4") // 10 + 300)
    for path in (file, tmp_path):
        data = source(path)
        assert data.facts().condition.class_names == tuple(map(str, range(300, 307)))
        assert [len(split.labels) for split in (*data.fit_splits(), data.test_split())] == [49, 14, 7]


def test_images_alone_are_unlabelled(tmp_path: Path) -> None:
    data = source(write(tmp_path / "pictures", IMAGES))
    assert data.facts() == ((1, 16, 12), Condition())
    assert [len(split.labels) for split in (*data.fit_splits(), data.test_split())] == [50, 10, 10]


def test_colour_images_floats_and_a_size(tmp_path: Path) -> None:
    colour = RANDOM.random((70, 16, 12, 3)).astype("f4")
    data = source(write(tmp_path / "images-idx4-float", colour), size=8)
    assert data.facts().image_shape == (3, 8, 8)
    assert data.test_split().images.shape == (10, 3, 8, 8)


def test_val_files_are_val_and_labels_may_be_numbers(tmp_path: Path) -> None:
    for part, rows in (("train", slice(50)), ("val", slice(50, 60)), ("test", slice(60, 70))):
        write(tmp_path / f"{part}-images-idx3-ubyte", IMAGES[rows])
        write(tmp_path / f"{part}-labels-idx1-float", np.linspace(0, 1, 70, dtype="f4")[rows])
    data = source(tmp_path)
    assert isinstance(data.facts().condition.columns[0], Number)
    train, val = data.fit_splits()
    assert (len(train.labels), len(val.labels)) == (50, 10)
    assert train.labels.shape == (50, 1)


def test_names_for_the_classes(tmp_path: Path) -> None:
    file = write(tmp_path / "images-idx3-ubyte", IMAGES)
    write(tmp_path / "labels-idx1-ubyte", LABELS - 1)
    split = source(file, condition={"label": ["cat", "dog", "owl"]}).test_split()
    assert split.condition == Condition((Classes("label", ("cat", "dog", "owl")),))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.path"):
        AnyIdxSource("idx", None)
    data = AnyIdxSource("idx", tmp_path / "none")
    assert not data.available()
    with pytest.raises(DataUnavailable, match=r"none.*train-images-idx3-ubyte"):
        data.prepare()
    with pytest.raises(DataUnavailable, match="got none"):
        source(tmp_path).facts()
    write(tmp_path / "test-images-idx3-ubyte", IMAGES)
    with pytest.raises(DataUnavailable, match="images of test only"):
        source(tmp_path).facts()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"images-idx3-ubyte": IMAGES, "labels-idx1-ubyte": LABELS[:5]}, "one label per image.*5 for 70"),
        ({"train-images-idx3-ubyte": IMAGES, "t10k-images-idx3-ubyte": IMAGES[:, :8]}, r"one shape.*\(1, 8, 12\)"),
        (
            {"train-images-idx3-ubyte": IMAGES, "train-labels-idx1-ubyte": LABELS, "t10k-images-idx3-ubyte": IMAGES},
            "labels for each part.*t10k-images",
        ),
        (
            {
                "train-images-idx3-ubyte": IMAGES,
                "train-labels-idx1-ubyte": LABELS,
                "t10k-images-idx3-ubyte": IMAGES,
                "t10k-labels-idx2-ubyte": np.stack([LABELS, LABELS], 1),
            },
            r"same number of values per image in all parts of label.*\(70, 2\)",
        ),
        ({"a-images-idx3-ubyte": IMAGES, "b-images-idx3-ubyte": IMAGES}, "one file of images for whole.*a-images.*b-"),
        (
            {"train-images-idx3-ubyte": IMAGES, "images-idx3-ubyte": IMAGES},
            "train, val or test in the name.*got images",
        ),
        ({"images-idx2-ubyte": IMAGES[0]}, r"\(16, 12\)"),
        ({"images-idx3-short": IMAGES.astype("i2") * 5}, "integers in 0..255"),
    ],
)
def test_refused(tmp_path: Path, files: dict[str, npt.NDArray[Any]], words: str) -> None:
    for name, array in files.items():
        write(tmp_path / name, array)
    data = source(tmp_path)
    with pytest.raises(UserError, match=words):
        (data.facts(), data.fit_splits(), data.test_split())


@pytest.mark.parametrize("content", [b"", b"text", b"\x00\x00\x08\x03\x00", b"\x1f\x8bno"])
def test_a_file_that_is_not_idx(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images-idx3-ubyte").write_bytes(content)
    with pytest.raises(UserError, match=r"Expected (an IDX|a whole gzip) file, got .*images-idx3-ubyte"):
        source(tmp_path).facts()


def test_half_a_file(tmp_path: Path) -> None:
    file = write(tmp_path / "images-idx3-ubyte", IMAGES)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match="13439 of 13440 bytes"):
        source(tmp_path).fit_splits()
