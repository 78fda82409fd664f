"""A run directory, which explains itself: read by whoever wants a result, written by the training."""

import hashlib
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cvae_lightning.build import build
from cvae_lightning.errors import UserError, refuse
from cvae_lightning.models.vae import VAE


class Run:
    """A run directory; nothing is read before it is asked for, and nothing in it is executed.

    >>> run = Run("outputs/2026-01-01/12-00-00")
    >>> run.model().sample([2, 7, 9])
    """

    def __init__(self, path: str | Path, key: str = "run") -> None:
        """Raises UserError, naming the `key` that `path` came from, where it is not a run directory."""
        self.path = Path(path)
        if not self._config_file.is_file():
            refuse("a run directory, which holds .hydra/config.yaml", key, str(path), "Name a folder of a past run.")

    @property
    def complete(self) -> bool:
        """metrics.json is written last, so its presence says that the run ended well."""
        return self._metrics_file.is_file()

    @cached_property
    def raw_config(self) -> DictConfig:
        """The configuration as it was composed, interpolations kept."""
        config = OmegaConf.load(self._config_file)
        assert isinstance(config, DictConfig)
        return config

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return OmegaConf.to_container(self.raw_config, resolve=True)  # type: ignore[return-value]  # a dict, as YAML was

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """metrics.json. Raises UserError while the run is incomplete."""
        if not self.complete:
            remedy = f"Continue it: python -m cvae_lightning resume={self.path}"
            refuse("a complete run, which holds metrics.json", "run", str(self.path), remedy)
        return json.loads(self._metrics_file.read_text())

    def model(self) -> VAE:
        """The trained model, in evaluation mode. Raises UserError where its weights are not those of metrics.json."""
        weights = self._weights_file
        if not weights.is_file() or _sha256(weights) != self.metrics["weights_sha256"]:
            raise UserError(f"Expected the weights that metrics.json names, got others in {weights}. Train again.")
        try:
            state = load_file(weights)
        except SafetensorError as error:
            raise UserError(f"Expected weights as safetensors, got {weights} ({error}). Train again.") from error
        model: VAE = build(self.raw_config.model)
        model.load_state_dict(state)
        return model.eval()

    def write_result(self, weights: dict[str, Tensor], metrics: dict[str, Any]) -> None:
        """Write model.safetensors, then metrics.json with its digest: with that, the run is complete."""
        partial = self._weights_file.with_suffix(".part")
        save_file(weights, partial)
        os.replace(partial, self._weights_file)
        result = {**metrics, "weights_sha256": _sha256(self._weights_file)}
        _write(self._metrics_file, json.dumps(result, indent=1, allow_nan=False) + "\n")

    def discard_unless_begun(self) -> None:
        """Remove what was written before the training began; a run that has a checkpoint is left alone."""
        if (self.path / "checkpoints").exists():
            return
        for pattern in (".hydra/*.yaml", "train.log", "hparams.yaml", "events.out.tfevents.*"):
            for file in self.path.glob(pattern):
                file.unlink()
        for folder in (self.path / ".hydra", self.path):
            if not any(folder.iterdir()):
                folder.rmdir()

    def replace_config(self, key: str, value: DictConfig) -> None:
        """Change what the configuration says of `key`, in the run directory too."""
        self.raw_config[key] = value
        _write(self._config_file, OmegaConf.to_yaml(self.raw_config))

    @property
    def _config_file(self) -> Path:
        return self.path / ".hydra" / "config.yaml"

    @property
    def _metrics_file(self) -> Path:
        return self.path / "metrics.json"

    @property
    def _weights_file(self) -> Path:
        return self.path / "model.safetensors"


def _write(path: Path, text: str) -> None:
    """Write a file that is whole at any time."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text)
    os.replace(partial, path)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
