"""A map of the posterior means of a split."""

import logging
import shlex
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from cvae_lightning.drawing.request import Verb, split_of

if TYPE_CHECKING:
    from pathlib import Path

    from cvae_lightning.core.shapes import Latents
    from cvae_lightning.data.splits import Split

log = logging.getLogger(__name__)

NUM_SPRITES = 5000  # TensorBoard shows no more than a picture of 8192x8192 pixels holds, and grows slow before


def embed(config: DictConfig) -> None:
    """Arrays means, log_vars, labels and map; a picture of the map; and the means for TensorBoard's projector."""
    verb = Verb(config)  # a mistake there is told before torch is imported

    from cvae_lightning.core.errors import check_boolean
    from cvae_lightning.core.pictures import scatter
    from cvae_lightning.drawing.maps import map_of
    from cvae_lightning.models import inference

    check_boolean("projector", config.projector, "true is the default.")
    model = verb.run.model()
    split = split_of(verb.run, config.split, config.data_dir)
    posterior = inference.encode(model, split.images / 255, split.labels)
    points = map_of(posterior.mean, config.map, verb.seed)
    title = f"Posterior means of {len(points):,} images of {config.split} ({config.map})"
    figure = scatter(points, split.labels, title)
    arrays = {"means": posterior.mean, "log_vars": posterior.log_var, "labels": split.labels, "map": points}
    verb.write("embedding", figure, **arrays)
    if config.projector:
        write_projector(verb.folder / "projector", posterior.mean, split)
        log.info("tensorboard --logdir %s (PROJECTOR)", shlex.quote(str(verb.folder / "projector")))


def write_projector(folder: "Path", means: "Latents", split: "Split") -> None:
    """What TensorBoard's projector shows: the first images of the split as sprites, coloured by their labels."""
    from shutil import rmtree

    from torch.utils.tensorboard.writer import SummaryWriter

    from cvae_lightning.core.capacity import full_disk_explained

    if (folder / "projector_config.pbtxt").is_file():  # of an earlier call, whose points would stand beside these
        rmtree(folder)
    with full_disk_explained(folder), SummaryWriter(str(folder)) as writer:
        sprites = 1 - split.images[:NUM_SPRITES] / 255
        writer.add_embedding(means[:NUM_SPRITES], split.labels[:NUM_SPRITES].tolist(), sprites, tag="posterior_means")
