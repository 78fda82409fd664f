"""A picture with its arrays, as a drawing command writes it."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from torch import Tensor

from cvae_lightning.core.archives import Parts, write_npz
from cvae_lightning.core.errors import UserError, quoted
from cvae_lightning.core.pictures import write_png

log = logging.getLogger(__name__)

Arrays: TypeAlias = Mapping[str, Tensor | npt.NDArray[np.str_] | Parts]
"""The arrays of a picture by their names."""


class Picture(NamedTuple):
    """A figure and the arrays behind it, which hold all images even if the figure has room only for the first."""

    name: str
    figure: Figure
    arrays: Arrays

    def write(self, folder: Path, formats: Sequence[str]) -> None:
        """Write <name>.png and <name>.npz, or the one that `formats` has, and log their paths.

        Raises UserError if `folder` cannot be made or written to.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if "png" in formats:
                write_png(self.figure, folder / f"{self.name}.png")
                log.info("%s", folder / f"{self.name}.png")
            if "npz" in formats:
                arrays = {key: _in_numpy(array) for key, array in self.arrays.items()}
                write_npz(folder / f"{self.name}.npz", arrays)
                log.info("%s (%s)", folder / f"{self.name}.npz", ", ".join(arrays))
        except OSError as error:
            got = f"{quoted(folder)} ({error})"
            raise UserError(f"Expected a folder to write to (out), got {got}. Name another.") from error


def _in_numpy(array: Tensor | npt.NDArray[Any] | Parts) -> npt.NDArray[Any] | Parts:
    return array.numpy() if isinstance(array, Tensor) else array
