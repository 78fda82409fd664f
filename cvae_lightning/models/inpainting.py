"""What is missing in an image, drawn from p(missing pixels | seen pixels, y)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.shapes import Conditions, Images, Latents, PerImage
from cvae_lightning.models.likelihoods import PartlySeenPixels
from cvae_lightning.models.protocols import LatentVariableModel

ROUNDS = 4  # of better and better guesses at the missing pixels, from which z is then proposed
PART = 1000  # proposals that are decoded at a time


class Inpainted(NamedTuple):
    """Draws of whole images, with the pixels that were seen as they are."""

    images: Images
    """(draws, channels, height, width)"""
    effective: float
    """The effective number of proposals, (sum of w)^2 / sum of w^2: near 1, all draws come from one latent."""


@torch.no_grad()
def inpaint(
    model: LatentVariableModel, x: Images, y: Conditions, seen: Tensor, num_draws: int, num_proposals: int
) -> Inpainted:
    """`num_draws` draws of the pixels of one image (1, C, H, W) where `seen`, of the same shape, is 0.

    They are means of p(x | z, y) at latents drawn from p(z | seen pixels, y) by importance resampling (Rubin 1987):
    half of `num_proposals` latents, at least two, come from the prior, and half from the posterior of the image with a
    guess at what is missing. Each has the weight p(seen pixels | z, y) p(z | y) / its density among the proposals. The
    guess starts as the weighted mean of decoded latents of the prior, and gets better with each round. If nothing is
    seen, the draws are those of the prior.

    Raises UserError for a likelihood whose pixels are not independent.
    """
    half, many = num_proposals // 2, y.repeat_interleave(num_proposals, 0)
    z = model.prior(many).sample()
    weights = _weights(model, z, x, many, seen, model.prior(many).log_prob(z))
    for _ in range(ROUNDS):
        guess = torch.where(seen > 0, x, _weighted_mean(model, z, many, weights))
        q = model.posterior(guess, y)
        prior, from_q = model.prior(many), q.repeated(num_proposals)
        z = torch.cat([prior.sample()[:half], from_q.sample()[half:]])
        shares = math.log(half / num_proposals), math.log(1 - half / num_proposals)
        proposed = torch.logaddexp(prior.log_prob(z) + shares[0], from_q.log_prob(z) + shares[1])
        weights = _weights(model, z, x, many, seen, proposed)
    chosen = weights.multinomial(num_draws, replacement=True)
    images = _decoded(model, z[chosen], y.repeat_interleave(num_draws, 0))
    return Inpainted(torch.where(seen > 0, x, images), float(1 / weights.square().sum()))


def _weights(
    model: LatentVariableModel, z: Latents, x: Images, y: Conditions, seen: Tensor, log_proposed: PerImage
) -> PerImage:
    """The weight of each latent, which sum to 1."""
    log_likelihoods = []
    for part, labels in zip(torch.split(z, PART), torch.split(y, PART), strict=True):
        pixels = model.likelihood(part, labels)
        if not isinstance(pixels, PartlySeenPixels):
            remedy = "A part of the pixels has a probability of its own only then."
            refuse("a likelihood with log_prob_of(x, seen)", "likelihood", type(pixels).__name__, remedy)
        log_likelihoods.append(pixels.log_prob_of(x.expand(len(part), -1, -1, -1), seen.expand(len(part), -1, -1, -1)))
    return (torch.cat(log_likelihoods) + model.prior(y).log_prob(z) - log_proposed).double().softmax(0)


def _weighted_mean(model: LatentVariableModel, z: Latents, y: Conditions, weights: PerImage) -> Images:
    """The mean of the decoded latents, (1, C, H, W)."""
    return (_decoded(model, z, y) * weights.float()[:, None, None, None]).sum(0, keepdim=True)


def _decoded(model: LatentVariableModel, z: Latents, y: Conditions) -> Images:
    parts = zip(torch.split(z, PART), torch.split(y, PART), strict=True)
    return torch.cat([model.likelihood(*part).mean for part in parts])
