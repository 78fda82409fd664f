"""Imports of large libraries, without what they make and never use."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

SIGNAL = "scipy.signal"


@contextmanager
def quick_imports() -> Iterator[None]:
    """A context for imports of torch and torchmetrics: two thirds of the usual time.

    They make a million objects, none of which is garbage. Python's collector would look through all of them again and
    again meanwhile; afterwards, it leaves them alone for as long as the process runs. `scipy.signal`, with half of
    scipy behind it, is imported once something of it is used.
    """
    collects = gc.isenabled()
    gc.disable()
    later = sys.modules.setdefault(SIGNAL, _Signal(SIGNAL))
    try:
        yield
    finally:
        if isinstance(later, _Signal) and sys.modules.get(SIGNAL) is later:
            del sys.modules[SIGNAL]
        gc.freeze()
        if collects:
            gc.enable()


class _Signal(ModuleType):
    """Stands in for `scipy.signal`, to which torchmetrics only adds a name, for a library that it may use for sound."""

    hamming = None

    def __getattr__(self, name: str) -> Any:
        if name == "__file__":  # which `inspect` asks of every module
            raise AttributeError(name)
        if sys.modules.get(SIGNAL) is self:
            del sys.modules[SIGNAL]
        return getattr(import_module(SIGNAL), name)
