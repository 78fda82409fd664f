"""One run, from its configuration to metrics.json."""

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning.loggers import Logger

from cvae_lightning.core.capacity import check_memory, full_disk_explained
from cvae_lightning.core.denormals import denormals_as_zero
from cvae_lightning.core.errors import UserError, refuse
from cvae_lightning.core.files import write_whole
from cvae_lightning.core.freed_memory import freed_memory_kept
from cvae_lightning.core.products import exact_products
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import Absent, Measured, classes_without_images, finite, no_images_of
from cvae_lightning.models import mean_elbo
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.data_record import note_data
from cvae_lightning.runs.metrics_file import Environment, Metrics, Numbers, Settings, StoredMetrics
from cvae_lightning.runs.model_card import model_card
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import longest_prefix, wait_for_shorter_ones
from cvae_lightning.training.callbacks.checkpoint import last_checkpoint
from cvae_lightning.training.loggers import (
    close_loggers,
    log_hyperparameters,
    log_metrics,
    log_row,
    open_loggers,
)
from cvae_lightning.training.memory import saved_for_backward
from cvae_lightning.training.parts import Parts, available_data, training_parts
from cvae_lightning.training.provenance import environment, settings, timing, was_packed

log = logging.getLogger(__name__)


def train(run: Run) -> StoredMetrics:
    """Train and evaluate what the configuration of `run` describes; return its metrics.json.

    The training goes on from the run's own checkpoint, or from the end of a shorter run of the same sweep, if it would
    repeat that run at first. Raises UserError before any data is read, for a configuration that cannot be trained;
    before the first step, for data that do not fit it; and if the disk is full.
    """
    with full_disk_explained(run.path), denormals_as_zero():
        parts = training_parts(run)
        try:
            with exact_products(parts.device):
                return _train(run, parts)
        finally:
            close_loggers(parts.loggers)


def _train(run: Run, parts: Parts) -> StoredMetrics:
    model, trainer = parts.model, parts.trainer
    data, run_settings, versions = fit(run, parts)
    with random_stream(run_settings["seed"]):
        model.to(parts.device).eval().fit_sampler(data.batches_to_fit())
    start = time.perf_counter()
    results = measure(parts, data)
    metrics: Metrics = {
        **run_settings,
        "dataset": data.description(),
        "val": results.val,
        "test": results.test,
        "absent": results.absent,
        "time": timing(trainer, evaluate_seconds=time.perf_counter() - start),
        "environment": {**versions, "packed": was_packed(trainer)},
    }
    log_results(parts.loggers, hyperparameters(run_settings, data), results, trainer.global_step)
    write_model_card(run, metrics)
    run.write_result(model.state_dict(), metrics)
    return run.metrics


class Fitted(NamedTuple):
    """What `fit` leaves beside the trained model."""

    data: DataModule
    settings: Settings
    versions: Environment


def fit(run: Run, parts: Parts, packed: bool = False) -> Fitted:
    """Check the data, then train from where the run, or a shorter one that it repeats, has stopped.

    `packed` says whether the run is trained beside others as one stacked model.
    """
    model, trainer = parts.model, parts.trainer
    data = available_data(run, parts.data)
    check_data(data, model)
    if parts.device.type == "cpu":
        check_batch_fits(model, min(data.batch_size, data.num_train_images), trainer.precision)
    run_settings = settings(run, model)
    versions = environment(trainer, packed)
    checkpoint = starting_point(run, data.source.digests, versions)
    open_loggers(run, parts.loggers)
    log_hyperparameters(parts.loggers, hyperparameters(run_settings, data))
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return Fitted(data, run_settings, versions)


def hyperparameters(run_settings: Settings, data: DataModule) -> dict[str, Any]:
    """What loggers show as the hyperparameters of a run."""
    return {**run_settings, "dataset": data.source.name}


def check_data(data: DataModule, model: VAE) -> None:
    """Raises UserError if training on `data` would be meaningless.

    There must be images to train on and to validate with, whose labels the model knows. A warning names classes without
    training images.
    """
    train, val = data.source.fit_splits()
    train = data.partly_labelled(train)
    if not len(train.labels) or not len(val.labels):
        raise UserError(
            f"There are {len(train.labels)} images to train on and {len(val.labels)} to validate with (data); a "
            "training needs at least one of each. A sixth of the training files' images are val: add more images."
        )
    check_classes(train, model, model.learns_from_unlabelled)
    check_classes(val, model, model.condition.may_be_unknown)
    known = model.num_classes
    if missing := classes_without_images(train.classes, known):
        log.warning("There is %s: samples of such a class are meaningless.", no_images_of(missing, "train").reason)


def check_classes(split: Split, model: VAE, may_be_unknown: bool) -> None:
    """Raises UserError if an image of `split` has a class that the model does not know, at which a GPU would stop."""
    known = model.num_classes  # 0 for a model that is not conditioned on a class
    if not known or not len(split.labels):
        return
    smallest, largest = (int(end) for end in split.classes.aminmax())
    if largest >= known:
        refuse(f"labels in 0..{known - 1}", "data.condition", largest, "State the number of classes.")
    if smallest < 0 and not may_be_unknown:
        remedy = "An unknown class needs model.label_dropout, or model=m2 if it is that of a training image."
        refuse(f"labels in 0..{known - 1}", "data.condition", smallest, remedy)


def check_batch_fits(model: VAE, num_images: int, precision: str = "32-true") -> None:
    """Raises UserError if a batch of `num_images`, times the draws of the bound, needs more memory than there is."""
    draws = getattr(model.bound, "num_samples", 1)
    pixels = 16 * num_images * draws * math.prod(model.image_shape)  # in float32: image, mean, error, gradient
    needed = max(pixels, saved_for_backward(model, num_images) // (1 if precision == "32-true" else 2))
    if draws == 1:
        check_memory(needed, f"A batch of {num_images} images", "Lower batch_size.")
    else:
        what, remedy = f"A batch of {num_images} images, {draws} draws each,", "Lower bound.num_samples or batch_size."
        check_memory(needed, what, remedy)


def starting_point(run: Run, digests: dict[str, str], versions: Environment) -> Path | None:
    """The checkpoint that the training goes on from; None if it starts from new weights.

    The files that the training reads are recorded in data.json first. A run that was not begun waits while other
    processes train shorter runs of its sweep that it could continue from.
    """
    checkpoint = last_checkpoint(run.path)
    note_data(run, digests, begun=checkpoint is not None)
    if checkpoint is not None:
        return checkpoint
    wait_for_shorter_ones(run)
    prefix = longest_prefix(run, digests, versions)
    if prefix is None:
        return None
    log.info("Going on from epoch %d, where %s ends.", prefix.metrics["epochs"], prefix.path)
    return last_checkpoint(prefix.path)


class Results(NamedTuple):
    """The metrics of val and test, under the same keys for every model; None if a number does not exist."""

    val: Numbers
    test: Numbers
    absent: dict[str, str]  # the reason for each None, by <split>/<name>


@freed_memory_kept()
@denormals_as_zero()
def measure(parts: Parts, data: DataModule) -> Results:
    """All metrics of the model on val and on test."""
    data.trainer = parts.trainer  # the splits are read to its device
    with exact_products(parts.device):
        measured = {split: _measure_split(split, parts, data) for split in ("val", "test")}
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


def _measure_split(split: str, parts: Parts, data: DataModule) -> Measured:
    """The ELBO and its terms from Lightning's loop over the split, then the numbers of each evaluator."""
    data.setup("test" if split == "test" else "fit")
    if not len(data.splits[split].labels):
        return dict.fromkeys(parts.metric_names, Absent(f"{split} has no images"))
    check_classes(data.splits[split], parts.model, parts.model.condition.may_be_unknown)
    loop = parts.trainer.test if split == "test" else parts.trainer.validate
    (means,) = loop(parts.model, datamodule=data, verbose=False)
    measured: Measured = {name: finite(means[f"{split}/{name}"]) for name in mean_elbo.NAMES}
    parts.model.to(parts.device)  # the loop ends with the model on the CPU
    with torch.inference_mode():
        for evaluator in parts.evaluators:
            measured |= evaluator.measure(parts.model, data.batches(split), data.splits["train"], split)
    return measured


def log_results(loggers: Sequence[Logger], columns: dict[str, Any], results: Results, step: int) -> None:
    """Log the metrics, and the row of the run, whose columns are the same for every run.

    An absent metric is left out.
    """
    final = {f"final/{name}": value for name, value in results.val.items() if value is not None}
    for split, numbers in (("val", results.val), ("test", results.test)):
        evaluated = {name: value for name, value in numbers.items() if name not in mean_elbo.NAMES}
        present = {f"{split}/{name}": value for name, value in evaluated.items() if value is not None}
        log_metrics(loggers, present, step)
    log_row(loggers, columns, final, step)


def write_model_card(run: Run, metrics: Metrics) -> None:
    """Write the README.md of the run directory, with the pictures that the training has drawn."""
    pictures = [path.stem for path in run.path.glob("figures/*.png")]
    write_whole(run.path / "README.md", model_card(metrics, run.config, run.overrides, pictures))
