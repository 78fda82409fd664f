"""Laws of conditions: what the networks see, what people write, and what is refused."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cvae_lightning.core.conditions import UNKNOWN, Classes, Condition, Flags, Number
from cvae_lightning.core.errors import UserError

PETS = Condition.from_config({"pet": ["cat", "dog", "grey parrot"]})
ANGLE = {"mean": 2.0, "std": 26.0, "low": -45.0, "high": 45.0}
TURNED = Condition.from_config({"digit": 10, "angle": ANGLE})
FACES = Condition.from_config({"smiles": {"flags": ["hat", "beard", "glasses"]}})
ALL = Condition(
    (
        Number("angle", 2.0, 26.0, -45.0, 45.0),
        Classes("digit", tuple("0123456789")),
        Flags("face", ("hat", "beard")),
        Classes("pet", ("cat", "dog")),
    )
)
CONDITIONS = {
    "none": Condition(),
    "ten": Condition.of_classes(10),
    "one": Condition.of_classes(1),
    "pets": PETS,
    "turned": TURNED,
    "faces": FACES,
    "all": ALL,
    "number": Condition.from_config({"angle": ANGLE}),
}
EVERY = [
    *(pytest.param(condition, id=name) for name, condition in CONDITIONS.items()),
    *(pytest.param(condition.with_unknown(), id=f"{name}, or unknown") for name, condition in CONDITIONS.items()),
]


@pytest.mark.parametrize("condition", EVERY)
def test_the_context_has_the_width_that_the_condition_states(condition: Condition) -> None:
    y = condition.spread(7)
    assert condition.context(y).shape == (7, condition.width)
    assert condition.context(condition.examples()).shape == (len(condition.examples()), condition.width)
    assert condition.context(y).dtype == torch.float32


@pytest.mark.parametrize("condition", EVERY)
def test_a_condition_is_the_same_after_it_was_written_down(condition: Condition) -> None:
    assert Condition.from_config(condition.described()) == condition


@pytest.mark.parametrize("condition", EVERY)
def test_what_is_written_of_labels_is_one_name_each(condition: Condition) -> None:
    names = condition.written(condition.examples())
    assert len(names) == len(condition.examples())
    assert len(set(names)) == len(names)
    assert not any("nan" in name for name in names)


@pytest.mark.parametrize("condition", EVERY)
def test_the_context_of_unknown_labels_is_zeros_and_a_flag(condition: Condition) -> None:
    if not condition.may_be_unknown:
        return
    context = condition.context(condition.unknown(3))
    assert context.sum(1).tolist() == [len(condition.columns)] * 3
    known = condition.context(condition.spread(9))
    flags = list(itertools.accumulate(column.width + 1 for column in condition.columns))
    assert not known[:, [end - 1 for end in flags]].any()
    plain = Condition.from_config(
        {name: {**column, "optional": False} for name, column in condition.described().items()}
    )
    rest = [place for place in range(condition.width) if place + 1 not in flags]
    torch.testing.assert_close(known[:, rest], plain.context(plain.spread(9)), rtol=0, atol=0)


def test_the_context_of_a_class_is_its_one_hot_vector() -> None:
    y = torch.randint(10, (50,))
    assert torch.equal(Condition.of_classes(10).context(y), F.one_hot(y, 10).float())


def test_a_number_is_standardised_and_flags_are_0_and_1() -> None:
    y = ALL.parse({"angle": [28.0, 2.0], "digit": 3, "face": ["beard"], "pet": "dog"})
    context = ALL.context(y)
    assert context[:, 0].tolist() == [1.0, 0.0]
    assert context[:, 1:11].argmax(1).tolist() == [3, 3]
    assert context[:, 11:].tolist() == [[0, 1, 0, 1]] * 2


@pytest.mark.parametrize("condition", EVERY)
def test_hidden_labels_are_unknown_one_column_at_a_time(condition: Condition) -> None:
    y = condition.spread(4000)
    assert torch.equal(condition.hidden(y, 0.0).nan_to_num(-7), y.nan_to_num(-7))
    assert torch.equal(condition.hidden(y, 1.0).nan_to_num(-7), condition.unknown(4000).nan_to_num(-7))
    hidden = condition.with_unknown().context(condition.hidden(y, 0.3))
    for end in itertools.accumulate(column.width + 1 for column in condition.columns):
        assert float(hidden[:, end - 1].mean()) == pytest.approx(0.3, abs=0.03)


def test_the_main_column_is_the_first_one_of_classes() -> None:
    y = ALL.parse({"angle": 0.5, "digit": [3, 9, 0], "face": [], "pet": "cat"})
    assert ALL.classes(y).tolist() == [3, 9, 0]
    assert ALL.groups(y).tolist() == [3, 9, 0]
    optional = ALL.with_unknown()
    assert optional.classes(optional.unknown(2)).tolist() == [-1, -1]
    assert optional.groups(optional.unknown(2)).tolist() == [10, 10]
    assert FACES.groups(FACES.spread(5)).tolist() == [0] * 5
    assert (optional.num_groups, ALL.num_groups, FACES.num_groups) == (11, 10, 0)


def test_numbers_of_a_spread_cover_their_range_evenly() -> None:
    angles = TURNED.spread(1000)[:, 1]
    assert -45 <= float(angles.min()) < -44 < 44 < float(angles.max()) <= 45
    counts = torch.histc(angles, 10, -45, 45)
    assert float((counts - 100).abs().max()) <= 3


def test_all_combinations_of_flags_occur() -> None:
    assert len({tuple(row) for row in FACES.spread(8).tolist()}) == 8


def test_a_class_is_given_by_its_name_or_its_number() -> None:
    assert PETS.parse(["dog", 0, "grey parrot"]).tolist() == [1, 0, 2]
    assert PETS.parse("dog", num=3).tolist() == [1, 1, 1]
    assert PETS.parse({"pet": "dog"}).tolist() == [1]
    assert PETS.parse(np.array([2, 1])).tolist() == [2, 1]
    assert PETS.parse(torch.tensor(2), num=2).tolist() == [2, 2]
    assert PETS.with_unknown().parse([None, "cat"]).tolist() == [-1, 0]
    assert PETS.with_unknown().parse({}, num=2).tolist() == [-1, -1]


def test_a_name_that_looks_like_a_number_comes_before_the_number() -> None:
    condition = Condition.from_config({"digit": ["3", "7", "1"]})
    assert condition.parse([3, 7, 0]).tolist() == [0, 1, 0]
    assert condition.parse(1).tolist() == [2]


def test_labels_of_several_columns_are_given_by_a_mapping() -> None:
    y = TURNED.parse({"angle": [30, -10.5], "digit": 3})
    assert y.tolist() == [[3, 30], [3, -10.5]]
    assert TURNED.written(y) == ["digit 3, angle 30", "digit 3, angle -10.5"]
    unknown = TURNED.with_unknown().parse({"digit": [3, None]}, num=2)
    assert TURNED.with_unknown().written(unknown) == [
        f"digit 3, {UNKNOWN} angle",
        f"{UNKNOWN} digit, {UNKNOWN} angle",
    ]
    assert TURNED.with_unknown().parse(7).isnan().tolist() == [[False, True]]
    assert torch.equal(TURNED.parse(y, num=2), y)
    assert FACES.parse({"smiles": [["hat"], [], ["hat", "glasses"]]}).tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 1]]
    assert FACES.written(FACES.parse({"smiles": [["hat", "glasses"], []]})) == ["hat+glasses", "no smiles"]


REFUSED: list[tuple[Condition, Any, str]] = [
    (PETS, "mouse", r"one of cat, dog, grey parrot \(labels\), got 'mouse'"),
    (PETS, 3, r"labels in 0\.\.2 \(labels\), got 3"),
    (PETS, -1, r"labels in 0\.\.2 \(labels\), got -1"),
    (PETS, [0, 1.5], r"one of cat, dog, grey parrot \(pet\)|an integer"),
    (PETS, None, r"a class \(labels\), got 'none'\. .* model\.label_dropout=0\.1"),
    (PETS, {"animal": "cat"}, r"the columns pet \(condition\), got 'animal'. For example 'condition=\{pet: cat\}'"),
    (PETS, {}, r"a value \(pet\), got 'none'. .* model\.label_dropout"),
    (TURNED, {"digit": 3}, r"a value \(angle\), got 'none'"),
    (TURNED, 3, r"a value \(angle\), got 'none'"),
    (TURNED, {"digit": 12, "angle": 0}, r"one of 0, 1, .* \(digit\), got 12"),
    (TURNED, {"digit": 1, "angle": "steep"}, r"a finite number \(angle\), got 'steep'. The images have -45 to 45"),
    (TURNED, {"digit": 1, "angle": float("nan")}, r"a finite number \(angle\), got nan"),
    (TURNED, {"digit": 1, "angle": True}, r"a finite number \(angle\), got True"),
    (TURNED, {"digit": [1, 2], "angle": [1, 2, 3]}, r"one value or 3 values \(digit\), got '2 values'"),
    (TURNED, {"digit": [], "angle": 1}, r"at least one value \(digit\)"),
    (TURNED, torch.zeros(4, 3), r"the shape \(batch, 2\) \(condition\), got \(4, 3\)"),
    (FACES, {"smiles": ["hat", "crown"]}, r"a list of hat, beard, glasses \(smiles\), got \['hat', 'crown'\]"),
    (FACES, {"smiles": 3}, r"a list of hat, beard, glasses \(smiles\), got 3"),
    (FACES, "hat", r"a value for smiles \(condition\), got 'hat'. For example 'condition=\{smiles: \[hat\]\}'"),
]


@pytest.mark.parametrize(("condition", "given", "sentence"), REFUSED, ids=[str(given) for _, given, _ in REFUSED])
def test_what_a_condition_does_not_have_is_refused_in_a_sentence(
    condition: Condition, given: Any, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        condition.parse(given)


@pytest.mark.parametrize(
    "description",
    [
        0,
        -1,
        1.5,
        True,
        "cat",
        [],
        ["a", "a"],
        {"flags": ["a", "a"]},
        {"classes": []},
        {"flags": []},
        {"mean": 0, "std": 0, "low": 0, "high": 0},
        None,
    ],
)
def test_a_column_that_describes_nothing_is_refused(description: Any) -> None:
    with pytest.raises(UserError, match=r"\(data\.condition\.x"):
        Condition.from_config({"x": description})


@pytest.mark.parametrize(
    ("low", "high", "value", "text"),
    [
        (1900, 2020, 1995, "year 1995"),
        (-45, 45, 29.99, "year 30"),
        (0, 0.01, 0.00251, "year 0.00251"),
        (0, 1e6, 123456, "year 123456"),
    ],
)
def test_a_number_is_written_with_the_digits_that_its_range_needs(
    low: float, high: float, value: float, text: str
) -> None:
    assert Condition((Number("year", 0, 1, low, high),)).written(torch.tensor([[value]])) == [text]


def test_without_its_class_a_label_keeps_all_else() -> None:
    y = ALL.with_unknown().parse({"angle": 0.5, "digit": 3, "face": ["hat"], "pet": "dog"})
    hidden = ALL.without_class(y)
    assert hidden.isnan().tolist() == [[False, True, False, False, False]]
    assert torch.equal(hidden.nan_to_num(3), y)
    assert PETS.without_class(torch.tensor([0, 2])).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        (Condition.of_classes(10), "Pass for example [2, 7, 9]."),
        (PETS, "Pass for example ['cat', 'dog', 'grey parrot']."),
        (TURNED, "Pass for example {'digit': '0', 'angle': 2}."),
    ],
)
def test_an_example_can_be_passed(condition: Condition, sentence: str) -> None:
    assert condition.labels_example == sentence
    condition.parse(eval(sentence.removeprefix("Pass for example ").removesuffix(".")))
