"""Values are checked once, at the border, and refused by name."""

from pathlib import PureWindowsPath
from typing import Any

import pytest

from cvae_lightning.core.errors import UserError, check_integer, check_not_negative, check_positive, refuse


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None, True, float("nan")])
def test_integers_below_the_minimum_and_other_things_are_refused(value: Any) -> None:
    with pytest.raises(UserError) as caught:
        check_integer("epochs", value, 1, "The paper uses 10 to 50.")
    expected = f"Expected an integer of at least 1 (epochs), got {value!r}. The paper uses 10 to 50."
    assert str(caught.value) == expected


@pytest.mark.parametrize("value", [-1, "0.1", None, False, float("nan"), float("inf"), [1]])
def test_numbers_out_of_range_and_other_things_are_refused(value: Any) -> None:
    for check, least in ((check_positive, "above 0"), (check_not_negative, "of at least 0")):
        with pytest.raises(UserError, match=rf"Expected a finite number {least} \(beta\), got "):
            check("beta", value, "Try 1.")


def test_a_path_of_windows_is_shown_as_it_is() -> None:
    for path in (r"D:\scans\new", r"\\server\scans", PureWindowsPath(r"D:\scans")):
        with pytest.raises(UserError) as caught:
            refuse("a folder", "data.path", path, "Name another.")
        assert str(caught.value) == f"Expected a folder (data.path), got '{path}'. Name another."


def test_what_is_in_range_is_returned() -> None:
    assert check_integer("seed", 0, 0, "") == 0
    assert check_positive("lr", 1, "") == 1.0
    assert check_not_negative("beta", 0, "") == 0.0
