"""Traversals: images along one latent at a time, which show what each latent does."""

from collections.abc import Iterator
from math import prod

import torch

from cvae_lightning.core.errors import check_integer, check_positive
from cvae_lightning.core.pictures import series_table
from cvae_lightning.drawing.inputs import chosen_labels
from cvae_lightning.drawing.paths import traversal
from cvae_lightning.drawing.picture import Picture
from cvae_lightning.drawing.request import Request
from cvae_lightning.models import inference


def pictures(request: Request) -> Iterator[Picture]:
    """One picture per label with a row per latent, those with the largest KL first.

    A row shows `steps` values of its latent from -reach to reach; the other latents stay at the mean of the sampler's
    latents for that label. The arrays are images (row, step, 1, height, width), latents, order (the latent of each
    row), kl (of each latent, in nats) and values.
    """
    steps = check_integer("steps", request.keys.steps, 2, "13 is the default.")
    reach = check_positive("reach", request.keys.reach, "3 is the default.")
    num = check_integer("num", request.keys.num, 1, "20 is the default.")
    model = request.run.model()
    labels = chosen_labels(request, model)
    size = 4 * steps * min(num, model.latent_dim) * prod(model.image_shape)
    request.check_capacity(f"steps={steps}", size * max(len(labels), 1), 2 * size)

    sampler = model.sampler.mixtures(model.prior_net).by_class(model.num_classes)
    kl, centres = inference.kl_by_latent(model), sampler.moments().mean
    order, values = kl.argsort(descending=True, stable=True)[:num], torch.linspace(-reach, reach, steps)
    names = [f"z{latent}: {kl[latent]:.2f}" for latent in order.tolist()]
    for label in labels or [0]:
        latents = traversal(centres[label], order, values)
        y = torch.full((len(order) * steps,), label)
        images = inference.decode(model, latents.flatten(0, 1), y).unflatten(0, (-1, steps))
        title = f"Each latent over -{reach:g} to {reach:g}, by KL in nats" + (f"; label {label}" if labels else "")
        figure = series_table(images, names, title)
        arrays = {"images": images, "latents": latents, "order": order, "kl": kl, "values": values}
        yield Picture(f"traversal_{label}" if labels else "traversal", figure, arrays)
