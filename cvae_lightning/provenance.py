"""How the numbers of a run came about: its settings, times and versions, as metrics.json holds them."""

import functools
import platform
import re
import statistics
import subprocess
from importlib.metadata import version
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer

from cvae_lightning.build import PACKAGE
from cvae_lightning.callbacks.history import history_of
from cvae_lightning.models.vae import VAE


def settings(config: DictConfig, model: VAE) -> dict[str, Any]:
    """What was run, under the same keys for every model."""
    return {
        "model": _class_name(config.model),
        "network": _class_name(config.network),
        "hidden": str(config.network.get("hidden")),
        "injection": _injection(config.network),
        "likelihood": _class_name(config.likelihood),
        "variance": config.likelihood.get("variance"),
        "binarize": config.data.binarize,
        "prior": _class_name(config.prior),
        "prior_components": config.prior.get("num_components"),
        "bound": _class_name(config.bound).removesuffix("bound"),
        **{key: config.bound.get(key) for key in ("warmup_epochs", "free_bits", "num_samples")},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **{key: config[key] for key in ("epochs", "latent_dim", "lr", "batch_size", "beta", "seed")},
        "optimizer": _class_name(config.optimizer),
        "schedule": _class_name(config.schedule),
        "sampler": _class_name(config.sampler),
        "components": config.sampler.get("num_components"),
        "temperature": config.sampler.get("temperature"),
        "averaging": _class_name(config.callbacks.averaging) if "averaging" in config.callbacks else "none",
        "averaging_decay": OmegaConf.select(config, "callbacks.averaging.decay"),
        "max_shift": config.data.get("max_shift", 0),
        "precision": config.trainer.get("precision", "32-true"),
        "backward_precision": config.backward_precision,
    }


def timing(trainer: Trainer) -> dict[str, float | None]:
    """Seconds of all epochs, of an earlier part of a resumed run too, and the median speed of training."""
    rows = history_of(trainer)
    if not rows:
        return {"fit_seconds": None, "images_per_second": None}
    return {
        "fit_seconds": sum(row["seconds"] for row in rows),
        "images_per_second": statistics.median(row["train/images_per_second"] for row in rows),
    }


def environment(trainer: Trainer) -> dict[str, Any]:
    device = trainer.strategy.root_device
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pytorch_lightning": version("pytorch_lightning"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }


@functools.cache
def _commit() -> str | None:
    """Of the checkout that the code was imported from, however it changes while a sweep goes on."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    git = ["git", "-C", str(PACKAGE), "describe", "--always", "--dirty", "--abbrev=40"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or None


def _injection(network: DictConfig) -> str | None:
    """How the context enters, and where that is not both networks: "concatenate", or "add into decoder".

    None for a network of the user's own that has no such choice.
    """
    if "injection" not in network:
        return None
    places = list(network.inject_into)
    return network.injection if len(places) == 2 else f"{network.injection} into {' and '.join(places) or 'nothing'}"


def _class_name(config: DictConfig) -> str:
    """The name of a choice in `config`: that of the class, in lower case."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", str(config._target_).rpartition(".")[2]).lower()
