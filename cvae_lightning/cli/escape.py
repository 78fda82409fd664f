"""A way out of Hydra for exceptions.

Hydra itself turns an exception in a callback into a warning and goes on, and prints a line of its own about an
exception in a run.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class Escape(BaseException):
    """Carries `error` out of Hydra; without an error, it means that nothing is left to do."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        super().__init__(error)


@contextmanager
def errors_wrapped() -> Iterator[None]:
    """A context for code that Hydra calls: an exception leaves it as an Escape, which Hydra does not catch."""
    try:
        yield
    except Exception as error:
        raise Escape(error) from error


@contextmanager
def errors_unwrapped() -> Iterator[None]:
    """A context for the call of Hydra, which raises the error that an Escape carries, if it carries one."""
    error = None
    try:
        yield
    except Escape as escape:
        error = escape.error
    if error:
        raise error
