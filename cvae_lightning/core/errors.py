"""Errors that a person can fix: one sentence each, shown without a traceback."""

import math
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any, NoReturn


class UserError(ValueError):
    """A user-facing error: its message says what was expected of which key, what came instead, and what to do."""


class NonFiniteLoss(UserError):
    """The loss became nan or infinite; raised before the optimiser step, so the weights are still finite."""


class DataUnavailable(UserError):
    """The data set is not on this machine and could not be fetched."""


def refuse(what: str, key: str, got: object, remedy: str) -> NoReturn:
    """Raise a UserError: "Expected <what> (<key>), got <got>. <remedy>"."""
    raise UserError(f"Expected {what} ({key}), got {quoted(got)}. {remedy}")


def quoted(value: object) -> str:
    """A value or a path as Python writes a string, but each backslash once: a path of Windows stays as it is."""
    return repr(str(value) if isinstance(value, PurePath) else value).replace("\\\\", "\\")


def check_integer(key: str, value: Any, minimum: int, remedy: str) -> int:
    """`value`, if it is an integer of at least `minimum` that fits in 64 bits. Raises UserError otherwise."""
    if isinstance(value, bool) or not isinstance(value, Integral) or (number := int(value)) < minimum:
        refuse(f"an integer of at least {minimum}", key, value, remedy)
    if number >= 2**63:
        refuse("an integer below 2 ** 63", key, value, remedy)
    return number


def check_boolean(key: str, value: Any, remedy: str) -> bool:
    """`value`, if it is true or false. Raises UserError otherwise."""
    if not isinstance(value, bool):
        refuse("true or false", key, value, remedy)
    return value


def check_seed(key: str, value: Any) -> int:
    """`value`, if it can seed every random stream: an integer in 0..2**32-1. Raises UserError otherwise."""
    if check_integer(key, value, 0, "Any other seed will do.") >= 2**32:
        refuse("an integer below 2 ** 32", key, value, "Any other seed will do.")
    return int(value)


def check_positive(key: str, value: Any, remedy: str) -> float:
    """`value`, if it is a finite number above 0. Raises UserError otherwise."""
    if not _is_finite_number(value) or value <= 0:
        refuse("a finite number above 0", key, value, remedy)
    return float(value)


def check_not_negative(key: str, value: Any, remedy: str) -> float:
    """`value`, if it is a finite number of at least 0. Raises UserError otherwise."""
    if not _is_finite_number(value) or value < 0:
        refuse("a finite number of at least 0", key, value, remedy)
    return float(value)


def check_fraction(key: str, value: Any, remedy: str) -> float:
    """`value`, if it is a number between 0 and 1, neither of them included. Raises UserError otherwise."""
    if not _is_finite_number(value) or not 0 < value < 1:
        refuse("a number between 0 and 1", key, value, remedy)
    return float(value)


def check_share(key: str, value: Any, remedy: str) -> float:
    """`value`, if it is a number of at least 0 and below 1. Raises UserError otherwise."""
    if not _is_finite_number(value) or not 0 <= value < 1:
        refuse("a number of at least 0 and below 1", key, value, remedy)
    return float(value)


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
