"""A way out of Hydra for exceptions with which it does something else than to raise them."""

from collections.abc import Iterator
from contextlib import contextmanager


class Escape(BaseException):
    """Carries `error` through Hydra to the invocation; without one, the command is done."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        super().__init__(error)


@contextmanager
def escaping() -> Iterator[None]:
    """Raise an exception as Escape.

    Hydra turns an exception of a callback into a warning and goes on, and prints a line of its own about one of a run.
    """
    try:
        yield
    except Exception as error:
        raise Escape(error) from error
