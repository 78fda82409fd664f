"""python -m cvae_lightning.sample run=<run directory>: draw images from a trained model."""

from omegaconf import DictConfig

from cvae_lightning.command import run_command
from cvae_lightning.verb import Verb, asked_labels

COLUMNS, ROWS = 12, 10  # of the picture; the arrays hold all


def sample(config: DictConfig) -> None:
    """`num` images of each label: a picture with a row a label, and arrays images, labels, latents."""
    verb = Verb(config)  # a mistake there is told before torch is imported

    from cvae_lightning import drawing
    from cvae_lightning.errors import check_integer, check_not_negative
    from cvae_lightning.pictures import image_table

    num = check_integer("num", config.num, 1, "12 is the default.")
    temperature = config.temperature
    if temperature is not None:
        check_not_negative("temperature", temperature, "1 is the spread that was fitted.")
    model = verb.run.model()
    rows = asked_labels(model, config.labels)
    labels = [label for label in rows or [0] for _ in range(num)]
    images, y, latents = drawing.sample(model, labels, temperature, verb.seed)
    columns = min(num, 2 * COLUMNS if rows else COLUMNS)
    shown = images.unflatten(0, (-1, num))[:, :columns].flatten(0, 1) if rows else images[: ROWS * columns]
    names = [str(label) for label in rows] or [""] * (len(shown) // columns)
    figure = image_table(shown, columns, names, f"Samples, seed {verb.seed}")
    known = {"labels": y} if rows else {}
    verb.write("samples", figure, images=images, **known, latents=latents)


if __name__ == "__main__":
    run_command(sample, "sample")
