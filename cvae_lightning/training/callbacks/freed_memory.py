"""Memory that one training step frees is kept for the next."""

import ctypes
import sys

from pytorch_lightning import Callback, LightningModule, Trainer

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
GLIBC_MAXIMUM = 2**25  # the largest threshold that glibc sets by itself


class KeepFreedMemory(Callback):
    """Makes glibc keep freed blocks of up to `max_bytes` while the trainer runs, instead of returning them at once.

    A step allocates about twenty tensors of a few MB. If the system has to map and clear their pages each time (2,450
    page faults per step of the paper's CVAE), that costs more than the arithmetic. This only affects Linux with glibc.
    """

    def __init__(self, max_bytes: int = 2**29) -> None:
        self.max_bytes = max_bytes

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        _set_thresholds(self.max_bytes)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        _set_thresholds(GLIBC_MAXIMUM)


def _set_thresholds(num_bytes: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, num_bytes)
        mallopt(M_TRIM_THRESHOLD, 2 * num_bytes)  # glibc's own proportion
