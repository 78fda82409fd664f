"""The commands: the name of each, what it does, and the function that does it."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from omegaconf import DictConfig

from cvae_lightning.core.imports import quick_imports

COMMANDS = {
    "train": "train and evaluate a model; resume=<run directory> continues a run",
    "sample": "draw new images from a trained model",
    "reconstruct": "show images beside their reconstructions",
    "interpolate": "show a path through the latent space from one image to another",
    "traverse": "show what each latent dimension changes",
    "embed": "map the images of a split by their latents",
    "score": "say how likely images are, and which class they probably have",
    "inpaint": "draw what is missing in images",
    "evaluate": "measure a finished run again",
    "export": "export a trained model as a web page or to ONNX",
    "report": "compare the runs of a sweep: sweep.csv, report.md, report.html",
    "judge": "train the classifier that judges samples",
}
TASKS = {  # by the configuration in conf/, which has the name of the command, except for the two of `train`
    "config": "cvae_lightning.cli.train:train",
    "resume": "cvae_lightning.cli.train:resume",
    "sample": "cvae_lightning.drawing.commands:sample",
    "reconstruct": "cvae_lightning.drawing.commands:reconstruct",
    "interpolate": "cvae_lightning.drawing.commands:interpolate",
    "traverse": "cvae_lightning.drawing.commands:traverse",
    "embed": "cvae_lightning.drawing.commands:embed",
    "score": "cvae_lightning.drawing.commands:score",
    "inpaint": "cvae_lightning.drawing.commands:inpaint",
    "evaluate": "cvae_lightning.training.evaluate:evaluate",
    "export": "cvae_lightning.exporters.export:export",
    "report": "cvae_lightning.reports.report:report",
    "judge": "cvae_lightning.judging.train:train_judge",
}


def task_of(config_name: str) -> Callable[[DictConfig], Any]:
    """The function that does the work. It is imported only now, so that --help does not wait for torch."""
    module, _, name = TASKS[config_name].partition(":")
    with quick_imports():
        task: Callable[[DictConfig], Any] = getattr(import_module(module), name)
    return task
