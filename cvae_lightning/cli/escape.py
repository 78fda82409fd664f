"""A way out of Hydra for exceptions that it would not simply raise.

It turns an exception of a callback into a warning and goes on, and prints a line of its own about one of a run.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class Escape(BaseException):
    """Carries `error` out of Hydra; without an error, nothing is left to be done."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        super().__init__(error)


@contextmanager
def escaping() -> Iterator[None]:
    """Inside Hydra: raise an exception as Escape."""
    try:
        yield
    except Exception as error:
        raise Escape(error) from error


@contextmanager
def escaped() -> Iterator[None]:
    """Around Hydra: raise the exception itself again."""
    error = None
    try:
        yield
    except Escape as escape:
        error = escape.error
    if error:
        raise error
