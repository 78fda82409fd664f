"""Images that a trained model draws."""

from math import prod

from omegaconf import DictConfig

from cvae_lightning.drawing.request import Verb, asked_labels

COLUMNS, ROWS = 12, 10  # of the picture; the arrays hold all


def sample(config: DictConfig) -> None:
    """`num` images of each label: a picture with a row a label, and arrays images, labels, latents."""
    verb = Verb(config)  # a mistake there is told before torch is imported

    import torch

    from cvae_lightning.core.archives import Parts
    from cvae_lightning.core.errors import check_integer, check_not_negative
    from cvae_lightning.core.pictures import MOST, image_table
    from cvae_lightning.models import inference

    num = check_integer("num", config.num, 1, "12 is the default.")
    temperature = config.temperature
    if temperature is not None:
        check_not_negative("temperature", temperature, "1 is the spread that was fitted.")
    model = verb.run.model()
    rows = asked_labels(model, config.labels)
    total = num * max(len(rows), 1)
    verb.check_capacity(f"num={num}", 4 * total * prod(model.image_shape), 8 * total * (1 + model.latent_dim))
    y = torch.tensor(rows or [0]).repeat_interleave(num)
    latents = inference.sample_latents(model, y, temperature, verb.seed)
    columns = min(num, 2 * COLUMNS if rows else COLUMNS)
    by_label = torch.arange(0, total, num)[:MOST, None] + torch.arange(columns)
    shown = by_label.flatten() if rows else torch.arange(min(num, ROWS * columns))
    names = [str(label) for label in rows[:MOST]] or [""] * (len(shown) // columns)
    picture = inference.decode(model, latents[shown], y[shown])
    figure = image_table(picture, columns, names, f"Samples, seed {verb.seed}")
    known = {"labels": y} if rows else {}
    parts = (part.numpy() for part in inference.decoded(model, latents, y))
    verb.write("samples", figure, images=Parts((total, *model.image_shape), parts), **known, latents=latents)
