"""A run directory: everything about one training, written by the training and read by all other commands."""

import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError

from cvae_lightning.core import plugins
from cvae_lightning.core.build import build, load_group, plugins_to_record
from cvae_lightning.core.errors import UserError, quoted, refuse
from cvae_lightning.core.files import read_json, refuse_links_out_of, sha256_of, write_whole
from cvae_lightning.core.locks import holder
from cvae_lightning.core.shell import command_line, path_argument
from cvae_lightning.runs import pretrained
from cvae_lightning.runs.configuration import (
    KEPT_IN_FALLBACK,
    difference,
    is_described,
    read_config,
    with_values,
)
from cvae_lightning.runs.metrics_file import Metrics, StoredMetrics, read_metrics, write_metrics

if TYPE_CHECKING:  # a run directory is read without waiting for torch
    from torch import Tensor

    from cvae_lightning.core.conditions import AnyCondition, Condition
    from cvae_lightning.core.shapes import AnyImages, AnyLabels, Images, Latents
    from cvae_lightning.models.vae import VAE

CONFIG, METRICS, WEIGHTS, FAILURE = ".hydra/config.yaml", "metrics.json", "model.safetensors", "error.txt"
LOGGERS = "loggers.json"  # the names of the run in wandb and MLflow
DATA = "data.json"  # SHA-256 of each file that the training reads
SHARED_CONFIG = "config.yaml"  # of a folder for a model hub, since some hide a name that begins with a dot


class Run:
    """A run directory; nothing is read before it is asked for, and nothing in it is executed.

    >>> run = Run("outputs/2026-01-01/12-00-00")
    >>> run.sample([2, 7, 9], temperature=0.8)

    A folder that `export to=<folder>` wrote is read in the same way, and so is a model that comes with the package:

    >>> Run("pretrained:best").sample([2, 7, 9])
    """

    def __init__(self, path: str | Path, key: str = "run") -> None:
        """Raises UserError, naming the `key` that `path` came from, if it is not a run directory."""
        self.pretrained = pretrained.name_of(path, key) if pretrained.is_pretrained(path) else None
        self.path = pretrained.FOLDER / self.pretrained if self.pretrained else Path(str(path))  # 7 is a name too
        if not self.config_file.is_file():
            refuse("a run directory, which holds .hydra/config.yaml", key, str(path), "Name a folder of a past run.")

    @classmethod
    def begin(
        cls, path: Path, config: DictConfig, overrides: Sequence[str] = (), hydra: DictConfig | None = None
    ) -> "Run":
        """The run with the configuration `config` in the directory `path`: a new one, or the one begun there earlier.

        Raises UserError, and changes nothing, if the directory holds a run of another configuration or something else.
        Resolvers such as ${oc.env:...} are written as their values, so that the run keeps to the data it began with.
        """
        refuse_links_out_of(path, "hydra.run.dir", "Name another directory.")
        if (path / CONFIG).is_file():
            run = cls(path)
            different = difference(config, run.raw_config)
            if different is None:
                (path / FAILURE).unlink(missing_ok=True)
                return run
            if run.begun:
                raise UserError(
                    f"{quoted(path)} (hydra.run.dir) already holds a run with {different}. Choose another directory."
                )
        if (path / "README.md").exists():
            refuse("a folder without README.md", "hydra.run.dir", str(path), "The run writes its own. Name another.")
        (path / ".hydra").mkdir(parents=True, exist_ok=True)
        values = with_values(config)
        values[plugins.KEY] = plugins_to_record(values)
        contents = {"hydra": hydra, "overrides": OmegaConf.create(list(overrides)), "config": values}
        for name, content in contents.items():
            if content is not None:
                write_whole(path / ".hydra" / f"{name}.yaml", OmegaConf.to_yaml(content))
        (path / FAILURE).unlink(missing_ok=True)
        return cls(path)

    @property
    def config_file(self) -> Path:
        """Where the configuration is: in .hydra, or in a folder for a model hub beside the other files."""
        shared = self.path / SHARED_CONFIG
        is_shared = shared.is_file() and self.complete and not (self.path / CONFIG).exists()
        return shared if is_shared else self.path / CONFIG

    @property
    def complete(self) -> bool:
        """Whether the run has ended well: metrics.json is written last."""
        return (self.path / METRICS).is_file()

    @property
    def begun(self) -> bool:
        """Whether the training has written anything that could be lost."""
        return self.complete or any(self.path.glob("checkpoints/*.ckpt"))

    @property
    def failure(self) -> str | None:
        """The message of the error that ended the run in a sweep; None if it did not fail."""
        file = self.path / FAILURE
        return (
            file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() and not self.complete else None
        )

    @property
    def status(self) -> str:
        """The state of the run: complete, running, failed or interrupted."""
        if self.complete:
            return "complete"
        return "running" if self.trained_by else "failed" if self.failure else "interrupted"

    @property
    def trained_by(self) -> str | None:
        """The process that is training the run, such as "process 4242 on node7"; None if there is none."""
        return holder(self.path)

    @cached_property
    def overrides(self) -> list[str]:
        """The overrides of the run's command or of its job in a sweep, such as "lr=0.1"; interpolations are kept."""
        file = self.path / ".hydra" / "overrides.yaml"
        given = OmegaConf.to_container(OmegaConf.load(file), resolve=False) if file.is_file() else []
        if not isinstance(given, list):
            refuse("a list of overrides", str(file), type(given).__name__, "Delete it.")
        return list(map(str, given))

    @cached_property
    def choices(self) -> dict[str, str | None]:
        """The file chosen in each group of conf/, as Hydra recorded it; empty for a run without that record."""
        file = self.path / ".hydra" / "hydra.yaml"
        if not file.is_file():
            return {}
        record = OmegaConf.load(file)
        choices = OmegaConf.select(record, "hydra.runtime.choices") if isinstance(record, DictConfig) else None
        return dict(choices) if isinstance(choices, DictConfig) else {}

    @property
    def family(self) -> dict[str, Any]:
        """The configuration without its number of epochs, and without the plug-ins, which are named for each command.

        A shorter run of the same family is a prefix of this one. Whatever depends on the total length, such as a
        learning-rate schedule, refers to ${epochs}, so that its configuration differs.
        """
        config = self.config
        del config["epochs"], config["trainer"]["max_epochs"]
        config.pop(plugins.KEY, None)
        return config

    @cached_property
    def raw_config(self) -> DictConfig:
        """The configuration as it was composed, interpolations kept. Raises UserError for resolvers."""
        return read_config(self.config_file)

    def config_with(self, changes: dict[str, Any]) -> DictConfig:
        """A copy of `raw_config` with other values under some of its keys; the run itself stays as it is."""
        config = self.raw_config.copy()
        for key, value in changes.items():
            OmegaConf.update(config, key, value, merge=False)
        return config

    def data_moved_to(self, keys: DictConfig) -> dict[str, str]:
        """The changes of the configuration that a command's keys `data_dir` and `data_path` ask for.

        Raises UserError for a `data_path` if the run's data set is not found by a path.
        """
        changes = {}
        if keys.get("data_dir") is not None:
            changes["data_dir"] = str(keys.data_dir)
        if keys.get("data_path") is not None:
            if not self.raw_config.data.get("path"):
                remedy = f"{self.raw_config.data.name} is read from data_dir."
                refuse("a run on a folder or file of one's own", "data_path", str(keys.data_path), remedy)
            changes["data.path"] = str(Path(str(keys.data_path)).absolute())
        return changes

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return OmegaConf.to_container(self.raw_config, resolve=True)  # type: ignore[return-value]  # a dict, as YAML was

    @cached_property
    def metrics(self) -> StoredMetrics:
        """The content of metrics.json. Raises UserError if the run is incomplete or a value is of the wrong type."""
        if not self.complete:
            remedy = f"Continue it: {command_line('train')} {path_argument('resume', self.path)}"
            if process := self.trained_by:
                remedy = f"It is being trained by {process}; wait for it to end."
            refuse("a complete run, which holds metrics.json", "run", str(self.path), remedy)
        return read_metrics(self.path / METRICS)

    @property
    def objective(self) -> float | None:
        """The value of the val metric that the configuration names; None if it does not exist for this run."""
        return self.metrics["val"].get(str(self.raw_config.objective).removeprefix("val/"))

    @property
    def condition(self) -> "Condition":
        """What the model is conditioned on: columns of classes, numbers and flags, by their names.

        It is empty, and false, for an unconditional model.

        >>> Run("path/to/a/cvae").condition.class_names
        ('cat', 'dog')
        """
        from cvae_lightning.runs.conditions import condition_of_model

        return condition_of_model(self.config["model"])

    @property
    def data_condition(self) -> "Condition":
        """What the images of the data set are labelled with, even if the model is unconditional; empty if nothing."""
        from cvae_lightning.runs.conditions import condition_of_data

        return condition_of_data(self.config["data"])

    @cached_property
    def _model(self) -> "VAE":
        return self.model()

    def model(self) -> "VAE":
        """The trained model, in evaluation mode. Raises UserError if its weights are not those of metrics.json."""
        from safetensors.torch import load_file

        weights = self.path / WEIGHTS
        digest = self.metrics["weights_sha256"]
        if self.pretrained:
            digest = pretrained.WEIGHTS_SHA256[self.pretrained]
        if not weights.is_file() or sha256_of(weights) != digest:
            raise UserError(f"Expected the weights that metrics.json names, got others in {weights}. Train again.")
        try:
            state = load_file(weights)
        except SafetensorError as error:
            raise UserError(f"Expected weights as safetensors, got {weights} ({error}). Train again.") from error
        model: VAE = build(self.raw_config.model)
        self._check_layout(model.state_dict(), state)
        model.load_state_dict(state)
        return model.eval()

    def _check_layout(self, expected: "dict[str, Tensor]", stored: "dict[str, Tensor]") -> None:
        """Raises UserError if the model that the present code builds has weights of other names or shapes."""
        shapes, theirs = ({name: tuple(weight.shape) for name, weight in part.items()} for part in (expected, stored))
        different = sorted(name for name in shapes | theirs if shapes.get(name) != theirs.get(name))
        if not different:
            return
        name, writer = different[0], self.metrics["environment"]
        raise UserError(
            f"Expected {name} of shape {shapes.get(name)}, got {theirs.get(name)} in {self.path / WEIGHTS} "
            f"({len(different)} such differences). It was written by cvae_lightning "
            f"{writer.get('cvae_lightning') or 'of an earlier version'}, commit {writer.get('commit') or 'unknown'}: "
            "use that version, or train again."
        )

    def sample(
        self,
        labels: "AnyLabels | AnyCondition | None" = None,
        *,
        num: int | None = None,
        temperature: float | None = None,
        seed: int = 0,
    ) -> "Images":
        """New images from the run's sampler: (B, C, H, W), float32 in [0, 1], on the CPU.

        >>> Run("path/to/a/cvae").sample([2, 7, 9])  # one image per class
        >>> Run("path/to/a/cvae").sample(["cat", "dog"])  # classes by their names
        >>> Run("path/to/a/cvae").sample("cat", num=20)  # twenty cats
        >>> Run("path/to/a/cvae").sample({"digit": 3, "angle": 30}, num=8)  # a value for each column
        >>> Run("path/to/a/cvae").sample({"digit": 3, "angle": [0, 30, 60]})  # one image per angle
        >>> Run("path/to/a/vae").sample(num=3)  # an unconditional model has no labels

        `labels` are classes, by number or by name: one, a list, or a tensor or array of 0 or 1 dimensions. For a
        condition of several columns, of numbers or of flags, they are a mapping from columns to values or lists of
        values, or a tensor (B, values) as `condition` reads it. `num` images are drawn of a single label. None is an
        unknown label, for a model that was trained with some labels unknown; such a model needs no labels at all. The
        images are the same for the same `seed`. A `temperature` below 1 makes them more typical and less diverse; None
        is the sampler's own. Raises UserError for anything else.
        """
        from cvae_lightning.models import inference

        return inference.sample(self._model, labels, num=num, temperature=temperature, seed=seed).images

    def reconstruct(
        self, images: "AnyImages", labels: "AnyLabels | AnyCondition | None" = None, seed: int = 0
    ) -> "Images":
        """Reconstructions of `images`, at one draw of z each: (B, C, H, W), float32 in [0, 1], on the CPU.

        `images` are a tensor or an array (B, C, H, W), or one image (C, H, W): floats of any precision in [0, 1],
        bytes, which are divided by 255, or booleans. `labels` are as in `sample`, one for all images or one for each;
        an unconditional model ignores them, and they may be missing where `sample` needs none. Raises UserError for
        anything else.

        >>> Run("path/to/a/cvae").reconstruct(images, ["cat", "dog", "dog"])
        """
        from cvae_lightning.models import inference

        return inference.reconstruct(self._model, images, labels, seed)

    def encode(self, images: "AnyImages", labels: "AnyLabels | AnyCondition | None" = None) -> "Latents":
        """The means of q(z | x, y): (B, latent_dim), float32, on the CPU.

        `images` and `labels` are as in `reconstruct`.
        """
        from cvae_lightning.models import inference

        return inference.encode(self._model, images, labels).mean

    def write_result(self, weights: "dict[str, Tensor]", metrics: Metrics) -> None:
        """Write model.safetensors, then metrics.json with its digest, which makes the run complete."""
        from safetensors.torch import save  # not save_file, whose files only their owner can read

        write_whole(self.path / WEIGHTS, save(weights))
        write_metrics(self.path / METRICS, metrics, sha256_of(self.path / WEIGHTS))

    def write_failure(self, sentence: str) -> None:
        """Record in the run directory why the run failed, for the report of its sweep."""
        write_whole(self.path / FAILURE, sentence + "\n")

    def discard_unless_begun(self) -> None:
        """Remove what was written before the training began. A run with a checkpoint is left as it is."""
        if self.begun:
            return
        self._discard_log_of_wandb()
        logs = ("hparams.yaml", "events.out.tfevents.*", "csv/hparams.yaml", LOGGERS)
        for pattern in (".hydra/*.yaml", DATA, "train.log", *logs):
            for file in self.path.glob(pattern):
                file.unlink()
        for folder in (*(self.path / name for name in (".hydra", "checkpoints", "csv", "wandb")), self.path):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _discard_log_of_wandb(self) -> None:
        """Remove the folder that wandb has made for this run, and links to it; those of other runs may lie beside."""
        file, place = self.path / LOGGERS, self.path / "wandb"
        names = read_json(file) if file.is_file() else None
        name = names.get("wandb") if isinstance(names, dict) else None
        if not (isinstance(name, str) and place.is_dir()):
            return
        for folder in place.iterdir():
            if folder.name.endswith(f"-{name}"):
                shutil.rmtree(folder, ignore_errors=True)
        for link in place.iterdir():
            if link.is_symlink() and not link.exists():
                link.unlink()

    def with_data_of(self, keys: DictConfig) -> "Run":
        """The same run with its data where a command's keys `data_dir` and `data_path` say. Nothing is written."""
        moved = Run(self.path)
        for key, value in self.data_moved_to(keys).items():
            OmegaConf.update(moved.raw_config, key, value)
        return moved

    def note_facts(self, image_shape: Sequence[int], condition: dict[str, Any]) -> None:
        """State in the configuration, in its directory too, what it left to the data set."""
        data = self.raw_config.data
        if data.get("image_shape") is None:
            data.image_shape = list(image_shape)
        if not is_described(data.get("condition")):
            data.condition = condition
        write_whole(self.path / CONFIG, OmegaConf.to_yaml(self.raw_config))

    def note_precision(self, precision: str) -> None:
        """State in the configuration, in its directory too, the precision that "auto" stands for on this machine."""
        self.raw_config.trainer.precision = precision
        write_whole(self.path / CONFIG, OmegaConf.to_yaml(self.raw_config))

    def fall_back(self) -> str:
        """Change the run's data set to the one that `data.fallback` names, in its directory too; return its name."""
        asked = self.raw_config.data
        name = str(asked.fallback)
        self.raw_config.data = load_group("data", name)
        for key in KEPT_IN_FALLBACK:
            self.raw_config.data[key] = asked[key]
        write_whole(self.path / CONFIG, OmegaConf.to_yaml(self.raw_config))
        return name
