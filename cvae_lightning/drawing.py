"""What a trained model draws: from its sampler, from images, and from given latents, however many there are."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from cvae_lightning.distributions import DiagonalNormal
from cvae_lightning.generative import LatentVariableModel
from cvae_lightning.random_streams import random_stream
from cvae_lightning.shapes import AnyLabels, Images, Labels, Latents, as_labels

BATCH = 1000
MANY = 5 * BATCH  # from here on there is a progress bar


class Model(LatentVariableModel, Protocol):
    """A latent-variable model that has a sampler."""

    num_classes: int

    def sample_latents(self, y: AnyLabels, temperature: float | None = None) -> Latents: ...


class Sample(NamedTuple):
    """Images with their labels, and the latents that they were decoded from."""

    images: Images
    labels: Labels
    latents: Latents


def sample(model: Model, labels: AnyLabels, temperature: float | None = None, seed: int = 0) -> Sample:
    """One image a label: the mean of p(x | z, y) at one z from the sampler.

    `temperature` times the standard deviations of the sampler; None: its own. Raises UserError for a label that the
    model does not know.
    """
    y = as_labels(labels, num_classes=model.num_classes or None)
    with random_stream(seed), torch.no_grad():
        z = model.sample_latents(y, temperature)
    return Sample(decode(model, z, y), y, z)


@torch.no_grad()
def decode(model: Model, z: Latents, y: Labels) -> Images:
    """The mean of p(x | z, y)."""
    return torch.cat([model.likelihood(*part).mean for part in _in_batches(z, y)])


@torch.no_grad()
def encode(model: Model, x: Images, labels: AnyLabels) -> DiagonalNormal:
    """q(z | x, y)."""
    y = as_labels(labels, len(x), model.num_classes or None)
    means, log_vars = zip(*(model.posterior(*part) for part in _in_batches(x, y)), strict=True)
    return DiagonalNormal(torch.cat(means), torch.cat(log_vars))


def reconstruct(model: Model, x: Images, labels: AnyLabels, seed: int = 0) -> Images:
    """The mean of p(x | z, y) at one draw of z from the posterior of each image."""
    posterior = encode(model, x, labels)
    with random_stream(seed):
        z = posterior.sample()
    return decode(model, z, as_labels(labels, len(x)))


def _in_batches(first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both side by side, with a progress bar where that takes seconds."""
    parts = list(zip(first.split(BATCH), second.split(BATCH), strict=True))
    return iter(tqdm(parts, unit_scale=BATCH, unit=" images", leave=False, disable=len(first) < MANY or None))
