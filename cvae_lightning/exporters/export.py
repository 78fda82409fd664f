"""The command that exports a trained model for use without this project."""

import logging

from omegaconf import DictConfig

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.imports import quick_imports
from cvae_lightning.runs.sweep import run_and_output

log = logging.getLogger(__name__)

FORMATS = {"html": ("html",), "onnx": ("onnx",), "all": ("html", "onnx")}


def export(config: DictConfig) -> None:
    """Write explorer.html, the ONNX files, or both, and log a line about each.

    Raises UserError for an invalid key, an incomplete run, or a model that the format cannot hold.
    """
    if config.format not in FORMATS:
        refuse(f"one of {', '.join(FORMATS)}", "format", config.format, "html is the default.")
    run, folder = run_and_output(config.run, config.out, "export")

    with quick_imports():  # of torch, which a mistake above does not wait for
        from cvae_lightning.exporters.explorer import write_explorer
        from cvae_lightning.exporters.onnx_models import write_onnx_models

    model = run.model()
    writers = {"html": write_explorer, "onnx": write_onnx_models}
    for name in FORMATS[config.format]:
        for line in writers[name](model, run.metrics, folder):
            log.info(line)
