"""Samples: new images from the sampler of a trained model."""

from collections.abc import Iterator
from math import prod

import torch

from cvae_lightning.core.archives import Parts
from cvae_lightning.core.errors import check_integer, check_not_negative
from cvae_lightning.core.pictures import MAX_ROWS, image_table
from cvae_lightning.drawing.labels import chosen_labels, label_arrays
from cvae_lightning.drawing.picture import Picture
from cvae_lightning.drawing.request import Request
from cvae_lightning.models import inference

COLUMNS, ROWS = 12, 10  # of the picture; the arrays hold all samples


def pictures(request: Request) -> Iterator[Picture]:
    """One picture with a row per label, and the arrays images (number, channels, height, width), labels and latents.

    `num` is the number of images per label, or of all images for an unconditional model. The labels are those of
    `label_arrays`.
    """
    num = check_integer("num", request.keys.num, 1, "12 is the default.")
    temperature = request.keys.temperature
    if temperature is not None:
        check_not_negative("temperature", temperature, "1 is the spread that was fitted.")
    model = request.run.model()
    condition = model.condition
    rows = chosen_labels(request, condition)
    total = num * len(rows)
    request.check_capacity(f"num={num}", 4 * total * prod(model.image_shape), 8 * total * (1 + model.latent_dim))

    y = rows.repeat_interleave(num, 0)
    latents = inference.sample_latents(model, y, temperature, request.seed)
    images = Parts((total, *model.image_shape), (part.numpy() for part in inference.decoded(model, latents, y)))

    columns = min(num, 2 * COLUMNS if condition else COLUMNS)
    by_label = torch.arange(0, total, num)[:MAX_ROWS, None] + torch.arange(columns)
    shown = by_label.flatten() if condition else torch.arange(min(num, ROWS * columns))
    names = condition.written(rows[:MAX_ROWS]) if condition else [""] * (len(shown) // columns)
    tiles = inference.decode(model, latents[shown], y[shown])
    of_all = f", the first {MAX_ROWS} of {len(rows)} labels" if len(rows) > MAX_ROWS else ""
    numbers = rows[:MAX_ROWS].tolist() if condition and condition.is_one_class else ()
    figure = image_table(tiles, columns, names, f"Samples, seed {request.seed}{of_all}", numbers)
    yield Picture("samples", figure, {"images": images, **label_arrays(condition, y), "latents": latents})
