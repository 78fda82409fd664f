"""Memory that one step of the work frees is kept for the next."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
GLIBC_MAXIMUM = 2**25  # the largest threshold that glibc sets by itself
MOST = 2**29

_in_force = [GLIBC_MAXIMUM]


@contextmanager
def freed_memory_kept(max_bytes: int = MOST) -> Iterator[None]:
    """Make glibc keep freed blocks of up to `max_bytes`, instead of returning them to the system at once.

    A training step allocates about twenty tensors of a few MB, and an evaluator many more. If the system has to map and
    clear their pages each time (2,450 page faults per step of the paper's CVAE), that costs more than the arithmetic.
    This only affects Linux with glibc. The contexts of several callers may overlap.
    """
    _in_force.append(max_bytes)
    _set_thresholds(max(_in_force))
    try:
        yield
    finally:
        _in_force.remove(max_bytes)
        _set_thresholds(max(_in_force))


def _set_thresholds(num_bytes: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, num_bytes)
        mallopt(M_TRIM_THRESHOLD, 2 * num_bytes)  # glibc's own proportion
