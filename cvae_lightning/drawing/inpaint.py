"""Inpainting: what is missing in an image, drawn from a model's distribution of it given the rest."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from cvae_lightning.core.capacity import check_memory
from cvae_lightning.core.errors import check_integer, refuse
from cvae_lightning.core.pictures import image_table
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.data.image_files import read_images
from cvae_lightning.drawing.inputs import chosen_images
from cvae_lightning.drawing.labels import label_arrays
from cvae_lightning.drawing.picture import Picture
from cvae_lightning.drawing.request import Request
from cvae_lightning.models.inpainting import inpaint

log = logging.getLogger(__name__)

ROWS, COLUMNS = 20, 12  # of the picture, beside the image itself and what is seen of it
MISSING = 0.5  # the grey of missing pixels
FEW = 5.0  # effective proposals, below which the draws of an image hardly differ
PARTS: dict[str, Callable[[int, int], tuple[slice, slice]]] = {
    "top": lambda height, width: (slice(0, height // 2), slice(None)),
    "bottom": lambda height, width: (slice(height - height // 2, None), slice(None)),
    "left": lambda height, width: (slice(None), slice(0, width // 2)),
    "right": lambda height, width: (slice(None), slice(width - width // 2, None)),
    "centre": lambda height, width: (_middle(height), _middle(width)),
}
"""The parts of an image that can be missing, by their names."""


def _middle(size: int) -> slice:
    """The middle half of `size` pixels; at least one is left on each side."""
    border = max(1, size // 4)
    return slice(border, size - border)


def pictures(request: Request) -> Iterator[Picture]:
    """One row per image: the image, what is seen of it, and draws of the whole.

    The arrays are images, seen (height, width), draws (number, draws, channels, height, width), effective (the
    effective number of proposals for each image), and labels as in `label_arrays`.
    """
    keys = request.keys
    num = check_integer("num", keys.num, 1, "8 is the default.")
    num_draws = check_integer("draws", keys.draws, 1, "10 is the default.")
    num_proposals = check_integer("proposals", keys.proposals, 2, "2000 is the default.")
    model = request.run.model()
    channels, height, width = model.image_shape
    check_memory(16 * num_proposals * channels * height * width, f"proposals={num_proposals}", "Lower it.")
    check_memory(8 * num * num_draws * channels * height * width, f"draws={num_draws}", "Lower it.")
    seen = seen_pixels(keys.mask, height, width)
    x, y = chosen_images(request, model, num)

    whole = seen.float().expand(channels, -1, -1)[None]
    drawn, effective = [], []
    with random_stream(request.seed):
        for image, label in zip(torch.split(x, 1), torch.split(y, 1), strict=True):
            found = inpaint(model, image, label, whole, num_draws, num_proposals)
            drawn.append(found.images)
            effective.append(found.effective)
    draws = torch.stack(drawn)
    if (few := sum(number < FEW for number in effective)) and not seen.all():
        log.warning("The draws of %d of %d images come from few latents: raise proposals.", few, len(x))

    shown = draws[:ROWS, :COLUMNS]
    given = torch.where(whole > 0, x, MISSING)[:ROWS]
    table = torch.cat([x[:ROWS, None], given[:, None], shown], 1)
    names = model.condition.written(y[:ROWS]) if model.condition else [""] * len(shown)
    title = "Images, what is seen of them, and draws of what is missing"
    figure = image_table(table.flatten(0, 1), table.shape[1], names, title)
    arrays = {"images": x, "seen": seen, "draws": draws, "effective": torch.tensor(effective)}
    yield Picture("inpaintings", figure, {**arrays, **label_arrays(model.condition, y)})


def seen_pixels(mask: object, height: int, width: int) -> Tensor:
    """Which pixels are seen, (height, width) booleans: not those that `mask` names, or that its picture has white."""
    seen = torch.ones(height, width, dtype=torch.bool)
    if isinstance(mask, str) and mask in PARTS:
        seen[PARTS[mask](height, width)] = False
        return seen
    if not isinstance(mask, str) or not Path(mask).is_file():
        refuse(f"{', '.join(PARTS)} or a picture that is white where pixels are missing", "mask", mask, "Name one.")
    return read_images([mask], (1, height, width), light_on_dark=False)[0, 0] < 0.5  # half of white
