"""Numbers too small for their usual form."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Take numbers below 1e-38 for zero, in this thread and in those that it starts meanwhile.

    Where a gradient is always zero, such as that of a unit that is never active, Adam's running means get smaller with
    every step. After 800 steps processors compute with them many times slower than with other numbers, or with zero.
    """
    before = sys.float_info.min / 2 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
