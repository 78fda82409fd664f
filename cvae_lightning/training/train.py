"""One run, from its configuration to metrics.json."""

import logging
import math
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any, NamedTuple

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.tensorboard.writer import SummaryWriter

from cvae_lightning.core.build import CONF, build, load_group
from cvae_lightning.core.capacity import check_memory, full_disk_explained
from cvae_lightning.core.errors import DataUnavailable, UserError, check_integer, check_seed, refuse
from cvae_lightning.core.files import is_inside, write_whole
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.data.sources import source_of
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import (
    Absent,
    Evaluator,
    Measured,
    classes_without_images,
    finite,
    no_images_of,
)
from cvae_lightning.models import mean_elbo
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.data_record import note_data
from cvae_lightning.runs.model_card import model_card
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import longest_prefix, sweep_of, wait_for_shorter_ones
from cvae_lightning.training.callbacks.checkpoint import last_checkpoint
from cvae_lightning.training.provenance import environment, settings, timing

log = logging.getLogger(__name__)

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

for library in ("pytorch_lightning", "lightning_fabric"):  # hints about other products, and about devices
    logging.getLogger(library).setLevel(logging.WARNING)
# With torch 2.14, once for each tree that Lightning 2.6 looks through.
warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")


def train(run: Run) -> dict[str, Any]:
    """Train and evaluate what the run's configuration says; return metrics.json.

    It goes on from the run's checkpoint, or from the end of a run of the same sweep that is a prefix of it. Raises
    UserError for what the configuration can't mean, before any data is read, and where the disk is full.
    """
    with full_disk_explained(run.path):
        return _train(run)


def _train(run: Run) -> dict[str, Any]:
    config = run.raw_config
    evaluators = build_evaluators(config)
    _check(config, metric_names(evaluators))
    check_model_fits(config)
    torch.manual_seed(config.seed)
    model: VAE = build(config.model)
    callbacks = list(filter(None, build(config.callbacks).values()))
    sweep = sweep_of(run)
    name = sweep.folder_of(run.overrides) if sweep else ""
    logger = build_logger(config, save_dir=str(run.path), version=name)
    if not is_inside(logger.log_dir, run.path):
        refuse("a folder in the run directory", "logger", logger.log_dir, "Leave its name, version and sub_dir out.")
    trainer = build_trainer(config, callbacks, logger=logger, default_root_dir=str(run.path))
    datamodule = available_data(run)
    _check_images(*datamodule.source.fit_splits(), model.num_classes)
    checkpoint = last_checkpoint(run.path)
    note_data(run, datamodule.source.digests, begun=checkpoint is not None)
    what_was_run = {**settings(run, model), "dataset": datamodule.source.name}
    logger.log_hyperparams(what_was_run)

    check_batch_fits(config, len(datamodule.source.fit_splits()[0].labels))
    versions = environment(trainer)
    if checkpoint is None:
        wait_for_shorter_ones(run)
        if prefix := longest_prefix(run, datamodule.source.digests, versions):
            log.info("Going on from epoch %d, where %s ends.", prefix.metrics["epochs"], prefix.path)
            checkpoint = last_checkpoint(prefix.path)
    trainer.fit(model, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    with random_stream(config.seed):
        model.to(trainer.strategy.root_device).eval().fit_sampler(datamodule.batches("train"))
    start = time.perf_counter()
    results = evaluate(trainer, model, datamodule, evaluators)
    metrics = {
        "schema": 1,
        **what_was_run,
        "dataset": datamodule.description(),
        **results._asdict(),
        "time": {**timing(trainer), "evaluate_seconds": time.perf_counter() - start},
        "environment": versions,
    }
    log_results(logger, what_was_run, results, trainer.global_step)
    pictures = [path.stem for path in run.path.glob("figures/*.png")]
    write_whole(run.path / "README.md", model_card(metrics, run.config, run.overrides, pictures))
    run.write_result(model.state_dict(), metrics)
    return metrics


class Results(NamedTuple):
    """The metrics of val and test, the same keys for every model; None where a number does not exist."""

    val: dict[str, float | None]
    test: dict[str, float | None]
    absent: dict[str, str]  # <split>/<name> of each None -> the reason


def evaluate_again(run: Run, overrides: dict[str, Any]) -> Results:
    """The metrics of val and test once more, from the weights of a complete run; nothing is written."""
    config, model = run.config_with(overrides), run.model()
    where = str(run.path)  # of anything that the run's own `trainer` might write
    trainer = build_trainer(config, [], logger=False, enable_checkpointing=False, default_root_dir=where)
    return evaluate(trainer, model, prepared_data(config, download=False), build_evaluators(config))


def evaluate(trainer: Trainer, model: VAE, datamodule: DataModule, evaluators: Sequence[Evaluator]) -> Results:
    """Measure the model on val and on test."""
    datamodule.trainer = trainer  # whose device the splits are read to
    measured = {split: _measure(split, trainer, model, datamodule, evaluators) for split in ("val", "test")}
    numbers = {
        split: {name: None if isinstance(value, Absent) else value for name, value in values.items()}
        for split, values in measured.items()
    }
    absent = {
        f"{split}/{name}": value.reason
        for split, values in measured.items()
        for name, value in values.items()
        if isinstance(value, Absent)
    }
    return Results(**numbers, absent=absent)


def _measure(
    split: str, trainer: Trainer, model: VAE, datamodule: DataModule, evaluators: Sequence[Evaluator]
) -> Measured:
    """The ELBO and its terms from Lightning's loop over the split, then the numbers of each evaluator."""
    datamodule.setup("test" if split == "test" else "fit")
    if not len(datamodule.splits[split].labels):
        return dict.fromkeys(metric_names(evaluators), Absent(f"{split} has no images"))
    loop = trainer.test if split == "test" else trainer.validate
    (means,) = loop(model, datamodule=datamodule, verbose=False)
    measured: Measured = {name: finite(means[f"{split}/{name}"]) for name in mean_elbo.NAMES}
    model.to(trainer.strategy.root_device)  # the loop ends with the model on the CPU
    with torch.inference_mode():
        for evaluator in evaluators:
            measured |= evaluator.measure(model, datamodule.batches(split), datamodule.splits["train"], split)
    return measured


def build_evaluators(config: DictConfig) -> list[Evaluator]:
    """In the order of the configuration, without those that are set to null."""
    return list(filter(None, build(config.evaluators).values()))


def metric_names(evaluators: Iterable[Evaluator]) -> list[str]:
    """The keys of a split in metrics.json, the same for every model."""
    return [*mean_elbo.NAMES, *(name for evaluator in evaluators for name in evaluator.names)]


def check_model_fits(config: DictConfig) -> None:
    """Raises UserError where memory lacks room for the weights; on a CPU for their gradients and Adam's moments too."""
    try:
        with torch.device("meta"):  # shapes without memory
            model: VAE = build(config.model)
    except RuntimeError:  # from a part of one's own that computes with its weights: no size is known
        return
    weights, buffers = (sum(value.nbytes for value in values) for values in (model.parameters(), model.buffers()))
    needed = (4 if _trains_on_cpu(config) else 1) * weights + buffers
    check_memory(needed, "The model", "Lower latent_dim, or the sizes of network, prior or sampler.")


def check_batch_fits(config: DictConfig, num_images: int) -> None:
    """Raises UserError where the pixels of a batch, for each draw of the bound, need more memory than there is."""
    draws = config.bound.get("num_samples", 1)
    batch_size = min(config.batch_size, num_images)
    needed = 16 * batch_size * draws * math.prod(config.data.image_shape)  # in float32: image, mean, error, gradient
    if _trains_on_cpu(config):
        check_memory(needed, f"A batch of {batch_size} images, {draws} draws each,", "Lower bound.num_samples.")


def _trains_on_cpu(config: DictConfig) -> bool:
    return config.accelerator == "cpu" or not torch.cuda.is_available()


def build_trainer(config: DictConfig, callbacks: Sequence[Callback], **arguments: Any) -> Trainer:
    """A trainer of one process on one device, whatever a scheduler has told the process of its place among others.

    Raises UserError where the machine lacks the accelerator, and for what Lightning or this project refuses.
    """
    if config.accelerator not in ("auto", "cpu", "gpu", "cuda", "mps"):
        refuse("auto, cpu or gpu", "accelerator", config.accelerator, "auto takes a GPU where there is one.")
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
        refuse("one device", "trainer.devices", trainer.world_size, "A sweep may use several: hydra/launcher=joblib.")
    if trainer.precision not in PRECISIONS:
        remedy = "The weights and the images are in float32."
        refuse(f"one of {', '.join(PRECISIONS)}", "trainer.precision", trainer.precision, remedy)
    check_integer("trainer.log_every_n_steps", config.trainer.log_every_n_steps, 1, "1 logs each step.")
    check_integer("trainer.num_sanity_val_steps", config.trainer.num_sanity_val_steps, -1, "0 is the default.")
    if trainer.accumulate_grad_batches < 1:
        refuse("at least 1", "trainer.accumulate_grad_batches", trainer.accumulate_grad_batches, "1 is the default.")
    if trainer.max_epochs != config.epochs:
        refuse("the number of epochs", "trainer.max_epochs", trainer.max_epochs, "Set epochs instead.")
    return trainer


@contextmanager
def _without_defaults_from_the_environment() -> Iterator[None]:
    """Hide PL_TRAINER_MAX_TIME and the like from Lightning: a run is what its configuration says."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PL_TRAINER_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


def build_logger(config: DictConfig, **arguments: Any) -> TensorBoardLogger:
    """Raises UserError for an argument that it lacks, which TensorBoard would refuse at the first event only."""
    known = {**signature(TensorBoardLogger).parameters, **signature(SummaryWriter).parameters}
    if unknown := sorted(config.logger.keys() - (known.keys() - {"save_dir"}) - {"_target_"}):
        refuse("other arguments of TensorBoardLogger", "logger", unknown, "Leave them out.")
    return build(config.logger, **arguments)


def available_data(run: Run) -> DataModule:
    """The data module of the run; where its data can't be had, and nothing was trained yet, that of `data.fallback`.

    The configuration in the run directory is then changed, so that it says what was really run.
    """
    try:
        return prepared_data(run.raw_config)
    except DataUnavailable as reason:
        fallback = run.raw_config.data.fallback
        if fallback is None or last_checkpoint(run.path):
            raise
        log.warning("%s Training on the embedded %s instead (data.fallback).", reason, run.fall_back())
        return prepared_data(run.raw_config)


def prepared_data(config: DictConfig, download: bool = True) -> DataModule:
    """Raises DataUnavailable where its files are missing and can't be fetched; for a finished run none are fetched."""
    module = config.data.module.copy()
    module.pop("source")
    source = source_of(config)
    if not download and not source.available():
        raise DataUnavailable(
            f"Expected the files of {source.name}, on which the run was trained, in {config.data_dir} (data_dir), "
            "got none or not all of them. Name the folder that holds them: data_dir=<folder>."
        )
    datamodule: DataModule = build(module, source=source)
    datamodule.prepare_data()
    return datamodule


def log_results(logger: TensorBoardLogger, what_was_run: dict[str, Any], results: Results, step: int) -> None:
    """Write the metrics to TensorBoard, and one row to its HPARAMS, whose columns are the same for every run.

    TensorBoard has no null: an absent setting is empty, an absent metric is left out.
    """
    final = {f"final/{name}": value for name, value in results.val.items() if value is not None}
    for split, numbers in (("val", results.val), ("test", results.test)):
        evaluated = {name: value for name, value in numbers.items() if name not in mean_elbo.NAMES}
        logger.log_metrics({f"{split}/{name}": value for name, value in evaluated.items() if value is not None}, step)
    columns = {key: "" if value is None else value for key, value in what_was_run.items()}
    logger.log_hyperparams(columns, final, step)
    logger.experiment.flush()  # now, not from a thread after metrics.json


def _check(config: DictConfig, metrics: list[str]) -> None:
    split, _, objective = str(config.objective).partition("/")
    if split != "val" or objective not in metrics:
        refuse(f"val/ and one of {', '.join(metrics)}", "objective", config.objective, "Test may not steer a sweep.")
    data = {path.stem: load_group("data", path.stem) for path in sorted((CONF / "data").glob("*.yaml"))}
    embedded = [name for name, part in data.items() if part.get("fallback", name) is None]  # needs none itself
    if config.data.fallback not in (None, *embedded):
        refuse(f"null or {' or '.join(embedded)}", "data.fallback", config.data.fallback, "digits needs no files.")
    if missing := [name for name in ("history", "checkpoint") if not config.callbacks.get(name)]:
        refuse("the callbacks history and checkpoint", "callbacks", f"none named {missing[0]}", "Leave it in.")
    check_integer("epochs", config.epochs, 1, "The paper uses 10 to 50.")
    check_seed("seed", config.seed)


def _check_images(train: Split, val: Split, num_classes: int) -> None:
    """Raises UserError where a training means nothing: without images, or with labels that the model does not know.

    `num_classes` is 0 for an unconditional model. Classes without training images are announced.
    """
    if not len(train.labels) or not len(val.labels):
        raise UserError(
            f"There are {len(train.labels)} images to train on and {len(val.labels)} to validate with (data); a "
            "training needs at least one of each. A sixth of the training files' images are val: add more images."
        )
    if num_classes and (largest := int(max(train.labels.max(), val.labels.max()))) >= num_classes:
        refuse(f"labels in 0..{num_classes - 1}", "data.num_classes", largest, "Set it to the number of classes.")
    if missing := classes_without_images(train.labels, num_classes):
        log.warning("There is %s: samples of what was never seen mean nothing.", no_images_of(missing, "train").reason)
