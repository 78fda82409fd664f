"""The command that exports a trained model for use without this project."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from cvae_lightning.core.errors import UserError, refuse
from cvae_lightning.core.imports import quick_imports
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import run_and_output

log = logging.getLogger(__name__)

DTYPES = ("float32", "float16")
FORMATS = {"html": ("html",), "onnx": ("onnx",), "all": ("html", "onnx")}


def export(config: DictConfig) -> None:
    """Write explorer.html, the ONNX files, or both, or a folder for a model hub, and log a line about each file.

    Raises UserError for an invalid key, an incomplete run, or a model that the format cannot hold.
    """
    if config.format not in FORMATS:
        refuse(f"one of {', '.join(FORMATS)}", "format", config.format, "html is the default.")
    _check_keys_of_hub_folder(config)
    run, folder = run_and_output(config.run, config.out, "export")
    lines = _write_hub_folder(run, config) if config.to is not None else _write_formats(run, folder, config.format)
    for line in lines:
        log.info(line)


def _write_formats(run: Run, folder: Path, chosen: str) -> Iterator[str]:
    with quick_imports():  # of torch, which a mistake in a key does not wait for
        from cvae_lightning.exporters.explorer import write_explorer
        from cvae_lightning.exporters.onnx_models import write_onnx_models

    model = run.model()
    writers = {"html": write_explorer, "onnx": write_onnx_models}
    for name in FORMATS[chosen]:
        yield from writers[name](model, run.metrics, folder)


def _write_hub_folder(run: Run, config: DictConfig) -> Iterator[str]:
    with quick_imports():
        from cvae_lightning.exporters.hub import write_hub_folder

    yield from write_hub_folder(run, Path(str(config.to)), config.dtype, config.license)


def _check_keys_of_hub_folder(config: DictConfig) -> None:
    """Raises UserError for a wrong value of the keys that belong to the folder `to`, or if that holds something."""
    if config.dtype not in DTYPES:
        refuse(f"one of {', '.join(DTYPES)}", "dtype", config.dtype, "float16 is half as large, and rounds.")
    if config.license is not None and not re.fullmatch(r"[A-Za-z][\w.+-]*", str(config.license), re.ASCII):
        refuse("a short name", "license", config.license, "For example mit or cc-by-4.0.")
    if config.to is None:
        if (config.dtype, config.license) != ("float32", None):
            raise UserError("dtype and license belong to a folder for a model hub: add to=<folder>, or leave them out.")
        return
    if config.out is not None:
        refuse("only one of the two", "out and to", f"{config.out} and {config.to}", "Each is a folder to write into.")
    folder = Path(str(config.to))
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        refuse("a new or an empty folder", "to", config.to, "Nothing is overwritten. Name another.")
