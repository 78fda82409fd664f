"""Images that are mapped from a file into memory, and are read from the disk when they are used."""

import mmap
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from cvae_lightning.core.capacity import available_memory
from cvae_lightning.core.shapes import ByteImages, Labels

MOST_OF_MEMORY = 0.7  # that a file may take for the system to keep all of it

_larger_than_memory: dict[int, mmap.mmap] = {}
"""The maps that do not fit into memory, by the address of their first byte."""


def mapped_images(file: Path, shape: Sequence[int]) -> ByteImages:
    """The images (N, C, H, W) that `file` holds; they can only be read.

    A file that fits into memory is read from the disk in large parts, whichever image is used. Of a larger one, which
    would push its own parts out of memory, only the images that are used are read; `read_ahead` makes that fast.
    """
    with file.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")  # nobody writes to a split
        images = torch.frombuffer(mapped, dtype=torch.uint8).reshape(*shape)
    if sys.platform != "win32" and images.nbytes > MOST_OF_MEMORY * available_memory():
        mapped.madvise(mmap.MADV_RANDOM)
        _larger_than_memory[images.data_ptr()] = mapped
    return images


def read_ahead(images: ByteImages, index: Labels) -> None:
    """Let the system begin to read the images at the positions `index` from the disk, all at once and without waiting.

    This does nothing for images that are in memory or fit into it.
    """
    mapped = _larger_than_memory.get(images.data_ptr())
    if sys.platform != "win32" and mapped is not None:
        size = images[0].nbytes
        for position in index.tolist():
            start = position * size // mmap.PAGESIZE * mmap.PAGESIZE
            mapped.madvise(mmap.MADV_WILLNEED, start, (position + 1) * size - start)
