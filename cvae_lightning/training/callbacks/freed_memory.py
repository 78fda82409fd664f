"""Memory that a training step frees and takes again."""

import ctypes
import sys

from pytorch_lightning import Callback, LightningModule, Trainer

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
GLIBC_MAXIMUM = 2**25  # as far as glibc raises its threshold by itself


class KeepFreedMemory(Callback):
    """While the trainer runs, glibc keeps freed blocks of up to `max_bytes` instead of giving them back at once.

    A step takes some twenty tensors of a few MB anew. Having the system fetch and clear their pages each time (2,450
    page faults a step of the paper's CVAE) costs more than the arithmetic on them. No effect but on Linux with glibc.
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
