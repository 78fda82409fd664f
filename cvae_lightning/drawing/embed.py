"""Embeddings: the posterior means of a split, and a map of them."""

import logging
import shlex
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

from torch.utils.tensorboard.writer import SummaryWriter

from cvae_lightning.core.capacity import full_disk_explained
from cvae_lightning.core.errors import check_boolean
from cvae_lightning.core.pictures import scatter
from cvae_lightning.core.shapes import Latents
from cvae_lightning.data.splits import Split
from cvae_lightning.drawing.inputs import split_of
from cvae_lightning.drawing.maps import map_of
from cvae_lightning.drawing.picture import Picture
from cvae_lightning.drawing.request import Request
from cvae_lightning.models import inference

log = logging.getLogger(__name__)

NUM_SPRITES = 5000  # TensorBoard shows at most as many as fit into 8192x8192 pixels, and is slow long before that


def pictures(request: Request) -> Iterator[Picture]:
    """One picture of the map, and the arrays means (number, latent), log_vars, labels, map (number, 2).

    With `projector`, the means are also written for TensorBoard's projector, after the picture.
    """
    keys = request.keys
    check_boolean("projector", keys.projector, "true is the default.")
    model = request.run.model()
    split = split_of(request.run, keys.split, keys.data_dir)

    posterior = inference.encode(model, split.images / 255, split.labels)
    points = map_of(posterior.mean, keys.map, request.seed)

    title = f"Posterior means of {len(points):,} images of {keys.split} ({keys.map})"
    figure = scatter(points, split.labels, title)
    arrays = {"means": posterior.mean, "log_vars": posterior.log_var, "labels": split.labels, "map": points}
    yield Picture("embedding", figure, arrays)
    if keys.projector:
        folder = request.folder / "projector"
        _write_projector(folder, posterior.mean, split)
        log.info("tensorboard --logdir %s (PROJECTOR)", shlex.quote(str(folder)))


def _write_projector(folder: Path, means: Latents, split: Split) -> None:
    """Write the means of the split's first images, with the images as sprites, coloured by their labels."""
    if (folder / "projector_config.pbtxt").is_file():  # left by an earlier command; its points would be shown too
        rmtree(folder)
    with full_disk_explained(folder), SummaryWriter(str(folder)) as writer:
        sprites = 1 - split.images[:NUM_SPRITES] / 255
        writer.add_embedding(means[:NUM_SPRITES], split.labels[:NUM_SPRITES].tolist(), sprites, tag="posterior_means")
