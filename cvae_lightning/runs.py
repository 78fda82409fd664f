"""A run directory, which explains itself: read by whoever wants a result, written by the training."""

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from cvae_lightning.build import build, load_group
from cvae_lightning.comparison import first_difference
from cvae_lightning.errors import UserError, refuse
from cvae_lightning.files import sha256_of, write_whole

if TYPE_CHECKING:  # a run directory is read without waiting for torch
    from torch import Tensor

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

    @classmethod
    def begin(
        cls, path: Path, config: DictConfig, overrides: Sequence[str] = (), hydra: DictConfig | None = None
    ) -> "Run":
        """The run of `config` in the directory `path`: a new one, or the one that was begun there earlier.

        Raises UserError where a run of another configuration was begun there; nothing in it is changed.
        """
        if (path / ".hydra" / "config.yaml").is_file():
            run = cls(path)
            different = run._difference(config)
            if different is None:
                run._failure_file.unlink(missing_ok=True)
                return run
            if run.begun:
                refuse(
                    "the configuration of the run in this directory",
                    "hydra.run.dir",
                    str(path),
                    f"{different} Name another.",
                )
        (path / ".hydra").mkdir(parents=True, exist_ok=True)
        for name, content in (("hydra", hydra), ("overrides", OmegaConf.create(list(overrides))), ("config", config)):
            if content is not None:
                write_whole(path / ".hydra" / f"{name}.yaml", OmegaConf.to_yaml(content))
        (path / "error.txt").unlink(missing_ok=True)
        return cls(path)

    @property
    def complete(self) -> bool:
        """metrics.json is written last, so its presence says that the run ended well."""
        return self._metrics_file.is_file()

    @property
    def begun(self) -> bool:
        """Whether something was trained that would be lost."""
        return self.complete or (self.path / "checkpoints").exists()

    @property
    def failure(self) -> str | None:
        """The sentence of the error with which the run ended in a sweep, where it failed."""
        return self._failure_file.read_text().strip() if self._failure_file.is_file() and not self.complete else None

    @property
    def status(self) -> str:
        """complete, failed or interrupted; a run that goes on at the moment reads as interrupted."""
        return "complete" if self.complete else "failed" if self.failure else "interrupted"

    @cached_property
    def overrides(self) -> list[str]:
        """The keys that its command, or its place in a sweep, set."""
        file = self.path / ".hydra" / "overrides.yaml"
        return [str(override) for override in OmegaConf.load(file)] if file.is_file() else []

    @property
    def family(self) -> dict[str, Any]:
        """The configuration without the number of epochs.

        A shorter run of the same family is a prefix of this one: what depends on the total length, such as a learning
        rate schedule, takes it from ${epochs}, and thereby differs.
        """
        config = self.config
        del config["epochs"], config["trainer"]["max_epochs"]
        return config

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

    @property
    def objective(self) -> float | None:
        """The val metric that the configuration names; None where the model has none: a failed trial of a search."""
        return self.metrics["val"][self.raw_config.objective.removeprefix("val/")]

    def model(self) -> "VAE":
        """The trained model, in evaluation mode. Raises UserError where its weights are not those of metrics.json."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        weights = self._weights_file
        if not weights.is_file() or sha256_of(weights) != self.metrics["weights_sha256"]:
            raise UserError(f"Expected the weights that metrics.json names, got others in {weights}. Train again.")
        try:
            state = load_file(weights)
        except SafetensorError as error:
            raise UserError(f"Expected weights as safetensors, got {weights} ({error}). Train again.") from error
        model: VAE = build(self.raw_config.model)
        model.load_state_dict(state)
        return model.eval()

    def write_result(self, weights: "dict[str, Tensor]", metrics: dict[str, Any]) -> None:
        """Write model.safetensors, then metrics.json with its digest: with that, the run is complete."""
        from safetensors.torch import save_file

        partial = self._weights_file.with_suffix(".part")
        save_file(weights, partial)
        os.replace(partial, self._weights_file)
        result = {**metrics, "weights_sha256": sha256_of(self._weights_file)}
        write_whole(self._metrics_file, json.dumps(result, indent=1, allow_nan=False) + "\n")

    def write_failure(self, sentence: str) -> None:
        """Note why the run failed, for whoever reads the sweep."""
        write_whole(self._failure_file, sentence + "\n")

    def discard_unless_begun(self) -> None:
        """Remove what was written before the training began; a run that has a checkpoint is left alone."""
        if self.begun:
            return
        for pattern in (".hydra/*.yaml", "train.log", "hparams.yaml", "events.out.tfevents.*"):
            for file in self.path.glob(pattern):
                file.unlink()
        for folder in (self.path / ".hydra", self.path):
            if not any(folder.iterdir()):
                folder.rmdir()

    def fall_back(self) -> str:
        """Make the data set that `data.fallback` names the run's own, in its directory too; return its name."""
        name, binarize = str(self.raw_config.data.fallback), self.raw_config.data.binarize
        self.raw_config.data = load_group("data", name)
        self.raw_config.data.binarize = binarize
        write_whole(self._config_file, OmegaConf.to_yaml(self.raw_config))
        return name

    def _difference(self, config: DictConfig) -> str | None:
        """Where `config` differs from the run's own; its data may be those that the run fell back to."""
        if config.data.fallback == self.raw_config.data.name:
            config = OmegaConf.merge(config, {})  # type: ignore[assignment]  # a copy
            config.data = OmegaConf.merge(self.raw_config.data, {"binarize": config.data.binarize})
        return first_difference(self.config, OmegaConf.to_container(config, resolve=True))

    @property
    def _config_file(self) -> Path:
        return self.path / ".hydra" / "config.yaml"

    @property
    def _failure_file(self) -> Path:
        return self.path / "error.txt"

    @property
    def _metrics_file(self) -> Path:
        return self.path / "metrics.json"

    @property
    def _weights_file(self) -> Path:
        return self.path / "model.safetensors"
