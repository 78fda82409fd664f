"""The baseline of PCA: how well a linear model with the same latent_dim reconstructs."""

import functools
from collections.abc import Iterable, Iterator
from math import prod

import torch
from torch import Tensor

from cvae_lightning.core.capacity import images_at_once
from cvae_lightning.core.shapes import Batch, ByteImages
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import Evaluator, Measured
from cvae_lightning.evaluators.samples import some
from cvae_lightning.models.protocols import Generative

CHUNK = 10_000
EXACT_SUM = 2**24 // 255**2  # so many products of two bytes have a sum that is exact in float32, which is half as dear
EXACT = 1024  # pixels up to which the whole covariance is decomposed; its cost grows with their third power
TRAIN_PIXELS = 2**27  # of larger images, so many pixels of train are used: 10,922 images of 64x64 in colour
OVERSAMPLING, ITERATIONS = 10, 4  # of the randomised decomposition


class PCA(Evaluator):
    """`mse_pca`: the MSE of a split's images projected onto the `latent_dim` principal components of `train`.

    It is in float64; the projection is neither clipped nor rounded to 8 bits. A model whose `mse` is above it has
    learnt less than a linear map. The components are exact for images of up to 1,024 pixels. For larger ones they are
    found by randomised subspace iteration (Halko et al. 2011), on a random part of `train` if it has more than 2 ** 27
    pixels.
    """

    names = ("mse_pca",)

    _fitted: tuple[ByteImages, Tensor, Tensor] | None = None  # what the last components were fitted to, and they

    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        mean, components = self._components(train, model.latent_dim)
        squares, num_pixels = 0.0, 0
        for x, _ in batches:
            centred = x.flatten(1).cpu().double() - mean
            squares += float(centred.square().sum() - (centred @ components).square().sum())
            num_pixels += x.numel()
        return {"mse_pca": squares / num_pixels}

    def _components(self, train: Split, num: int) -> tuple[Tensor, Tensor]:
        """`principal_components`; those that were found for val serve test too, unless they depend on random draws."""
        if not _is_exact(train):
            return principal_components(train, num)
        if self._fitted is None or self._fitted[0] is not train.images or self._fitted[2].shape[1] != num:
            self._fitted = (train.images, *principal_components(train, num))
        return self._fitted[1:]


def principal_components(train: Split, num: int) -> tuple[Tensor, Tensor]:
    """The mean image (pixels,) in [0, 1], and the components as columns (pixels, num); both float64 on the CPU."""
    if not _is_exact(train):
        return _randomised(train.images, num)
    images = train.images.flatten(1).cpu()
    num_pixels = images.shape[1]
    total = torch.zeros(num_pixels, dtype=torch.float64)
    products = torch.zeros(num_pixels, num_pixels, dtype=torch.float64)
    for chunk in images.split(EXACT_SUM):
        values = chunk.float()
        total += values.sum(0)
        products += values.mT @ values
    mean = total / len(images)
    scatter = products - len(images) * mean.outer(mean)
    return mean / 255, torch.linalg.eigh(scatter).eigenvectors[:, -num:]


def _is_exact(train: Split) -> bool:
    return prod(train.images.shape[1:]) <= EXACT


def _randomised(images: ByteImages, num: int) -> tuple[Tensor, Tensor]:
    """The same of a random part of many large images, nearly."""
    num_pixels = prod(images.shape[1:])
    index = some(len(images), max(1, TRAIN_PIXELS // num_pixels)).to(images.device)
    mean = _total(chunk.sum(0) for chunk in _chunks(images, index)) / len(index)

    def scatter_times(basis: Tensor) -> Tensor:
        centred = (chunk - mean for chunk in _chunks(images, index))
        return _total(chunk.mT @ (chunk @ basis) for chunk in centred)

    basis = torch.randn(num_pixels, min(num + OVERSAMPLING, num_pixels), dtype=torch.float64)
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(scatter_times(basis)).Q
    within = basis.mT @ scatter_times(basis)
    return mean, basis @ torch.linalg.eigh(within).eigenvectors[:, -num:]


def _chunks(images: ByteImages, index: Tensor) -> Iterator[Tensor]:
    """The images with the numbers in `index`, (images, pixels) in [0, 1], in float64, a part at a time."""
    for part in index.split(images_at_once(images.shape[1:], CHUNK)):
        yield images[part].flatten(1).cpu().double().div_(255)


def _total(parts: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, parts)
