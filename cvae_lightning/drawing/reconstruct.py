"""Reconstructions of images by a trained model."""

from omegaconf import DictConfig

from cvae_lightning.drawing.request import Verb, asked_images

COLUMNS, ROWS = 12, 5  # of the picture; the arrays hold all


def reconstruct(config: DictConfig) -> None:
    """Originals above reconstructions, and arrays images, reconstructions, labels, mse, latents (posterior means)."""
    verb = Verb(config)  # a mistake there is told before torch is imported

    from cvae_lightning.core.errors import check_integer
    from cvae_lightning.core.pictures import paired_table
    from cvae_lightning.models import inference

    model = verb.run.model()
    x, y = asked_images(config, verb, model, check_integer("num", config.num, 1, "48 is the default."))
    images = inference.reconstruct(model, x, y, verb.seed)
    mse = (images - x).square().flatten(1).mean(1)

    title = f"Reconstructions, mean squared error {float(mse.mean()):.4f}"
    figure = paired_table(x, images, COLUMNS, ROWS, title)
    known = {"labels": y} if model.num_classes else {}
    latents = inference.encode(model, x, y).mean
    verb.write("reconstructions", figure, images=x, reconstructions=images, **known, mse=mse, latents=latents)
