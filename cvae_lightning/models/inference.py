"""Inference with a trained model: samples, posteriors, reconstructions and decoded latents, for any number of images.

`sample`, `encode` and `reconstruct` take images and labels in any form and check them. All other functions take tensors
on the model's device.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from cvae_lightning.core.conditions import AnyCondition, Condition
from cvae_lightning.core.errors import check_integer, check_not_negative, check_seed, refuse
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import AnyImages, AnyLabels, Conditions, Images, Latents, as_images
from cvae_lightning.models.latents import DiagonalGaussian
from cvae_lightning.models.priors import Prior, approximate_mixtures
from cvae_lightning.models.protocols import LatentVariableModel

BATCH = 1000
DRAWS = 100 * BATCH  # latents drawn at a time: a mixture gathers latent_dim ** 2 numbers for each
MANY = 5 * BATCH  # images from which on a progress bar is shown
NUM_IMAGES = 2000  # drawn by the model itself, to estimate the KL of each latent


class Model(LatentVariableModel, Protocol):
    """A latent-variable model that has a sampler."""

    condition: Condition
    prior_net: Prior

    @property
    def image_shape(self) -> Sequence[int]: ...

    @property
    def device(self) -> torch.device: ...

    def sample_latents(self, y: Conditions, temperature: float | None = None) -> Latents: ...


class Sample(NamedTuple):
    """Images with their labels, and the latents that they were decoded from."""

    images: Images
    labels: Conditions
    latents: Latents


def sample(
    model: Model,
    labels: AnyLabels | AnyCondition | None = None,
    *,
    num: int | None = None,
    temperature: float | None = None,
    seed: int = 0,
) -> Sample:
    """One image per label: the mean of p(x | z, y) at one z from the sampler.

    A conditional model needs `labels`, as `Condition.parse` reads them; with `num`, one label stands for that many
    images. Without labels, a model that was trained with some of them unknown draws `num` images of any kind. An
    unconditional model needs `num`, and refuses labels. `temperature` multiplies the standard deviations of the
    sampler; None is its own. Raises UserError for any other combination, an unknown label, a negative temperature or an
    invalid seed.
    """
    if num is not None:
        num = check_integer("num", num, 1, "It is the number of images.")
    if not model.condition and labels is not None:
        refuse("no labels, as this model is unconditional", "labels", labels, "Pass num, for example num=3.")
    y = _conditions(model, labels, num)
    if temperature is not None:
        temperature = check_not_negative("temperature", temperature, "1 is the spread that was fitted.")
    z = sample_latents(model, y, temperature, check_seed("seed", seed))
    return Sample(decode(model, z, y), y, z)


def encode(model: Model, x: AnyImages, labels: AnyLabels | AnyCondition | None = None) -> DiagonalGaussian:
    """q(z | x, y). An unconditional model ignores `labels`.

    Raises UserError for images of another shape or outside [0, 1], and for missing or unknown labels.
    """
    return _posterior(model, *_images_and_conditions(model, x, labels))


def reconstruct(model: Model, x: AnyImages, labels: AnyLabels | AnyCondition | None = None, seed: int = 0) -> Images:
    """The mean of p(x | z, y) at one draw of z from the posterior of each image. Raises UserError as `encode` does."""
    seed = check_seed("seed", seed)
    images, y = _images_and_conditions(model, x, labels)
    posterior = _posterior(model, images, y)
    with random_stream(seed):
        z = posterior.sample()
    return decode(model, z, y)


@torch.no_grad()
def sample_latents(model: Model, y: Conditions, temperature: float | None = None, seed: int = 0) -> Latents:
    """One z per label from the sampler, all from one random stream."""
    with random_stream(seed):
        return torch.cat([model.sample_latents(part, temperature) for part in torch.split(y, DRAWS)])


def decode(model: Model, z: Latents, y: Conditions) -> Images:
    """The mean of p(x | z, y)."""
    return torch.cat(list(decoded(model, z, y)))


def decoded(model: Model, z: Latents, y: Conditions) -> Iterator[Images]:
    """The mean of p(x | z, y), batch by batch."""
    for part in _in_batches(z, y):
        with torch.no_grad():
            image = model.likelihood(*part).mean
        yield image


def draws(model: Model, num: int) -> tuple[Conditions, Latents]:
    """`num` draws from the sampler with labels that cover the condition, all classes in turn; the same at each call."""
    labels = model.condition.spread(num).to(model.device)
    return labels, sample_latents(model, labels)


@torch.no_grad()
def kl_by_latent(model: Model) -> Tensor:
    """KL(q(z | x, y) || p(z | y)) of each latent in nats, (latent,): the mean over images that the model draws itself.

    So no data set is needed; on the training images the order of the latents is nearly the same. The KL to a mixture is
    not a sum over latents, nor is that to a flow, so both are replaced by a Gaussian with their moments. Raises
    UserError for a prior whose moments are unknown.
    """
    labels, z = draws(model, NUM_IMAGES)
    q = model.posterior(model.likelihood(z, labels).mean, labels)
    moments = approximate_mixtures(model.prior_net).by_class(model.condition.num_groups).moments()
    groups = model.condition.groups(labels)
    return DiagonalGaussian(*(values[groups] for values in moments)).kl_by_latent(q).mean(0)


def _images_and_conditions(
    model: Model, x: AnyImages, labels: AnyLabels | AnyCondition | None
) -> tuple[Images, Conditions]:
    images = as_images(x, model.image_shape, model.device)
    return images, _conditions(model, labels, len(images))


def _conditions(model: Model, labels: AnyLabels | AnyCondition | None, num: int | None) -> Conditions:
    """Labels as the model takes them on its device, one per image; all 0 for an unconditional model."""
    condition = model.condition
    if not condition:
        if num is None:
            refuse("the number of images", "num", num, "This model is unconditional: pass for example num=3.")
        return condition.unknown(num, model.device)
    if labels is None:
        if condition.may_be_unknown and num is not None:
            return condition.parse({}, num, model.device)
        refuse("labels, as this model is conditional", "labels", labels, condition.labels_example)
    y = condition.parse(labels, num, model.device)
    if not len(y):
        refuse("at least one label", "labels", "none", condition.labels_example)
    return y


@torch.no_grad()
def _posterior(model: Model, x: Images, y: Conditions) -> DiagonalGaussian:
    means, log_vars = zip(*(model.posterior(*part) for part in _in_batches(x, y)), strict=True)
    return DiagonalGaussian(torch.cat(means), torch.cat(log_vars))


def _in_batches(first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both batch by batch, with a progress bar if there are many."""
    parts = zip(first.split(BATCH), second.split(BATCH), strict=True)
    total = -(-len(first) // BATCH)
    return iter(
        tqdm(parts, total=total, unit_scale=BATCH, unit=" images", leave=False, disable=len(first) < MANY or None)
    )
