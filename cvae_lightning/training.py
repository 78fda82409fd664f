"""One run, from its configuration to metrics.json."""

import logging
import time
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from cvae_lightning.build import CONF, build
from cvae_lightning.callbacks.checkpoint import last_checkpoint
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.errors import DataUnavailable, UserError, check_integer, check_seed, refuse
from cvae_lightning.evaluators.evaluator import Evaluator
from cvae_lightning.files import write_whole
from cvae_lightning.metrics import mean_elbo
from cvae_lightning.model_card import model_card
from cvae_lightning.models.vae import VAE
from cvae_lightning.provenance import environment, settings, timing
from cvae_lightning.random_streams import random_stream
from cvae_lightning.runs import Run
from cvae_lightning.sources import source_of
from cvae_lightning.sweeps import longest_prefix, sweep_of, wait_for_shorter_ones

log = logging.getLogger(__name__)

for library in ("pytorch_lightning", "lightning_fabric"):  # hints about other products, and about devices
    logging.getLogger(library).setLevel(logging.WARNING)
# With torch 2.14, once for each tree that Lightning 2.6 looks through.
warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")


def train(run: Run) -> dict[str, Any]:
    """Train and evaluate what the run's configuration says; return metrics.json.

    It goes on from the run's checkpoint, or from the end of a run of the same sweep that is a prefix of it. Raises
    UserError for what the configuration can't mean, before any data is read.
    """
    config = run.raw_config
    evaluators: list[Evaluator] = list(build(config.evaluators).values())
    _check(config, metric_names(evaluators))
    torch.manual_seed(config.seed)
    model: VAE = build(config.model)
    callbacks = [*evaluators, *filter(None, build(config.callbacks).values())]
    sweep = sweep_of(run)
    name = sweep.name_of(run.overrides) if sweep else ""
    logger: TensorBoardLogger = build(config.logger, save_dir=str(run.path), version=name)
    trainer = build_trainer(config, callbacks, logger=logger, default_root_dir=str(run.path))
    datamodule = available_data(run)
    what_was_run = {**settings(config, model), "dataset": datamodule.source.name}
    logger.log_hyperparams(what_was_run)

    datamodule.source.fit_splits()
    versions = environment(trainer)
    checkpoint = last_checkpoint(run.path)
    if checkpoint is None:
        wait_for_shorter_ones(run)
        if prefix := longest_prefix(run, datamodule.source.digests, versions):
            log.info("Going on from epoch %d, where %s ends.", prefix.metrics["epochs"], prefix.path)
            checkpoint = last_checkpoint(prefix.path)
    trainer.fit(model, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    with random_stream(config.seed):
        model.to(trainer.strategy.root_device).eval().fit_sampler(datamodule.train_batches())
    start = time.perf_counter()
    splits = evaluate(trainer, model, datamodule, evaluators)
    metrics = {
        "schema": 1,
        **what_was_run,
        "dataset": datamodule.description(),
        **splits,
        "time": {**timing(trainer), "evaluate_seconds": time.perf_counter() - start},
        "environment": versions,
    }
    log_final_metrics(logger, what_was_run, splits["val"], trainer.global_step)
    pictures = [path.stem for path in run.path.glob("figures/*.png")]
    write_whole(run.path / "README.md", model_card(metrics, run.config, run.overrides, pictures))
    run.write_result(model.state_dict(), metrics)
    return metrics


def evaluate_again(run: Run, overrides: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """The metrics of val and test once more, from the weights of a complete run; nothing is written."""
    config = run.raw_config
    for key, value in overrides.items():
        config[key] = value
    model = run.model()
    evaluators: list[Evaluator] = list(build(config.evaluators).values())
    trainer = build_trainer(config, evaluators, logger=False, enable_checkpointing=False)
    return evaluate(trainer, model, prepared_data(config), evaluators)


def evaluate(
    trainer: Trainer, model: VAE, datamodule: DataModule, evaluators: Iterable[Evaluator]
) -> dict[str, dict[str, float | None]]:
    """The metrics of val and test, the same keys for every model."""
    results = {}
    for split, run_loop in (("val", trainer.validate), ("test", trainer.test)):
        (numbers,) = run_loop(model, datamodule=datamodule, verbose=False)
        results[split] = {name: numbers.get(f"{split}/{name}") for name in metric_names(evaluators)}
    return results


def metric_names(evaluators: Iterable[Evaluator]) -> list[str]:
    """The keys of a split in metrics.json, the same for every model."""
    return [*mean_elbo.NAMES, *(name for evaluator in evaluators for name in evaluator.names)]


def build_trainer(config: DictConfig, callbacks: Sequence[Callback], **arguments: Any) -> Trainer:
    """Raises UserError where the machine lacks the accelerator, and for what Lightning or this project refuses."""
    if config.accelerator not in ("auto", "cpu", "gpu", "cuda", "mps"):
        refuse("auto, cpu or gpu", "accelerator", config.accelerator, "auto takes a GPU where there is one.")
    try:
        trainer: Trainer = build(config.trainer)(callbacks=list(callbacks), **arguments)
    except MisconfigurationException as error:
        refuse(
            "an accelerator that this machine has",
            "accelerator",
            config.accelerator,
            f"Use accelerator=auto. ({error})",
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"Expected arguments that fit (trainer), got: {error}. --cfg job shows all keys.") from error
    if trainer.world_size != 1:
        refuse("one device", "trainer.devices", trainer.world_size, "A sweep may use several: hydra/launcher=joblib.")
    if trainer.max_epochs != config.epochs:
        refuse("the number of epochs", "trainer.max_epochs", trainer.max_epochs, "Set epochs instead.")
    return trainer


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


def prepared_data(config: DictConfig) -> DataModule:
    """Raises DataUnavailable where its files are missing and can't be fetched."""
    module = config.data.module.copy()
    module.pop("source")
    datamodule: DataModule = build(module, source=source_of(config))
    datamodule.prepare_data()
    return datamodule


def log_final_metrics(
    logger: TensorBoardLogger, what_was_run: dict[str, Any], val: dict[str, float | None], step: int
) -> None:
    """One row in TensorBoard's HPARAMS, with the same columns for every run: what it can't hold is left empty."""
    columns = {key: "" if value is None else value for key, value in what_was_run.items()}
    logger.log_hyperparams(columns, {f"final/{name}": value for name, value in val.items() if value is not None}, step)
    logger.experiment.flush()  # now, not from a thread after metrics.json


def _check(config: DictConfig, metrics: list[str]) -> None:
    split, _, objective = str(config.objective).partition("/")
    if split != "val" or objective not in metrics:
        refuse(f"val/ and one of {', '.join(metrics)}", "objective", config.objective, "Test may not steer a sweep.")
    data = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))
    if config.data.fallback not in (None, *data):
        refuse(f"null or one of {', '.join(data)}", "data.fallback", config.data.fallback, "digits needs no files.")
    if missing := [name for name in ("history", "checkpoint") if not config.callbacks.get(name)]:
        refuse("the callbacks history and checkpoint", "callbacks", f"none named {missing[0]}", "Leave it in.")
    check_integer("epochs", config.epochs, 1, "The report uses 10 to 50.")
    check_seed("seed", config.seed)
