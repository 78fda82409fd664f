"""Reconstructions: images that a trained model encodes and decodes again."""

from collections.abc import Iterator

from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.pictures import paired_table
from cvae_lightning.drawing.inputs import chosen_images
from cvae_lightning.drawing.labels import label_arrays
from cvae_lightning.drawing.picture import Picture
from cvae_lightning.drawing.request import Request
from cvae_lightning.models import inference

COLUMNS, ROWS = 12, 5  # of the picture; the arrays hold all images


def pictures(request: Request) -> Iterator[Picture]:
    """One picture, originals above their reconstructions, and their arrays, labels, mse and latents.

    The labels are those of `label_arrays`, `mse` is the mean squared error of each image, and `latents` are posterior
    means.
    """
    num = check_integer("num", request.keys.num, 1, "48 is the default.")
    model = request.run.model()
    x, y = chosen_images(request, model, num)

    reconstructions = inference.reconstruct(model, x, y, request.seed)
    mse = (reconstructions - x).square().flatten(1).mean(1)
    latents = inference.encode(model, x, y).mean

    title = f"Reconstructions, mean squared error {float(mse.mean()):.4f}"
    figure = paired_table(x, reconstructions, COLUMNS, ROWS, title)
    labels = label_arrays(model.condition, y)
    arrays = {"images": x, "reconstructions": reconstructions, **labels, "mse": mse, "latents": latents}
    yield Picture("reconstructions", figure, arrays)
