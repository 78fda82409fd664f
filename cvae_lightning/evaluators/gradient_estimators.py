"""Estimators of the gradient of E_q[log p(x | z, y)] with respect to the encoder's parameters, and their variance.

The KL term of the ELBO is exact, so all the noise of the ELBO's gradient comes from this term. Mohamed et al. 2020 is
a survey.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cvae_lightning.core.capacity import images_at_once
from cvae_lightning.core.shapes import Conditions, Images
from cvae_lightning.models.latents import DiagonalGaussian
from cvae_lightning.models.likelihoods import GaussianPixels
from cvae_lightning.models.protocols import LatentVariableModel

ROWS = 4000  # images decoded at a time, or fewer of large ones


class Draws(NamedTuple):
    """Several draws z = mean + exp(log_var / 2) noise for each image, with their rewards."""

    noise: Tensor  # (draws, batch, latent), from N(0, I)
    reward: Tensor  # (draws, batch): log p(x | z, y) in nats; for a Gaussian without its normalising constant
    slope: Tensor  # (draws, batch, latent): the gradient of the reward with respect to z


class PosteriorGradient(NamedTuple):
    """One estimate per draw of the gradient with respect to each image's mean and log_var: (draws, batch, latent)."""

    mean: Tensor
    log_var: Tensor


def draw(model: LatentVariableModel, q: DiagonalGaussian, x: Images, y: Conditions, num_draws: int) -> Draws:
    """`num_draws` draws for each image from its posterior `q`."""
    noise = torch.randn(num_draws, *q.mean.shape, device=x.device)
    rows = images_at_once(x.shape[1:], ROWS)
    parts = [_in_parts(model, q.detached(), x, y, part, rows) for part in noise.split(rows // len(x) or 1)]
    rewards, slopes = zip(*parts, strict=True)
    return Draws(noise, torch.cat(rewards), torch.cat(slopes))


def _in_parts(
    model: LatentVariableModel, q: DiagonalGaussian, x: Images, y: Conditions, noise: Tensor, rows: int
) -> tuple[Tensor, Tensor]:
    """`_decoded` of at most `rows` images at a time."""
    by_image = (part.split(rows) for part in (q.mean, q.log_var, x, y))
    parts = [
        _decoded(model, DiagonalGaussian(mean, log_var), its_x, its_y, its_noise)
        for mean, log_var, its_x, its_y, its_noise in zip(*by_image, noise.split(rows, 1), strict=True)
    ]
    rewards, slopes = zip(*parts, strict=True)
    return torch.cat(rewards, 1), torch.cat(slopes, 1)


def reparameterised(q: DiagonalGaussian, draws: Draws) -> PosteriorGradient:
    """The gradient through z, Kingma & Welling 2014, section 2.4."""
    return PosteriorGradient(draws.slope, draws.slope * draws.noise * _sd(q) / 2)


def reinforce(q: DiagonalGaussian, draws: Draws, baseline: Tensor | float = 0.0) -> PosteriorGradient:
    """(reward - baseline) times the gradient of log q(z), Williams 1992.

    The baseline, (draws, batch), must not depend on the z of its own draw; then the estimate is unbiased.
    """
    weight = (draws.reward - baseline)[..., None]
    return PosteriorGradient(weight * draws.noise / _sd(q), weight * (draws.noise.square() - 1) / 2)


def mean_of_the_others(reward: Tensor) -> Tensor:
    """A baseline, (draws, batch): the mean reward of the image's other draws, which leaves each estimate unbiased."""
    return (reward.sum(0) - reward) / (len(reward) - 1)


def total_variance(q: DiagonalGaussian, gradient: PosteriorGradient, parameters: list[nn.Parameter]) -> float:
    """The variance over draws of the batch mean of the gradient, summed over all parameters that `q` depends on."""
    squares, total = 0.0, torch.zeros(())
    for one in _in_parameters(q, gradient, parameters):
        squares += float(one.square().sum())
        total = total + one
    num = len(gradient.mean)
    return (squares - float(total.square().sum()) / num) / (num - 1)


def _in_parameters(
    q: DiagonalGaussian, gradient: PosteriorGradient, parameters: list[nn.Parameter]
) -> Iterator[Tensor]:
    """The batch mean of each draw's estimate by the chain rule, as one vector in float64."""
    outputs = (q.mean, q.log_var)
    for by_output in zip(*gradient, strict=True):
        weights = [part / len(q.mean) for part in by_output]
        parts = torch.autograd.grad(outputs, parameters, weights, retain_graph=True, allow_unused=True)
        yield torch.cat([part.flatten().double() for part in parts if part is not None])


def _decoded(
    model: LatentVariableModel, q: DiagonalGaussian, x: Images, y: Conditions, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """The reward, (draws, batch), and its gradient with respect to z, (draws, batch, latent)."""
    z = (q.mean + _sd(q) * noise).flatten(0, 1).requires_grad_()
    images = x.repeat(len(noise), 1, 1, 1)
    pixels = model.likelihood(z, y.repeat(len(noise), *[1] * (y.ndim - 1)))
    reward = pixels.log_prob(images)
    (slope,) = torch.autograd.grad(reward.sum(), z)
    if isinstance(pixels, GaussianPixels):  # its constant would drown REINFORCE in noise; the paper's loss has none
        reward = reward - pixels._replace(mean=images).log_prob(images)
    return reward.detach().unflatten(0, noise.shape[:2]), slope.view_as(noise)


def _sd(q: DiagonalGaussian) -> Tensor:
    return (q.log_var.detach() / 2).exp()
