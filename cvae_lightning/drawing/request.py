"""The keys that all drawing commands share: the run, the folder to write to, the formats and the seed."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from cvae_lightning.core.capacity import check_memory, check_room
from cvae_lightning.core.errors import check_seed, refuse
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import run_and_output

FORMATS = {"png": ("png",), "npz": ("npz",), "both": ("png", "npz")}


@dataclass(frozen=True)
class Request:
    """What a drawing command is asked to do: the common keys, checked, and in `keys` its whole configuration."""

    run: Run
    folder: Path
    formats: tuple[str, ...]
    seed: int
    keys: DictConfig

    @classmethod
    def from_config(cls, config: DictConfig) -> "Request":
        """Raises UserError for an invalid value of `format`, `seed` or `run`, or if the run is incomplete."""
        if config.format not in FORMATS:
            refuse("png, npz or both", "format", config.format, "both is the default.")
        seed = check_seed("seed", config.seed)
        run, folder = run_and_output(config.run, config.out, "samples")
        return cls(run, folder, FORMATS[config.format], seed, config)

    def check_capacity(self, what: str, arrays: int, memory: int) -> None:
        """Raises UserError if `arrays` bytes do not fit on the disk, or `memory` bytes are not available.

        `what` is the key, with its value, that makes the drawing large, such as "num=1000".
        """
        if "npz" in self.formats:
            check_room(self.folder, arrays, what, "Lower it, or name a folder on a larger disk (out).")
        check_memory(memory, what, "Lower it.")
