"""Interpolations: the images on the way from one image to another, through the latents."""

from collections.abc import Iterator
from math import prod

import torch

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import UserError, check_integer, refuse
from cvae_lightning.core.fonts import shortened
from cvae_lightning.core.pictures import series_table
from cvae_lightning.core.shapes import Conditions, Latents
from cvae_lightning.drawing.inputs import chosen_images
from cvae_lightning.drawing.labels import chosen_labels, label_arrays, plain
from cvae_lightning.drawing.paths import spherical
from cvae_lightning.drawing.picture import Picture
from cvae_lightning.drawing.request import Request
from cvae_lightning.models import inference
from cvae_lightning.models.vae import VAE

MOST_OF_AN_END = 10  # characters of the name of an end, in a picture


def pictures(request: Request) -> Iterator[Picture]:
    """One picture with a row per pair, and arrays: images (pair, step, channels, height, width), labels, latents.

    The labels are those of `label_arrays`. The latents go along an arc from the first of a pair to the last in `steps`
    steps, while the conditioning changes from one label to the other; that of a number takes the numbers between.
    """
    steps = check_integer("steps", request.keys.steps, 2, "12 is the default.")
    num = check_integer("num", request.keys.num, 1, "8 is the default.")
    model = request.run.model()
    z, y = _ends(request, model, num)
    (first, last), (start, end) = z.chunk(2), y.chunk(2)
    size = 4 * len(first) * steps * prod(model.image_shape)
    request.check_capacity(f"steps={steps}", size, 2 * size)

    latents = spherical(first, last, steps)
    with torch.no_grad():
        columns = [
            model.likelihood_between(latents[:, step], start, end, share).mean
            for step, share in enumerate(torch.linspace(0, 1, steps).tolist())
        ]
    images = torch.stack(columns, 1)

    pairs = torch.stack([start, end], 1)
    names = _ways(model.condition, start, end)
    figure = series_table(images, names, "Interpolation along the arc between two latents")
    labels = label_arrays(model.condition, pairs)
    yield Picture("interpolations", figure, {"images": images, **labels, "latents": latents})


def _ways(condition: Condition, start: Conditions, end: Conditions) -> list[str]:
    """What each pair goes from and to, such as "digit 3, angle -30 to 30"; short enough for a picture."""
    names = [column.name for column in condition.columns]
    pairs = zip(condition.written_by_column(start), condition.written_by_column(end), strict=True)
    return [", ".join(map(_way, names, *pair)) for pair in pairs]


def _way(name: str, first: str, last: str) -> str:
    """From one value of a column to another; names of classes are cut so that both can be read."""
    if first == last:
        return first
    return f"{shortened(first, MOST_OF_AN_END)} to {shortened(last.removeprefix(f'{name} '), MOST_OF_AN_END)}"


def _ends(request: Request, model: VAE, num: int) -> tuple[Latents, Conditions]:
    """Latents and labels of `num` pairs, (2 * num, ...): the first of each pair, then the last of each.

    They come from the sampler or are the posterior means of images, as the key `between` says.
    """
    keys = request.keys
    if keys.between == "samples":
        size = 4 * num * prod(model.image_shape)  # bytes of one image per pair, which has at least two
        request.check_capacity(f"num={num}", 2 * size, 4 * size)
        labels = chosen_labels(request, model.condition)
        asked = "labels" if keys.condition is None else "condition"
        if keys[asked] is not None and len(labels) > num + 1:
            got = plain(keys[asked])
            refuse(f"at most {num + 1} labels for num={num}", asked, got, "Leave some out, or raise num.")
        y = labels[[(pair + end) % len(labels) for end in (0, 1) for pair in range(num)]]
        return inference.sample_latents(model, y, seed=request.seed), y
    if keys.between != "images":
        refuse("images or samples", "between", keys.between, "images is the default.")
    x, y = chosen_images(request, model, 2 * num)
    if keys.images is None and keys.index is None:  # a small split may have given an odd number of images
        x, y = (part[: len(part) // 2 * 2] for part in (x, y))
    if len(x) < 2 or len(x) % 2:
        raise UserError(
            f"Expected pairs of images, the first of each and then the last of each, got {len(x)} images. "
            "Name an even number of images, at least two."
        )
    return inference.encode(model, x, y).mean, y
