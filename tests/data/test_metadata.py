"""metadata.csv: which columns it gives to the images of a folder, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cvae_lightning.core.conditions import Classes, Condition, Flags, Number
from cvae_lightning.core.errors import UserError
from cvae_lightning.data.folder import Folder

NUM = 14
NAMES = [f"{number:02}.png" for number in range(NUM)]
ANGLES = [f"{2.5 * number}" for number in range(NUM)]


def write(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (6, 5)).astype("u1")
        Image.fromarray(pixels).save(folder / name)
    return folder


def source_of(tmp_path: Path, text: str, condition: Any = None, names: list[str] = NAMES) -> Folder:
    """A folder of images with this metadata.csv."""
    folder = write(tmp_path / "images", names)
    (folder / "metadata.csv").write_text(text, encoding="utf-8")
    return Folder(str(folder), str(tmp_path / "data"), condition=condition)


def table(**columns: list[Any]) -> str:
    """CSV with the columns, whose cells repeat."""
    rows = [["file_name", *columns]]
    rows += [[name, *(cells[at % len(cells)] for cells in columns.values())] for at, name in enumerate(NAMES)]
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def labels_by_name(source: Folder) -> dict[str, Any]:
    """What each image has as its label, whatever its split."""
    written = {np.array(Image.open(source.folder / name)).tobytes(): name for name in NAMES}  # type: ignore[operator]
    splits = (*source.fit_splits(), source.test_split())
    pairs = [pair for split in splits for pair in zip(split.images, split.labels.tolist(), strict=True)]
    return {written[image.numpy().tobytes()]: label for image, label in pairs}


def refused(source: Folder) -> str:
    with pytest.raises(UserError) as error:
        source.fit_splits()
    return str(error.value)


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        (["cat", "dog"], Classes("x", ("cat", "dog"))),
        (["10", "9"], Classes("x", ("9", "10"))),
        (["cat", "dog", ""], Classes("x", ("cat", "dog"), optional=True)),
        (["red|round", "red", "|"], Flags("x", ("red", "round"))),
        (["red|round", "red", ""], Flags("x", ("red", "round"), optional=True)),
    ],
)
def test_kinds_of_columns(tmp_path: Path, cells: list[str], column: Any) -> None:
    assert source_of(tmp_path, table(x=cells)).facts().condition == Condition((column,))


def test_numbers_have_the_units_of_the_training_images(tmp_path: Path) -> None:
    source = source_of(tmp_path, table(angle=ANGLES))
    train, val = source.fit_splits()
    values = train.labels[:, 0].double()
    (column,) = source.facts().condition.columns
    assert isinstance(column, Number)
    assert train.condition == val.condition == source.test_split().condition == source.facts().condition
    assert column.mean == pytest.approx(float(values.mean()))
    assert column.std == pytest.approx(float(values.std(correction=0)))
    assert (column.low, column.high) == (float(values.min()), float(values.max()))
    assert {name: label for name, (label,) in labels_by_name(source).items()} == dict(
        zip(NAMES, map(float, ANGLES), strict=True)
    )


def test_several_columns(tmp_path: Path) -> None:
    text = table(digit=["3", "1", ""], angle=ANGLES, tags=["a|b", "|"])
    source = source_of(tmp_path, text)
    assert [column.name for column in source.facts().condition.columns] == ["digit", "angle", "tags"]
    rows = labels_by_name(source)
    assert rows["00.png"] == [1.0, 0.0, 1.0, 1.0]
    assert rows["01.png"] == [0.0, 2.5, 0.0, 0.0]
    assert torch.tensor(rows["02.png"]).isnan().tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("condition", "columns"),
    [
        (["angle"], ["angle"]),
        ({"digit": "classes"}, ["digit"]),
        ({"angle": "number", "digit": None}, ["angle", "digit"]),
    ],
)
def test_the_configuration_chooses_columns(tmp_path: Path, condition: Any, columns: list[str]) -> None:
    source = source_of(tmp_path, table(digit=["3", "1"], angle=ANGLES), condition)
    assert [column.name for column in source.facts().condition.columns] == columns


@pytest.mark.parametrize("condition", [[], {}])
def test_no_column_may_be_chosen(tmp_path: Path, condition: Any) -> None:
    assert source_of(tmp_path, table(digit=["3", "1"]), condition).facts().condition == Condition()


def test_a_described_condition_keeps_its_units_and_classes(tmp_path: Path) -> None:
    described = {"angle": {"mean": 1.0, "std": 2.0, "low": 0.0, "high": 9.0}, "digit": {"classes": ["3", "2", "1"]}}
    source = source_of(tmp_path, table(digit=["3", "1"], angle=ANGLES), described)
    assert source.facts().condition == Condition.from_config(described)
    assert labels_by_name(source)["01.png"] == [2.5, 2.0]


def test_folders_are_a_column_too_if_that_is_asked_for(tmp_path: Path) -> None:
    names = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(7)]
    text = "file_name,angle\n" + "".join(f"{name},{at}.5\n" for at, name in enumerate(names))
    assert [c.name for c in source_of(tmp_path, text, None, names).facts().condition.columns] == ["angle"]
    both = source_of(tmp_path, text, ["label", "angle"], names).facts().condition
    assert [column.name for column in both.columns] == ["label", "angle"]
    assert both.class_names == ("cat", "dog")


def test_a_file_for_each_split(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for split in ("train", "val", "test"):
        write(folder / split, NAMES)
        (folder / split / "metadata.csv").write_text(table(x=["cat", "dog"]))
    source = Folder(str(folder), str(tmp_path / "data"))
    train, val = source.fit_splits()
    assert train.labels.tolist() == val.labels.tolist() == source.test_split().labels.tolist() == 7 * [0, 1]
    assert sorted(source.digests) == ["images", "test/metadata.csv", "train/metadata.csv", "val/metadata.csv"]


def test_one_file_above_the_splits(tmp_path: Path) -> None:
    names = [f"{split}/{name}" for split in ("train", "val", "test") for name in NAMES]
    text = "file_name,x\n" + "".join(f"{name},{'ab'[at % 2]}\n" for at, name in enumerate(names))
    source = source_of(tmp_path, text, None, names)
    assert source.fit_splits()[1].labels.tolist() == 7 * [0, 1]
    assert sorted(source.digests) == ["images", "metadata.csv"]


def test_what_spreadsheets_write_is_read(tmp_path: Path) -> None:
    """A byte-order mark, Windows line ends, cells in quotes, blank lines, a column without a name, and ./ in paths."""
    rows = "".join(
        f'{at},./{name},"a ""b"", c"\r\n' if at % 2 else f"{at},{name}, d \r\n\r\n" for at, name in enumerate(NAMES)
    )
    source = source_of(tmp_path, f"\ufeff,file_name,kind\r\n{rows}")
    assert source.facts().condition == Condition((Classes("kind", ('a "b", c', "d")),))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("filename,x\n00.png,1\n", ["a column file_name", "['filename', 'x']"]),
        ("file_name;x\n00.png;1\n", ["a column file_name"]),
        ("", ["a column file_name"]),
        ("file_name,x,x\n", ["different names", "'x'"]),
        (table(x=["a", "b"]) + "00.png,a\n", ["one row per image", "line 16", "another row for 00.png"]),
        (table(x=["a", "b"]) + ",a\n", ["line 16", "no file name"]),
        (table(x=["a", "b"]) + "14.png,a,b\n", ["2 cells as in the header", "line 16", "got 3"]),
        (table(x=["a", "b"]) + "14.png,a\n", ["rows of images that exist", "1 rows of others, such as 14.png"]),
        (table(x=["a", "b"]) + "../00.png,a\n", ["such as ../00.png"]),
        (table(x=["a", "b"]).replace("13.png,b\n", ""), ["a row for each image", "1 images, such as 13.png"]),
        (table(x=['"a', "b"]), ["CSV in UTF-8"]),
        (table(x=["1.5", "inf", "2"]), ["(x)", "inf", "01.png"]),
    ],
)
def test_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    message = refused(source_of(tmp_path, text))
    assert all(word in message for word in words), message


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    source = source_of(tmp_path, "")
    (tmp_path / "images" / "metadata.csv").write_bytes(table(x=["Käfer", "b"]).encode("latin-1"))
    assert "Expected CSV in UTF-8" in refused(source)


def test_an_unknown_number_is_an_empty_cell_or_nan(tmp_path: Path) -> None:
    source = source_of(tmp_path, table(x=["1.5", "", "nan", "2.5"]))
    (column,) = source.facts().condition.columns
    assert isinstance(column, Number)
    assert column.optional
    assert column.low == 1.5


def test_text_among_numbers_that_were_asked_for(tmp_path: Path) -> None:
    message = refused(source_of(tmp_path, table(x=["1.5", "two"]), {"x": "number"}))
    assert "numbers (x), got 'two' for 01.png" in message


def test_a_column_that_is_constant(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = table(x=["a", "b"], licence=["CC0"], year=["1999.5"], nothing=[""])
    source = source_of(tmp_path, text)
    assert [column.name for column in source.facts().condition.columns] == ["x"]
    assert len(caplog.records) == 3
    assert all("It is not part of the condition." in record.message for record in caplog.records)
    assert "(year), got only 1999.5" in refused(source_of(tmp_path, text, ["x", "year"]))


def test_a_column_that_does_not_exist(tmp_path: Path) -> None:
    message = refused(source_of(tmp_path, table(x=["a", "b"]), ["y"]))
    assert "the columns x (data.condition), got 'y'" in message


def test_files_in_two_places(tmp_path: Path) -> None:
    names = [f"train/{name}" for name in NAMES]
    source = source_of(tmp_path, "file_name,x\n", None, names)
    (tmp_path / "images" / "train" / "metadata.csv").write_text("file_name,x\n")
    assert "one metadata.csv, or one per split" in refused(source)


def test_a_split_without_a_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", [f"{split}/{name}" for split in ("train", "test") for name in NAMES])
    (folder / "train" / "metadata.csv").write_text(table(x=["a", "b"]))
    assert "a metadata.csv for each split" in refused(Folder(str(folder), str(tmp_path / "data")))
    (folder / "test" / "metadata.csv").write_text(table(y=["a", "b"]))
    assert "the same columns for each split" in refused(Folder(str(folder), str(tmp_path / "data")))


def test_a_class_that_the_run_does_not_know(tmp_path: Path) -> None:
    message = refused(source_of(tmp_path, table(x=["a", "b"]), {"x": {"classes": ["a", "c"]}}))
    assert "one of a, c (x), got 'b' for 01.png" in message
