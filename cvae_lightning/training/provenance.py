"""The settings, times and versions that metrics.json records beside the numbers of a run."""

import functools
import platform
import statistics
import subprocess
from importlib.metadata import version

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer

from cvae_lightning.core.build import PACKAGE
from cvae_lightning.core.versions import version_of
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.choices import choice
from cvae_lightning.runs.metrics_file import Environment, Settings, Time
from cvae_lightning.runs.run import Run
from cvae_lightning.training.callbacks.history import history_of


def settings(run: Run, model: VAE) -> Settings:
    """The settings of a run, under the same keys for every model; choices are named by their files in conf/."""
    config = run.raw_config
    return {
        "model": choice(run, "model"),
        "network": choice(run, "network"),
        "hidden": str(config.network.get("hidden")),
        "injection": _injection(config.network),
        "likelihood": choice(run, "likelihood"),
        "variance": config.likelihood.get("variance"),
        "binarize": config.data.binarize,
        "prior": choice(run, "prior"),
        "prior_components": config.prior.get("num_components"),
        "bound": choice(run, "bound"),
        "warmup_epochs": config.bound.get("warmup_epochs"),
        "free_bits": config.bound.get("free_bits"),
        "num_samples": config.bound.get("num_samples"),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "epochs": config.epochs,
        "latent_dim": config.latent_dim,
        "lr": config.lr,
        "batch_size": config.batch_size,
        "beta": config.beta,
        "seed": config.seed,
        "optimizer": choice(run, "optimizer"),
        "schedule": choice(run, "schedule"),
        "sampler": choice(run, "sampler"),
        "components": config.sampler.get("num_components"),
        "temperature": config.sampler.get("temperature"),
        "averaging": choice(run, "averaging"),
        "averaging_decay": OmegaConf.select(config, "callbacks.averaging.decay"),
        "max_shift": config.data.get("max_shift", 0),
        "flip": config.data.get("flip"),
        "balance": "classes" if config.data.get("balance") else None,
        "labelled": labelled if isinstance(labelled := config.data.get("labelled"), int) else None,
        "label_dropout": config.model.get("label_dropout"),
        "precision": config.trainer.get("precision", "32-true"),
        "backward_precision": config.backward_precision,
    }


def timing(trainer: Trainer, evaluate_seconds: float) -> Time:
    """Seconds of all epochs, including those before a run was resumed, and the median speed of training."""
    rows = history_of(trainer)
    return {
        "fit_seconds": sum(row["seconds"] for row in rows),
        "images_per_second": statistics.median(row["train/images_per_second"] for row in rows),
        "evaluate_seconds": evaluate_seconds,
    }


def environment(trainer: Trainer, packed: bool = False) -> Environment:
    """The versions, device and number of threads with which the numbers are computed, and whether runs are packed."""
    device = trainer.strategy.root_device
    return {
        "cvae_lightning": version_of("cvae_lightning"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pytorch_lightning": version("pytorch_lightning"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "packed": packed,
        "commit": _commit(),
    }


def was_packed(trainer: Trainer) -> bool:
    """Whether an epoch of the training was computed beside other runs, whose last digits then depend on these."""
    return any("packed" in row for row in history_of(trainer))


@functools.cache
def _commit() -> str | None:
    """The commit of the checkout, read only once, because its files may change while a sweep runs."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    git = ["git", "-C", str(PACKAGE), "describe", "--always", "--dirty", "--abbrev=40"]
    return subprocess.run(git, capture_output=True, encoding="utf-8", check=False).stdout.strip() or None


def _injection(network: DictConfig) -> str | None:
    """How the condition enters the networks, such as "concatenate", or "add into decoder" if it is one of them.

    None for a user's own network that has no such key.
    """
    if "injection" not in network:
        return None
    places = list(network.inject_into)
    return network.injection if len(places) == 2 else f"{network.injection} into {' and '.join(places) or 'nothing'}"
