"""Images on the way from one image to another, through the latents."""

from math import prod
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from cvae_lightning.drawing.request import Verb, asked_images, asked_labels

if TYPE_CHECKING:
    from cvae_lightning.core.shapes import Labels, Latents
    from cvae_lightning.models.vae import VAE


def interpolate(config: DictConfig) -> None:
    """One row a pair: `steps` images along the arc between two latents, while the label goes over into the other."""
    verb = Verb(config)  # a mistake there is told before torch is imported

    import torch

    from cvae_lightning.core.errors import check_integer
    from cvae_lightning.core.pictures import MOST, evenly, image_table
    from cvae_lightning.drawing.paths import spherical

    steps = check_integer("steps", config.steps, 2, "12 is the default.")
    model = verb.run.model()
    z, y = ends(config, verb, model, check_integer("num", config.num, 1, "8 is the default."))
    (first, last), (start, end) = z.unflatten(0, (2, -1)), y.unflatten(0, (2, -1))
    size = 4 * len(first) * steps * prod(model.image_shape)
    verb.check_capacity(f"steps={steps}", size, 2 * size)
    paths = spherical(first, last, steps)
    with torch.no_grad():
        between = [
            model.likelihood_between(paths[:, step], start, end, share).mean
            for step, share in enumerate(torch.linspace(0, 1, steps).tolist())
        ]
    images = torch.stack(between, 1)
    pairs = torch.stack([start, end], 1)
    shown = images[:MOST, evenly(steps)]
    names = [f"{a} to {b}" if a != b else str(a) for a, b in pairs[:MOST].tolist()]
    names = names if model.num_classes else [""] * len(shown)
    title = "Interpolation along the arc between two latents"
    figure = image_table(shown.flatten(0, 1), shown.shape[1], names, title)
    known = {"labels": pairs} if model.num_classes else {}
    verb.write("interpolations", figure, images=images, **known, latents=paths)


def ends(config: DictConfig, verb: Verb, model: "VAE", num: int) -> tuple["Latents", "Labels"]:
    """The first of each of `num` pairs, then the last of each: from the sampler, or the posterior means of images."""
    import torch

    from cvae_lightning.core.errors import UserError, refuse
    from cvae_lightning.models import inference

    if config.between == "samples":
        images = 4 * num * prod(model.image_shape)  # two of each pair, at least
        verb.check_capacity(f"num={num}", 2 * images, 4 * images)
        known = asked_labels(model, config.labels) or [0]
        if config.labels is not None and len(known) > num + 1:
            refuse(f"at most {num + 1} labels for num={num}", "labels", known, "Leave some out, or raise num.")
        labels = [known[(place + shift) % len(known)] for shift in (0, 1) for place in range(num)]
        y = torch.tensor(labels)
        return inference.sample_latents(model, y, seed=verb.seed), y
    if config.between != "images":
        refuse("images or samples", "between", config.between, "images is the default.")
    x, y = asked_images(config, verb, model, 2 * num)
    if config.images is None and config.index is None:  # a split that is smaller than 2 * num may be odd
        x, y = (part[: len(part) // 2 * 2] for part in (x, y))
    if len(x) < 2 or len(x) % 2:
        raise UserError(f"Expected pairs of images, the first of each and then the last of each, got {len(x)} images.")
    return inference.encode(model, x, y).mean, y
