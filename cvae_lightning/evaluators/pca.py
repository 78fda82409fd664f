"""The baseline of PCA: how well a linear model with the same latent_dim reconstructs."""

from collections.abc import Iterable

import torch
from torch import Tensor

from cvae_lightning.core.shapes import Batch
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import Evaluator, Measured
from cvae_lightning.models.protocols import Generative

CHUNK = 10_000


class PCA(Evaluator):
    """`mse_pca`: the MSE of a split's images projected onto the `latent_dim` principal components of `train`.

    It is exact, in float64; the projection is neither clipped nor rounded to 8 bits. A model whose `mse` is above it
    has learnt less than a linear map.
    """

    names = ("mse_pca",)

    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        mean, components = principal_components(train, model.latent_dim)
        squares, num_pixels = 0.0, 0
        for x, _ in batches:
            centred = x.flatten(1).cpu().double() - mean
            squares += float(centred.square().sum() - (centred @ components).square().sum())
            num_pixels += x.numel()
        return {"mse_pca": squares / num_pixels}


def principal_components(train: Split, num: int) -> tuple[Tensor, Tensor]:
    """The mean image (pixels,) in [0, 1], and the components as columns (pixels, num); both float64 on the CPU."""
    images = train.images.flatten(1).cpu()
    mean = images.double().mean(0) / 255
    scatter = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for chunk in images.split(CHUNK):
        centred = chunk.double().div_(255) - mean
        scatter += centred.mT @ centred
    return mean, torch.linalg.eigh(scatter).eigenvectors[:, -num:]
