"""Which runs can be trained as one model."""

import json
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cvae_lightning.core.build import load_group

OWN = ("lr", "beta", "seed", "optimizer.lr", "bound.beta", "data.module.seed")
"""What may differ between the runs of a pack."""
AFTERWARDS = ("sampler", "evaluators", "figures", "callbacks.figures", "logger", "objective", "plugins")
"""What the ordinary command uses, after the runs were trained as one."""
SHARED = ("optimizer", "bound", "sampler")  # parts that `model` refers to
SUPPORTED = {
    "model._target_": ("cvae_lightning.models.vae.VAE", "cvae_lightning.models.cvae.CVAE"),
    "model.label_dropout": (None, 0.0),
    "network._target_": ("cvae_lightning.networks.mlp.MLP",),
    "bound._target_": ("cvae_lightning.models.bounds.ELBOBound",),
    "optimizer._target_": ("cvae_lightning.models.optimizers.adam",),
    "schedule._target_": ("cvae_lightning.models.optimizers.constant",),
    "callbacks.averaging": (None,),
    "data.module.binarize": (None, "static-threshold"),
    "data.module.max_shift": (None, 0),
    "data.module.flip": (None,),
    "data.module.labelled": (None, "all"),
}
"""The values that a pack knows how to train with."""
KNOWN = ("backward_precision", "figures", "freed_memory", "progress", "averaging")  # callbacks
LOGGERS = [f"pytorch_lightning.loggers.{name}" for name in ("CSVLogger", "MLFlowLogger", "TensorBoardLogger")]
"""All but that of wandb, which has one run at a time in a process."""
OF_THE_PROJECT = ("likelihood", "prior", "data.module")


def why_alone(config: DictConfig) -> str | None:
    """The key and the value for which a run has to be trained alone, such as "network._target_=..."; None if none."""
    found = {key: OmegaConf.select(config, key) for key in SUPPORTED}
    odd = [(key, value) for key, value in found.items() if value not in SUPPORTED[key]]
    targets = {f"{key}._target_": str(OmegaConf.select(config, f"{key}._target_")) for key in OF_THE_PROJECT}
    odd += [(key, value) for key, value in targets.items() if not value.startswith("cvae_lightning.")]
    odd += [(f"callbacks.{key}", value) for key, value in config.callbacks.items() if value and key not in KNOWN]
    loggers = ((f"logger.{key}._target_", str(part._target_)) for key, part in config.logger.items() if part)
    odd += [(key, target) for key, target in loggers if target not in LOGGERS]
    usual = load_group("trainer", "default")
    given: Any = OmegaConf.to_container(config.trainer, resolve=False)
    odd += [(f"trainer.{key}", value) for key, value in given.items() if usual._get_node(key) != value]
    return f"{odd[0][0]}={odd[0][1]}" if odd else None


def kind(config: DictConfig) -> str:
    """The same text for all runs that can be in one pack: what their training depends on but `OWN`."""
    values: Any = OmegaConf.to_container(config, resolve=True)
    values["model"] = {
        key: part for key, part in values["model"].items() if key not in SHARED or part != values.get(key)
    }
    for key in (*OWN, *AFTERWARDS):
        *parents, last = key.split(".")
        node = values
        for parent in parents:
            node = node.get(parent) or {}
        node.pop(last, None)
    return json.dumps(values, sort_keys=True)
