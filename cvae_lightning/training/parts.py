"""The parts of a training, built once from the configuration of its run, or refused before any work is done."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger

from cvae_lightning.core.build import build
from cvae_lightning.core.capacity import check_memory
from cvae_lightning.core.errors import DataUnavailable, UserError, check_integer, check_seed, refuse
from cvae_lightning.core.products import multiplies_in_bfloat16
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.data.sources import source_of
from cvae_lightning.evaluators.evaluator import Evaluator
from cvae_lightning.models import mean_elbo
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.configuration import is_open
from cvae_lightning.runs.run import Run
from cvae_lightning.training.callbacks.checkpoint import LastCheckpoint, last_checkpoint
from cvae_lightning.training.callbacks.history import History
from cvae_lightning.training.loggers import build_loggers

log = logging.getLogger(__name__)

EMBEDDED = "digits"  # the data set that needs no files
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

for library in ("pytorch_lightning", "lightning_fabric"):  # which advertise other products and list the devices
    logging.getLogger(library).setLevel(logging.WARNING)
# With torch 2.14, Lightning 2.6 causes this warning again and again.
warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
# Where Slurm is installed, Lightning warns that a training without srun is not parallel; ours never is.
warnings.filterwarnings("ignore", message="The `srun` command is available")


@dataclass(frozen=True)
class Parts:
    """What a training or an evaluation is made of; none of its data has been read yet."""

    model: VAE
    data: DataModule
    evaluators: Sequence[Evaluator]
    trainer: Trainer

    @property
    def loggers(self) -> list[Logger]:
        """The loggers of a training; an evaluation has none."""
        return self.trainer.loggers

    @property
    def device(self) -> torch.device:
        """The device that trains and measures."""
        return self.trainer.strategy.root_device

    @property
    def metric_names(self) -> list[str]:
        """The keys of a split in metrics.json, which are the same for every model."""
        return [*mean_elbo.NAMES, *(name for evaluator in self.evaluators for name in evaluator.names)]


def training_parts(run: Run) -> Parts:
    """The parts of the training that the configuration of `run` describes, with the global random stream seeded.

    No image is read, and nothing is written but what `describe_data` does. Raises UserError for a configuration that
    cannot be trained.
    """
    config = run.raw_config
    check_integer("epochs", config.epochs, 1, "The paper uses 10 to 50.")
    check_seed("seed", config.seed)
    _check_fallback(config)
    loggers = build_loggers(run)
    describe_data(run)
    choose_precision(run)
    check_model_fits(config)
    torch.manual_seed(config.seed)  # from here on, only the weights and the training draw from the global stream
    parts = Parts(
        model=build(config.model),
        data=build_data(config),
        evaluators=build_evaluators(config),
        trainer=build_trainer(
            config,
            [History(), *filter(None, build(config.callbacks).values()), LastCheckpoint()],
            logger=loggers,
            default_root_dir=str(run.path),
        ),
    )
    split, _, objective = str(config.objective).partition("/")
    if split != "val" or objective not in parts.metric_names:
        known = f"val/ and one of {', '.join(parts.metric_names)}"
        refuse(known, "objective", config.objective, "A sweep must not be steered by the test split.")
    return parts


def evaluation_parts(run: Run, changes: dict[str, Any]) -> Parts:
    """The parts that measure the complete `run` again, with other values under some keys of its configuration.

    Nothing is written, and no data is downloaded. Raises DataUnavailable if files of the run's data are missing.
    """
    config = run.config_with(changes)
    root = str(run.path)  # for anything that the run's own `trainer` might write
    return Parts(
        model=run.model(),
        data=local_data(run, changes),
        evaluators=build_evaluators(config),
        trainer=build_trainer(config, [], logger=False, enable_checkpointing=False, default_root_dir=root),
    )


def describe_data(run: Run) -> None:
    """State in the run's configuration the shape and the labels of the images, if it leaves them to the data set.

    Raises UserError for a data set of a fixed shape, whose configuration has to state it, and DataUnavailable.
    """
    config = run.raw_config
    if not is_open(config):
        return
    source = source_of(config)
    if not source.has_facts:
        key = "image_shape" if config.data.get("image_shape") is None else "condition"
        refuse("a value", f"data.{key}", config.data.get(key), f"{source.name} does not find it out itself.")
    source.prepare()
    facts = source.facts()
    run.note_facts(facts.image_shape, facts.condition.described())


def choose_precision(run: Run) -> None:
    """State in the configuration of `run` the precision that is fastest on this machine, if it says "auto"."""
    config = run.raw_config
    if config.trainer.get("precision") != "auto":
        return
    fast = _trains_on_cpu(config) and multiplies_in_bfloat16()
    run.note_precision("bf16-mixed" if fast else "32-true")
    why = "this processor multiplies in bfloat16" if fast else "bfloat16 is not known to be faster on this device"
    log.info("trainer.precision=auto is %s: %s.", config.trainer.precision, why)


def available_data(run: Run, data: DataModule) -> DataModule:
    """`data`, downloaded if its files are missing; if that fails, the data set that `data.fallback` names.

    A run falls back only before anything was trained. Its configuration is then changed, in its directory too, so that
    it states the data that were used.
    """
    try:
        data.prepare_data()
        return data
    except DataUnavailable as reason:
        if run.raw_config.data.fallback is None or last_checkpoint(run.path):
            raise
        name = run.fall_back()
        log.warning("%s Training on the embedded %s instead (data.fallback).", reason, name)
        fallback = build_data(run.raw_config)
        fallback.prepare_data()
        return fallback


def local_data(run: Run, changes: dict[str, Any]) -> DataModule:
    """The data of the complete `run`, with other values under some keys of its configuration, from this machine.

    Raises DataUnavailable if files are missing: nothing is downloaded for a finished run, which may be somebody else's,
    but only for a model that comes with the package.
    """
    config = run.config_with(changes)
    source = source_of(config)
    if not (source.available() or run.pretrained):
        path = config.data.get("path")
        place, key = (path, "data_path") if path else (config.data_dir, "data_dir")
        raise DataUnavailable(
            f"Expected the files of {source.name}, on which the run was trained, in {place} ({key}), "
            f"got none or not all of them. Say where they are: {key}=<path>."
        )
    data = build_data(config)
    data.prepare_data()
    return data


def build_data(config: DictConfig) -> DataModule:
    """The data module of a configuration; runs of the same data set share what was read of it."""
    module = config.data.module.copy()
    module.pop("source")
    return build(module, source=source_of(config))


def build_evaluators(config: DictConfig) -> list[Evaluator]:
    """The evaluators in the order of the configuration, without those that are set to null."""
    return list(filter(None, build(config.evaluators).values()))


def check_model_fits(config: DictConfig) -> None:
    """Raises UserError if the weights do not fit into memory; on a CPU, with their gradients and Adam's moments."""
    try:
        with torch.device("meta"):  # shapes without memory
            model: VAE = build(config.model)
    except RuntimeError:  # a user's own part computes with its weights: the size is unknown
        return
    weights, buffers = (sum(value.nbytes for value in values) for values in (model.parameters(), model.buffers()))
    needed = (4 if _trains_on_cpu(config) else 1) * weights + buffers
    check_memory(needed, "The model", "Lower latent_dim, or the sizes of network, prior or sampler.")


def build_trainer(config: DictConfig, callbacks: Sequence[Callback], **arguments: Any) -> Trainer:
    """A trainer of one process on one device, whatever rank a scheduler has given to the process.

    Raises UserError if the machine lacks the accelerator, and for what Lightning or this project refuses.
    """
    if config.accelerator not in ("auto", "cpu", "gpu", "cuda"):
        refuse("auto, cpu or gpu", "accelerator", config.accelerator, "auto takes a GPU with CUDA where there is one.")
    arguments["accelerator"] = "cpu" if _trains_on_cpu(config) else "cuda"  # Lightning might take a Mac's GPU
    if set_here := config.trainer.keys() & {"callbacks", "logger", "default_root_dir", "plugins"}:
        refuse("keys that the training does not set itself", "trainer", sorted(set_here), "Leave them out.")
    alone = LightningEnvironment()
    alone.set_global_rank(0)  # Lightning has taken RANK or SLURM_PROCID for it, and other ranks write no files
    try:
        with _without_defaults_from_the_environment():
            trainer: Trainer = build(config.trainer)(callbacks=list(callbacks), plugins=[alone], **arguments)
    except (MisconfigurationException, TypeError, ValueError, ImportError) as error:
        if isinstance(error, MisconfigurationException) and config.accelerator not in ("auto", "cpu"):
            what, remedy = "an accelerator that this machine has", f"Use accelerator=auto. ({error})"
            refuse(what, "accelerator", config.accelerator, remedy)
        raise UserError(f"Expected arguments that fit (trainer), got: {error}. --cfg job shows all keys.") from error
    if trainer.world_size != 1:
        refuse("one device", "trainer.devices", trainer.world_size, "A sweep may use several: hydra/launcher=ray.")
    if trainer.precision not in PRECISIONS:
        remedy = "The weights and the images are in float32."
        refuse(f"auto or one of {', '.join(PRECISIONS)}", "trainer.precision", trainer.precision, remedy)
    check_integer("trainer.log_every_n_steps", config.trainer.log_every_n_steps, 1, "1 logs each step.")
    check_integer("trainer.num_sanity_val_steps", config.trainer.num_sanity_val_steps, -1, "0 is the default.")
    if trainer.accumulate_grad_batches < 1:
        refuse("at least 1", "trainer.accumulate_grad_batches", trainer.accumulate_grad_batches, "1 is the default.")
    if trainer.max_epochs != config.epochs:
        refuse("the number of epochs", "trainer.max_epochs", trainer.max_epochs, "Set epochs instead.")
    return trainer


@contextmanager
def _without_defaults_from_the_environment() -> Iterator[None]:
    """Hide variables such as PL_TRAINER_MAX_TIME from Lightning: only the configuration describes a run."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PL_TRAINER_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _check_fallback(config: DictConfig) -> None:
    """Raises UserError if the data set to fall back to is not the embedded one."""
    if config.data.fallback not in (None, EMBEDDED):
        refuse(f"null or {EMBEDDED}", "data.fallback", config.data.fallback, f"{EMBEDDED} needs no files.")


def _trains_on_cpu(config: DictConfig) -> bool:
    return config.accelerator == "cpu" or (config.accelerator == "auto" and not torch.cuda.is_available())
