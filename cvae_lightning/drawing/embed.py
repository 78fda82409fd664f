"""Embeddings: the posterior means of a split, and a map of them."""

import logging
import shlex
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from cvae_lightning.core.capacity import full_disk_explained
from cvae_lightning.core.conditions import Column, Condition, Number
from cvae_lightning.core.errors import check_boolean
from cvae_lightning.core.pictures import scatter, scatter_by_number
from cvae_lightning.core.shapes import ByteImages, Conditions, Images, Labels, Latents
from cvae_lightning.data.splits import Split
from cvae_lightning.drawing.inputs import split_of
from cvae_lightning.drawing.labels import label_arrays
from cvae_lightning.drawing.maps import map_of
from cvae_lightning.drawing.picture import Picture
from cvae_lightning.drawing.request import Request
from cvae_lightning.models import inference
from cvae_lightning.models.latents import DiagonalGaussian
from cvae_lightning.models.vae import VAE

log = logging.getLogger(__name__)

PART = 1000  # images that are encoded at a time
MOST_COMBINATIONS = 12  # of flags that have a colour of their own
NUM_SPRITES = 5000  # TensorBoard is slow with more
SPRITE_PIXELS = 8192  # on each side of the picture that TensorBoard takes all sprites from


def pictures(request: Request) -> Iterator[Picture]:
    """One picture of the map, and the arrays means (number, latent), log_vars, labels, map (number, 2).

    Points have the colour of their class, else that of the first number, else that of their combination of flags. The
    labels are those of `label_arrays`. With `projector`, the means are also written for TensorBoard's projector, after
    the picture.
    """
    keys = request.keys
    check_boolean("projector", keys.projector, "true is the default.")
    model = request.run.model()
    split = split_of(request.run, keys.split, request.run.data_moved_to(keys))
    condition = request.run.data_condition if split.condition is None else split.condition

    posterior = _encoded(model, split)
    points = map_of(posterior.mean, keys.map, request.seed)

    title = f"Posterior means of {len(points):,} images of {keys.split} ({keys.map})"
    arrays = {"means": posterior.mean, "log_vars": posterior.log_var, **label_arrays(condition, split.labels)}
    yield Picture("embedding", _coloured(points, split.labels, condition, title), {**arrays, "map": points})
    if keys.projector:
        folder = request.folder / "projector"
        _write_projector(folder, posterior.mean, split, condition)
        log.info("tensorboard --logdir %s (PROJECTOR)", shlex.quote(str(folder)))


def _encoded(model: VAE, split: Split) -> DiagonalGaussian:
    """q(z | x, y) of all images of the split, of which a part at a time becomes floats."""
    parts = zip(split.images.split(PART), split.labels.split(PART), strict=True)
    means, log_vars = zip(*(inference.encode(model, *part) for part in parts), strict=True)
    return DiagonalGaussian(torch.cat(means), torch.cat(log_vars))


def _coloured(points: Tensor, y: Conditions, condition: Condition, title: str) -> Figure:
    """The map, coloured by what the images are labelled with."""
    if condition.main:
        return scatter(points, condition.classes(y), title, condition.class_names)
    for column, values in condition.by_column(y):
        if isinstance(column, Number):
            return scatter_by_number(points, values[:, 0], title, column.name)
    combinations, names = _combinations(condition, y)
    return scatter(points, combinations, title, names)


def _combinations(condition: Condition, y: Conditions) -> tuple[Labels, list[str]]:
    """The combination of flags of each image as a number, and their names, the most frequent first.

    All that are rarer than the first `MOST_COMBINATIONS` count as one. Images without labels have one without a name.
    """
    known = y.nan_to_num(-1.0) if condition else y
    different, number, counts = known.unique(dim=0, return_inverse=True, return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    names = condition.written(torch.where(different < 0, torch.nan, different)[order] if condition else different)
    rank = order.argsort()[number].clamp(max=MOST_COMBINATIONS)
    return rank, names if len(names) <= MOST_COMBINATIONS else [*names[:MOST_COMBINATIONS], "others"]


def _write_projector(folder: Path, means: Latents, split: Split, condition: Condition) -> None:
    """Write the means of the split's first images, with the images as sprites and their labels as metadata."""
    if (folder / "projector_config.pbtxt").is_file():  # left by an earlier command; its points would be shown too
        rmtree(folder)
    num = max(1, min(NUM_SPRITES, (SPRITE_PIXELS // max(split.images.shape[2:])) ** 2))
    names = [column.name for column in condition.columns]
    metadata = list(zip(*(_written(*part) for part in condition.by_column(split.labels[:num])), strict=True))
    with full_disk_explained(folder), SummaryWriter(str(folder)) as writer:
        writer.add_embedding(
            means[:num],
            [row[0] for row in metadata] if len(names) == 1 else metadata or None,
            _sprites(split.images[:num]),
            tag="posterior_means",
            metadata_header=names if len(names) > 1 else None,
        )


def _written(column: Column, values: Tensor) -> list[str]:
    """The values of a column of labels for TensorBoard, in one line each; numbers stay numbers."""
    write = (lambda row: f"{row[0]:g}") if isinstance(column, Number) else column.written
    unknown = values.isnan().any(1).tolist()
    rows = values.nan_to_num().tolist()
    return ["unknown" if missing else " ".join(write(row).split()) for row, missing in zip(rows, unknown, strict=True)]


def _sprites(images: ByteImages) -> Images:
    """Images as the projector shows them: grey ones black on white, colour as it is, and all of them square."""
    levels = images / 255
    if images.shape[1] != 3:
        levels = 1 - levels.mean(1, keepdim=True)
    height, width = images.shape[2:]
    side = max(height, width)
    return F.pad(levels, (0, side - width, 0, side - height), value=1.0)
