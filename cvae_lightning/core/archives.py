"""Writing .npz files, whose arrays may be larger than memory."""

from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import numpy.typing as npt

from cvae_lightning.core.files import whole_file

FLOAT32 = np.dtype("f4")


class Parts(NamedTuple):
    """A float32 array of a given shape, as consecutive parts along its first axis, which are computed one at a time."""

    shape: tuple[int, ...]
    parts: Iterable[npt.NDArray[np.float32]]

    @property
    def nbytes(self) -> int:
        """The size of the whole array in bytes."""
        return prod(self.shape) * FLOAT32.itemsize


def write_npz(path: Path, arrays: Mapping[str, npt.NDArray[np.generic] | Parts]) -> None:
    """Write the file that `np.savez_compressed` would, atomically, and with one part of each `Parts` in memory."""
    size = sum(array.nbytes for array in arrays.values())
    with whole_file(path, size) as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                if not isinstance(array, Parts):
                    np.lib.format.write_array(entry, array, allow_pickle=False)
                    continue
                header = {"descr": FLOAT32.str, "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_1_0(entry, header)
                for part in array.parts:
                    entry.write(part.tobytes())
