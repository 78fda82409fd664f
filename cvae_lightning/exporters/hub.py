"""A run as a folder for a model hub: card, weights, configuration, and code that loads it without this project."""

import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from cvae_lightning.core.build import build
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.files import sha256_of, write_whole
from cvae_lightning.exporters.standalone import check_standalone, standalone
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.configuration import shareable, without_place
from cvae_lightning.runs.metrics_file import write_metrics
from cvae_lightning.runs.model_card import PICTURES, Hub, model_card
from cvae_lightning.runs.run import METRICS, SHARED_CONFIG, WEIGHTS, Run
from cvae_lightning.runs.wording import example_of

MANY = 1000  # numbers in a tensor that is rounded


def write_hub_folder(run: Run, folder: Path, dtype: str, licence: str | None) -> Iterator[str]:
    """Write the folder, which appears as a whole; yield a line about each of its files.

    Raises UserError, and leaves nothing, if a weight is too large for `dtype`, or if the code that was written computes
    something else than the model.
    """
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".export-") as place:
        draft = Path(place) / "folder"
        draft.mkdir()
        _write(run, draft, dtype, licence)
        if folder.is_dir():
            folder.rmdir()  # it is empty
        draft.rename(folder)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield f"{file}: {file.stat().st_size / 1e6:.2f} MB"


def _write(run: Run, folder: Path, dtype: str, licence: str | None) -> None:
    weights = rounded(run.model().state_dict(), getattr(torch, dtype))
    model: VAE = build(run.raw_config.model)
    model.load_state_dict(weights)
    model.eval()
    write_whole(folder / WEIGHTS, save(weights))
    write_metrics(folder / METRICS, run.metrics, sha256_of(folder / WEIGHTS))
    write_whole(folder / SHARED_CONFIG, OmegaConf.to_yaml(shareable(run.raw_config)))
    facts = json.dumps(preprocessing(model, run), indent=1, ensure_ascii=False)
    write_whole(folder / "preprocessing.json", facts + "\n")
    alone = standalone(model)
    write_whole(folder / "model.py", alone.code)
    write_whole(folder / "tables.safetensors", save(alone.tables))
    check_standalone(model, folder)
    pictures = list(_write_pictures(run.path / "figures", folder / "figures"))
    num = example_of(model.condition).num
    y = model.condition.spread(num).tolist()
    hub = Hub(f"torch.tensor({y})" if model.condition else str(num), licence, rounded=dtype != "float32")
    card = model_card(run.metrics, run.config, list(without_places(run.overrides)), pictures, hub)
    write_whole(folder / "README.md", card)


def _write_pictures(drawn: Path, folder: Path) -> Iterator[str]:
    """Write those of the card as WebP, which takes an eighth of the space; yield the name of each."""
    for name, kind in itertools.product(PICTURES, ("png", "webp")):  # webp in a folder that is shared again
        if (drawn / f"{name}.{kind}").is_file():
            folder.mkdir(exist_ok=True)
            with Image.open(drawn / f"{name}.{kind}") as picture:
                picture.convert("RGB").save(folder / f"{name}.webp", quality=80)
            yield name


def rounded(weights: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights, those of many numbers in `dtype`. Raises UserError for one that is too large for it.

    The others hardly take space, and some are exact for a reason: a component is drawn by the mixture's weights.
    """
    result = {
        name: weight.to(dtype) if weight.is_floating_point() and weight.numel() >= MANY else weight
        for name, weight in weights.items()
    }
    for name, weight in result.items():
        if not torch.equal(weight.isfinite(), weights[name].isfinite()):
            raise UserError(f"Expected weights that float16 can hold, got larger ones in {name}. Use dtype=float32.")
    return result


def preprocessing(model: VAE, run: Run) -> dict[str, object]:
    """What the model takes: its images, and its labels in their order."""
    return {
        "image_shape": list(model.image_shape),
        "colour": "grey" if model.image_shape[0] == 1 else "RGB",
        "value_range": [0, 1],
        "binarize": run.metrics["binarize"],
        "condition": model.condition.described(),
    }


def without_places(overrides: list[str]) -> Iterator[str]:
    """Overrides for other machines: without where data and runs lie on this one."""
    for override in overrides:
        key, equals, value = override.partition("=")
        if key.lstrip("+") != "data_dir" and not key.startswith("hydra."):
            yield f"{key}{equals}{without_place(value)}"
