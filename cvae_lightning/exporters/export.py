"""The command that exports a trained model for use without this project."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.files import refuse_links_out_of
from cvae_lightning.runs.sweep import chosen_run

log = logging.getLogger(__name__)

FORMATS = {"html": ("html",), "onnx": ("onnx",), "all": ("html", "onnx")}


def export(config: DictConfig) -> None:
    """Write explorer.html, the ONNX files, or both, and log a line about each.

    Raises UserError for an invalid key, an incomplete run, or a model that the format can't hold.
    """
    if config.format not in FORMATS:
        refuse(f"one of {', '.join(FORMATS)}", "format", config.format, "html is the default.")
    run = chosen_run(str(config.run))
    _ = run.metrics  # raises UserError if the run is incomplete, before torch is imported
    if config.out is None:
        refuse_links_out_of(Path(str(config.run)), "run", "Remove the link, or name another folder with out.")

    from cvae_lightning.exporters.explorer import write_explorer
    from cvae_lightning.exporters.onnx_models import write_onnx_models

    folder = run.path / "export" if config.out is None else Path(str(config.out))
    model = run.model()
    writers = {"html": write_explorer, "onnx": write_onnx_models}
    for name in FORMATS[config.format]:
        for line in writers[name](model, run.metrics, folder):
            log.info(line)
