"""Imports of large libraries, without a search for garbage among what they make."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """A context for imports of torch: three quarters of the usual time.

    They make a million objects, none of which is garbage. Python's collector would look through all of them again and
    again meanwhile; afterwards, it leaves them alone for as long as the process runs.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
