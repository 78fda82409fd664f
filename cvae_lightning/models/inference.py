"""What a trained model draws: from its sampler, from images, and from given latents, however many there are."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from cvae_lightning.core.errors import check_not_negative, check_seed, refuse
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import AnyImages, AnyLabels, Images, Labels, Latents, as_images, as_labels
from cvae_lightning.models.latents import DiagonalGaussian
from cvae_lightning.models.protocols import LatentVariableModel

BATCH = 1000
DRAWS = 100 * BATCH  # latents drawn at a time: a mixture gathers latent_dim ** 2 numbers for each
MANY = 5 * BATCH  # from here on there is a progress bar


class Model(LatentVariableModel, Protocol):
    """A latent-variable model that has a sampler."""

    num_classes: int

    @property
    def image_shape(self) -> Sequence[int]: ...

    @property
    def device(self) -> torch.device: ...

    def sample_latents(self, y: AnyLabels, temperature: float | None = None) -> Latents: ...


class Sample(NamedTuple):
    """Images with their labels, and the latents that they were decoded from."""

    images: Images
    labels: Labels
    latents: Latents


def sample(model: Model, labels: AnyLabels, temperature: float | None = None, seed: int = 0) -> Sample:
    """One image per label: the mean of p(x | z, y) at one z from the sampler.

    `temperature` multiplies the standard deviations of the sampler; None stands for its own. Raises UserError for
    a label that the model does not know, for no label at all, a negative temperature or an invalid seed.
    """
    y = as_labels(labels, None, model.num_classes or None, model.device)
    if not len(y):
        refuse("at least one label", "labels", "none", "Pass for example [2, 7, 9].")
    if temperature is not None:
        temperature = check_not_negative("temperature", temperature, "1 is the spread that was fitted.")
    z = sample_latents(model, y, temperature, check_seed("seed", seed))
    return Sample(decode(model, z, y), y, z)


@torch.no_grad()
def sample_latents(model: Model, y: Labels, temperature: float | None = None, seed: int = 0) -> Latents:
    """One z per label from the sampler, all from one random stream."""
    with random_stream(seed):
        return torch.cat([model.sample_latents(part, temperature) for part in y.split(DRAWS)])


def decode(model: Model, z: Latents, y: Labels) -> Images:
    """The mean of p(x | z, y)."""
    return torch.cat(list(decoded(model, z, y)))


def decoded(model: Model, z: Latents, y: Labels) -> Iterator[Images]:
    """The mean of p(x | z, y), batch by batch."""
    for part in _in_batches(z, y):
        with torch.no_grad():
            image = model.likelihood(*part).mean
        yield image


@torch.no_grad()
def encode(model: Model, x: AnyImages, labels: AnyLabels) -> DiagonalGaussian:
    """q(z | x, y). Raises UserError for images or labels that the model was not made for."""
    x = as_images(x, model.image_shape, model.device)
    y = as_labels(labels, len(x), model.num_classes or None, model.device)
    means, log_vars = zip(*(model.posterior(*part) for part in _in_batches(x, y)), strict=True)
    return DiagonalGaussian(torch.cat(means), torch.cat(log_vars))


def reconstruct(model: Model, x: AnyImages, labels: AnyLabels, seed: int = 0) -> Images:
    """The mean of p(x | z, y) at one draw of z from the posterior of each image. Raises UserError as `encode` does."""
    seed = check_seed("seed", seed)
    posterior = encode(model, x, labels)
    with random_stream(seed):
        z = posterior.sample()
    return decode(model, z, as_labels(labels, len(z), device=model.device))


def _in_batches(first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both side by side, with a progress bar where that takes seconds."""
    parts = zip(first.split(BATCH), second.split(BATCH), strict=True)
    total = -(-len(first) // BATCH)
    return iter(
        tqdm(parts, total=total, unit_scale=BATCH, unit=" images", leave=False, disable=len(first) < MANY or None)
    )
