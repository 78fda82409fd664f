"""Which column of a condition an array or the cells of a file make, and what is refused."""

import logging
from typing import Any

import numpy as np
import pytest
import torch

from cvae_lightning.core.conditions import Classes, Condition, Flags, Number
from cvae_lightning.core.errors import UserError
from cvae_lightning.data.columns import Found, Kind, NothingToLearn, Read, column_of, read_columns

NAN = float("nan")


def read(values: Any, **arguments: Any) -> Read:
    """The column x with these values, all of which are in train."""
    return column_of("x", np.array(values), np.arange(len(values)), **arguments)


def listed(result: Read) -> list[Any]:
    """The values of a column of one value per image, None where unknown."""
    return [None if value != value else value for value in result.values[:, 0].tolist()]


@pytest.mark.parametrize(
    ("values", "names", "numbers"),
    [
        (["dog", "cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        (["dog", "", " cat "], ("cat", "dog"), [1, None, 0]),
        (["10", "2", "2"], ("2", "10"), [1, 0, 0]),  # in the order of the numbers
        (["02", "10", ""], ("02", "10"), [0, 1, None]),  # the names stay as they are written
        ([b"dog", b"cat", b"dog"], ("cat", "dog"), [1, 0, 1]),
        ([7, 3, 7], ("3", "7"), [1, 0, 1]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        (["true", "FALSE", ""], ("False", "True"), [1, 0, None]),
        ([[0, 1], [1, 0], [0, 1]], ("0", "1"), [1, 0, 1]),  # one-hot
        ([[7], [3], [7]], ("3", "7"), [1, 0, 1]),
    ],
)
def test_classes(values: Any, names: tuple[str, ...], numbers: list[Any]) -> None:
    result = read(values)
    assert result.column == Classes("x", names, optional=None in numbers)
    assert listed(result) == numbers


@pytest.mark.parametrize(
    "values",
    [
        [0.5, 2.0, 3.5],
        ["0.5", "2", "3.5"],
        ["0.5", "2e0", "+3.5"],
        [[0.5], [2.0], [3.5]],
        np.array([0.5, 2.0, 3.5], "f2"),
    ],
)
def test_numbers(values: Any) -> None:
    result = read(values)
    assert isinstance(result.column, Number)
    assert listed(result) == [0.5, 2.0, 3.5]
    assert (result.column.mean, result.column.low, result.column.high) == (2.0, 0.5, 3.5)
    assert result.column.std == pytest.approx(1.5**0.5)
    assert not result.column.optional


@pytest.mark.parametrize("values", [[1.5, NAN, 2.5], ["1.5", "", "2.5"], ["1.5", "nan", "2.5"]])
def test_an_unknown_number_is_nan_or_an_empty_cell(values: Any) -> None:
    result = read(values)
    assert listed(result) == [1.5, None, 2.5]
    assert result.column.optional
    assert isinstance(result.column, Number)
    assert result.column.mean == 2.0


def test_units_come_from_the_training_rows_alone_and_unknown_values_from_all() -> None:
    values = np.array([1.0, 3.0, 100.0, NAN])
    for train in (np.array([0, 1]), np.array([True, True, False, False])):
        assert column_of("x", values, train).column == Number("x", 2.0, 1.0, 1.0, 3.0, optional=True)


@pytest.mark.parametrize(("num", "kind"), [(20, Classes), (21, Number)])
@pytest.mark.parametrize("dtype", ["u1", "i8", "U2"])
def test_more_than_twenty_whole_numbers_are_numbers(num: int, kind: type, dtype: str) -> None:
    assert isinstance(read(np.arange(num).astype(dtype)).column, kind)


def test_a_kind_that_is_stated_is_taken() -> None:
    assert isinstance(read(np.arange(40), kind="classes").column, Classes)
    assert isinstance(read([0, 1, 2], kind="number").column, Number)
    assert read([0.0, 1.0, NAN], kind="classes").column == Classes("x", ("0", "1"), optional=True)
    assert read(["1.5", "2", "2"], kind="classes").column == Classes("x", ("2", "1.5"))
    assert read([0, 1, 1], kind="flags").column == Flags("x", ("x",))
    assert read([[0, 1], [1, 0]], kind="flags").column == Flags("x", ("0", "1"))


def test_flags_in_a_table() -> None:
    result = read([[1, 1, 0], [0, 0, 0], [0, 1, 0]], names=["a", "b", "c"])
    assert result.column == Flags("x", ("a", "b", "c"))
    assert result.values.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0]]


def test_a_row_with_an_unknown_flag_is_unknown() -> None:
    result = read([[1.0, NAN], [1.0, 1.0], [0.0, 1.0]])
    assert result.column == Flags("x", ("0", "1"), optional=True)
    assert np.isnan(result.values[0]).all()
    assert result.values[1:].tolist() == [[1, 1], [0, 1]]


def test_flags_in_text() -> None:
    result = read(["red; round", "none", "", "red"], kind="flags")
    assert result.column == Flags("x", ("red", "round"), optional=True)
    assert result.values[[0, 1, 3]].tolist() == [[1, 1], [0, 0], [1, 0]]
    assert np.isnan(result.values[2]).all()


def test_names_of_numbered_classes() -> None:
    """A class without images has a name and a number too."""
    result = read([0, 2, 2], names=["cat", "dog", "owl"])
    assert result.column == Classes("x", ("cat", "dog", "owl"))
    assert listed(result) == [0, 2, 2]


@pytest.mark.parametrize(
    ("values", "numbers"),
    [(["dog", "owl"], [1, 2]), ([1, 2], [1, 2]), (["1", ""], [1, None]), (["dog", "dog"], [1, 1])],
)
def test_described_classes_keep_their_numbers(values: Any, numbers: list[Any]) -> None:
    described = Classes("x", ("cat", "dog", "owl"), optional=True)
    result = read(values, described=described)
    assert result.column == described
    assert listed(result) == numbers


def test_a_class_is_described_by_its_name_before_its_number() -> None:
    assert listed(read([7, 3, 0], described=Classes("x", ("3", "7")))) == [1, 0, 0]


def test_a_description_renames_classes_whose_names_are_stored() -> None:
    """If there are as many, and not one of the stored names is among them."""
    names = ["cat", "dog", "owl"]
    assert listed(read([2, 0, 2], names=names, described=Classes("x", ("Katze", "Hund", "Eule")))) == [2, 0, 2]
    assert listed(read([2, 0, 2], names=names, described=Classes("x", ("owl", "dog", "cat")))) == [0, 2, 0]
    with pytest.raises(UserError, match="one of Katze, Hund"):
        read([2, 0, 2], names=names, described=Classes("x", ("Katze", "Hund")))


def test_a_described_number_keeps_its_units() -> None:
    described = Number("x", 5.0, 2.0, 0.0, 10.0)
    assert read([1.0, 1.0], described=described).column == described


def test_described_flags_keep_their_order() -> None:
    described = Flags("x", ("round", "red"))
    assert read(["red", "red"], described=described).values.tolist() == [[0, 1], [0, 1]]
    assert read([[1, 0], [1, 1]], described=described).values.tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize(
    "values", [[5.0, 5.0, NAN], [NAN, NAN], ["a", "a", ""], ["", ""], [3, 3], [[1, 0], [1, 0]], []]
)
def test_a_constant_column_has_nothing_to_learn(values: Any) -> None:
    with pytest.raises(NothingToLearn, match=r"\(x\), got"):
        read(values)


def test_a_number_that_is_constant_in_train_has_nothing_to_learn() -> None:
    with pytest.raises(NothingToLearn, match=r"training images \(x\), got only 5\.0"):
        column_of("x", np.array([5.0, 5.0, 7.0]), np.array([0, 1]))


@pytest.mark.parametrize(
    ("values", "arguments", "words"),
    [
        ([1.5, np.inf, 2.0], {}, ["finite", "(x)", "inf", "image 1"]),
        ([1.5, 1e39, 2.0], {}, ["finite", "1e+39"]),
        (["1.5", "-inf", "2"], {}, ["finite", "-inf"]),
        (["1.5", "two"], {"kind": "number"}, ["numbers", "'two'", "image 1", "data.condition={x: classes}"]),
        ([0.5, 1.0], {"kind": "classes"}, ["whole numbers", "0.5", "image 0"]),
        ([0, 3], {"names": ["a", "b"]}, ["0..1", "3", "image 1"]),
        ([0, -1], {"names": ["a", "b"]}, ["0..1", "-1"]),
        (["cat", "cow"], {"described": Classes("x", ("cat", "dog"))}, ["cat, dog", "'cow'", "image 1"]),
        ([1, 2], {"described": Classes("x", ("cat", "dog"))}, ["cat, dog", "2", "image 1"]),
        (["cat", ""], {"described": Classes("x", ("cat", "dog"))}, ["a value for each image", "image 1"]),
        ([1.0, NAN], {"described": Number("x", 0.0, 1.0, -1.0, 1.0)}, ["a value for each image", "image 1"]),
        ([[0, 2], [1, 0]], {}, ["0 or 1", "[0, 2]", "image 0", "array of its own"]),
        ([[0.5, 2], [1, 0]], {"kind": "number"}, ["one number per image", "2 columns"]),
        ([[1, 1], [1, 0]], {"kind": "classes"}, ["one class per image", "data.condition={x: flags}"]),
        ([[1, 1], [1, 0]], {"names": ["a", "b", "c"]}, ["3 flags", "2"]),
        ([[1, 1], [1, 0]], {"described": Flags("x", ("a", "b", "c"))}, ["3 flags", "2"]),
        (["a", "a;c"], {"described": Flags("x", ("a", "b"))}, ["a, b", "'a;c'", "image 1"]),
        (np.arange(2000).astype("U") + np.array("a"), {}, ["1000 names", "2000 names", "data.condition"]),
        ([f"a dog, no. {n}" for n in range(30)], {}, ["names", "30 names", "data.condition"]),
        (np.array(["2026-11-27", "2026-11-28"], "M8[D]"), {}, ["booleans, integers, floats or text", "datetime"]),
        (np.array([1j, 2j]), {}, ["complex"]),
        (np.zeros((2, 3, 4)), {}, ["one value", "(2, 3, 4)"]),
        ([1e9, 1e9 + 1, 1e9 + 2.5], {}, ["single precision", "Subtract"]),
    ],
)
def test_refused(values: Any, arguments: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        read(values, **arguments)
    assert not isinstance(error.value, NothingToLearn)
    assert all(word in str(error.value) for word in words), error.value


def test_an_error_says_where_the_value_is() -> None:
    with pytest.raises(UserError, match=r"got 'two' for b\.png"):
        read(["1", "two"], kind="number", where=["a.png", "b.png"].__getitem__)


def found(**columns: Any) -> dict[str, Found]:
    return {name: Found(np.array(values)) for name, values in columns.items()}


TWO = found(label=["dog", "cat", "dog"], angle=[1.0, 3.0, NAN])


def test_all_columns_side_by_side() -> None:
    condition, labels = read_columns(TWO, np.arange(3))
    assert [column.name for column in condition.columns] == ["label", "angle"]
    assert torch.equal(labels.nan_to_num(-9), torch.tensor([[1.0, 1], [0, 3], [1, -9]]))
    assert labels.dtype == torch.float32
    assert condition.context(labels).shape == (3, 4)


def test_one_column_of_classes_is_whole_numbers() -> None:
    condition, labels = read_columns(found(label=["dog", "", "cat"]), np.arange(3))
    assert condition.is_one_class
    assert labels.tolist() == [1, -1, 0]
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("asked", [[], {}])
def test_no_column_is_unlabelled(asked: Any) -> None:
    condition, labels = read_columns(TWO, np.arange(3), asked)
    assert condition == Condition()
    assert labels.tolist() == [0, 0, 0]
    assert read_columns({}, np.arange(4)).labels.tolist() == [0] * 4


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        (["angle"], {"angle": Number}),
        ("angle", {"angle": Number}),
        (["angle", "label"], {"angle": Number, "label": Classes}),
        ({"angle": "number", "label": None}, {"angle": Number, "label": Classes}),
        ({"label": "flags"}, {"label": Flags}),
        ({"label": ["dog", "cat"]}, {"label": Classes}),
    ],
)
def test_the_condition_that_is_asked_for(asked: Any, kinds: dict[str, type]) -> None:
    condition = read_columns(TWO, np.arange(3), asked).condition
    assert {column.name: type(column) for column in condition.columns} == kinds


def test_what_was_described_is_read_again_alike() -> None:
    """The condition in a run directory gives its labels to other images of the same kind."""
    first = read_columns(TWO, np.arange(3))
    others = found(label=["cat", "cat"], angle=[7.0, NAN])
    again = read_columns(others, np.arange(2), first.condition.described())
    assert again.condition == first.condition
    assert again.labels[0].tolist() == [0.0, 7.0]


def test_a_constant_column_is_left_out_with_a_warning_and_refused_by_name(caplog: pytest.LogCaptureFixture) -> None:
    columns = {**TWO, **found(camera=["a", "a", "a"])}
    with caplog.at_level(logging.WARNING):
        condition = read_columns(columns, np.arange(3)).condition
    assert [column.name for column in condition.columns] == ["label", "angle"]
    assert "camera" in caplog.text
    assert "not part of the condition" in caplog.text
    with pytest.raises(UserError, match=r"two classes \(camera\), got only 'a'"):
        read_columns(columns, np.arange(3), ["camera"])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["colour"], "columns label, angle.*data.condition.*'colour'"),
        ({"angle": "real"}, "classes, number, flags.*data.condition.angle.*'real'"),
        ({"angle": 0}, "data.condition.angle"),
    ],
)
def test_a_condition_that_the_data_do_not_have(asked: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_columns(TWO, np.arange(3), asked)


def test_unlabelled_images_have_no_columns() -> None:
    with pytest.raises(UserError, match=r"unlabelled.*'label'"):
        read_columns({}, np.arange(3), ["label"])


@pytest.mark.parametrize("kind", ["classes", "number"])
def test_the_data_set_states_a_kind_and_the_person_overrules_it(kind: Kind) -> None:
    columns = {"x": Found(np.arange(40), kind="classes")}
    assert isinstance(read_columns(columns, np.arange(40)).condition.columns[0], Classes)
    column = read_columns(columns, np.arange(40), {"x": kind}).condition.columns[0]
    assert isinstance(column, {"classes": Classes, "number": Number}[kind])
