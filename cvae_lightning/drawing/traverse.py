"""Traversals: images along one latent at a time, which show what each latent does, or along one of the labels."""

import logging
from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor

from cvae_lightning.core.conditions import Column, Condition, Number
from cvae_lightning.core.errors import check_integer, check_positive, refuse
from cvae_lightning.core.pictures import series_table
from cvae_lightning.core.shapes import Conditions
from cvae_lightning.drawing.labels import chosen_labels, file_names, label_arrays, listed, subject
from cvae_lightning.drawing.paths import traversal
from cvae_lightning.drawing.picture import Picture
from cvae_lightning.drawing.request import Request
from cvae_lightning.models import inference
from cvae_lightning.models.samplers import approximate_density
from cvae_lightning.models.vae import VAE

log = logging.getLogger(__name__)

MAX_PICTURES = 20  # of labels that nobody asked for by name


def pictures(request: Request) -> Iterator[Picture]:
    """One picture per label, of the latents, and one per column of numbers; with `over`, those of its columns only."""
    steps = check_integer("steps", request.keys.steps, 2, "13 is the default.")
    reach = check_positive("reach", request.keys.reach, "3 is the default.")
    num = check_integer("num", request.keys.num, 1, "20 is the default.")
    model = request.run.model()
    rows = chosen_labels(request, model.condition)
    if request.keys.over is not None:
        for column in _columns(request, model.condition):
            yield _over_column(request, model, rows, column, steps, num)
        return
    if len(rows) > MAX_PICTURES and request.keys.labels is None and request.keys.condition is None:
        log.warning("The first %d of %d labels are drawn; labels=[...] draws others.", MAX_PICTURES, len(rows))
        rows = rows[:MAX_PICTURES]
    yield from _over_latents(request, model, rows, steps, reach, num)
    for column in model.condition.columns:
        if isinstance(column, Number):
            yield _over_column(request, model, rows, column, steps, num)


def _over_latents(
    request: Request, model: VAE, rows: Conditions, steps: int, reach: float, num: int
) -> Iterator[Picture]:
    """One picture per label with a row per latent, those with the largest KL first.

    A row shows `steps` values of its latent from -reach to reach; the other latents stay at the mean of the sampler's
    latents for that label. The arrays are images (row, step, channels, height, width), latents, order (the latent of
    each row), kl (of each latent, in nats), values, and the labels of `label_arrays`.
    """
    condition = model.condition
    size = 4 * steps * min(num, model.latent_dim) * prod(model.image_shape)
    request.check_capacity(f"steps={steps}", size * len(rows), 2 * size)

    sampler = approximate_density(model.sampler, model.prior_net).by_class(condition.num_groups)
    kl, centres = inference.kl_by_latent(model), sampler.moments().mean[condition.groups(rows)]
    order, values = kl.argsort(descending=True, stable=True)[:num], torch.linspace(-reach, reach, steps)
    row_names = [f"z{latent}: {kl[latent]:.2f}" for latent in order.tolist()]
    names = condition.written(rows)
    for position, (name, file_name) in enumerate(zip(names, file_names(names), strict=True)):
        latents = traversal(centres[position], order, values)
        y = rows[[position]]
        each = y.repeat_interleave(len(order) * steps, 0)
        images = inference.decode(model, latents.flatten(0, 1), each).unflatten(0, (-1, steps))
        title = f"Each latent over -{reach:g} to {reach:g}, by KL in nats"
        figure = series_table(images, row_names, f"{title}; {subject(condition, name)}" if condition else title)
        arrays = {"images": images, "latents": latents, "order": order, "kl": kl, "values": values}
        arrays |= label_arrays(condition, y)
        yield Picture(f"traversal_{file_name}" if condition else "traversal", figure, arrays)


def _over_column(request: Request, model: VAE, labels: Conditions, column: Column, steps: int, num: int) -> Picture:
    """A picture whose columns are values of one column of the labels, and whose rows are latents from the sampler.

    Numbers go in `steps` equal steps from the lowest to the highest of the training images. There are `num` rows, as
    many for each of the other `labels`. The arrays are images (row, step, channels, height, width), latents (row,
    latent), values (step, values of the column), and the labels of `label_arrays`, for each row and step.
    """
    condition, values = model.condition, column.steps(steps)
    rows, names = _without(condition, labels, column)
    if len(rows) > num and request.keys.labels is None and request.keys.condition is None:
        log.warning("The first %d of %d labels are drawn; labels=[...] draws others, and num= more.", num, len(rows))
        rows, names = rows[:num], names[:num]
    per_label = max(1, num // len(rows))
    size = 4 * per_label * len(rows) * len(values) * prod(model.image_shape)
    request.check_capacity(f"num={num}", size, 2 * size)

    y = rows.repeat_interleave(per_label, 0)
    latents = inference.sample_latents(model, y, seed=request.seed)
    moved = torch.stack([_with(condition, y, column, value) for value in values], 1)
    images = inference.decode(model, latents.repeat_interleave(len(values), 0), moved.flatten(0, 1))
    images = images.unflatten(0, (-1, len(values)))

    row_names = [name for name in names for _ in range(per_label)]
    low, high = (column.written(value).removeprefix(f"{column.name} ") for value in values[[0, -1]].tolist())
    title = f"{column.name} from {low} to {high}, each row with latents of its own, seed {request.seed}"
    figure = series_table(images, row_names, title)
    arrays = {"images": images, "latents": latents, "values": values, **label_arrays(condition, moved)}
    return Picture(f"traversal_over_{file_names([column.name])[0]}", figure, arrays)


def _columns(request: Request, condition: Condition) -> list[Column]:
    """The columns that the key `over` names. Raises UserError for one that the model is not conditioned on."""
    known = {column.name: column for column in condition.columns}
    names = list(map(str, listed(request.keys.over)))
    if unknown := [name for name in names if name not in known] or (not names and ["none"]):
        what = f"one of {', '.join(known)}" if known else "null"
        refuse(what, "over", unknown[0], "" if known else "This model is not conditioned on anything.")
    return [known[name] for name in names]


def _without(condition: Condition, labels: Conditions, column: Column) -> tuple[Conditions, list[str]]:
    """The labels that differ in other columns than this one, and how these are written."""
    place = condition.columns.index(column)
    names = [", ".join(parts[:place] + parts[place + 1 :]) for parts in condition.written_by_column(labels)]
    first = {name: position for position, name in reversed(list(enumerate(names)))}
    positions = sorted(first.values())
    return labels[positions], [names[position] for position in positions]


def _with(condition: Condition, labels: Conditions, column: Column, value: Tensor) -> Conditions:
    """`labels` with the same `value` of one column."""
    if condition.is_one_class:
        return value.long().expand(len(labels))
    parts = (value.expand(len(labels), -1) if other is column else part for other, part in condition.by_column(labels))
    return torch.cat(list(parts), 1)
