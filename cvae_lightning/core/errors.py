"""Errors that a person can fix: one sentence each, shown without a traceback."""

import math
from numbers import Integral, Real
from typing import Any, NoReturn


class UserError(ValueError):
    """A user-facing error. Its message says what was expected of which key, what came instead, and what to do."""


class NonFiniteLoss(UserError):
    """The loss became nan or infinite; raised before the optimiser step, so the weights are still finite."""


class DataUnavailable(UserError):
    """The data set is not on this machine and could not be fetched."""


def refuse(what: str, key: str, got: object, remedy: str) -> NoReturn:
    """Raise a UserError: "Expected <what> (<key>), got <got>. <remedy>"."""
    raise UserError(f"Expected {what} ({key}), got {got!r}. {remedy}")


def check_integer(key: str, value: Any, minimum: int, remedy: str) -> int:
    """`value`, where it is an integer of at least `minimum` that torch can count to."""
    if isinstance(value, bool) or not isinstance(value, Integral) or (number := int(value)) < minimum:
        refuse(f"an integer of at least {minimum}", key, value, remedy)
    if number >= 2**63:
        refuse("an integer below 2 ** 63", key, value, remedy)
    return number


def check_boolean(key: str, value: Any, remedy: str) -> bool:
    """`value`, where it is true or false."""
    if not isinstance(value, bool):
        refuse("true or false", key, value, remedy)
    return value


def check_seed(key: str, value: Any) -> int:
    """`value`, where all random streams can begin with it."""
    if check_integer(key, value, 0, "Any other seed will do.") >= 2**32:
        refuse("an integer below 2 ** 32", key, value, "Any other seed will do.")
    return int(value)


def check_positive(key: str, value: Any, remedy: str) -> float:
    """`value`, where it is a finite number above 0."""
    if not _is_finite_number(value) or value <= 0:
        refuse("a finite number above 0", key, value, remedy)
    return float(value)


def check_not_negative(key: str, value: Any, remedy: str) -> float:
    """`value`, where it is a finite number of at least 0."""
    if not _is_finite_number(value) or value < 0:
        refuse("a finite number of at least 0", key, value, remedy)
    return float(value)


def check_fraction(key: str, value: Any, remedy: str) -> float:
    """`value`, where it is a number between 0 and 1, neither of them included."""
    if not _is_finite_number(value) or not 0 < value < 1:
        refuse("a number between 0 and 1", key, value, remedy)
    return float(value)


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
