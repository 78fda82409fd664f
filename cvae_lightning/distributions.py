"""The posterior, and the likelihoods that a decoder's output is turned into."""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import nn

from cvae_lightning.errors import check_positive
from cvae_lightning.shapes import Images, Latents, PerImage


class DiagonalNormal(NamedTuple):
    """N(mean, diag(exp(log_var))): the posterior q(z | x, y)."""

    mean: Latents
    log_var: Latents

    def rsample(self) -> Latents:
        """One draw an image, differentiable in the parameters (Kingma & Welling 2014, section 2.4)."""
        return self.mean + torch.randn_like(self.mean) * (0.5 * self.log_var).exp()

    def kl_from_prior(self) -> PerImage:
        """KL(q || N(0, I)) in nats (Kingma & Welling 2014, appendix B)."""
        return -0.5 * (1 + self.log_var - self.mean.square() - self.log_var.exp()).sum(1)


@runtime_checkable
class PixelDistribution(Protocol):
    """p(x | z, y)."""

    @property
    def mean(self) -> Images: ...

    def log_prob(self, x: Images) -> PerImage:
        """Nats, summed over pixels, the normalising constant included."""
        ...


class Gaussian(nn.Module):
    """Decoder output -> N(sigmoid(output), variance) for each pixel; the report's decoder at variance 0.5.

    At 0.5 the negative log-likelihood is the plain sum of squared errors and a constant, 392 log(pi) nats on MNIST.
    """

    def __init__(self, variance: float = 0.5) -> None:
        super().__init__()
        self.variance = check_positive("likelihood.variance", variance, "The report uses likelihood.variance=0.5.")

    def forward(self, output: Images) -> PixelDistribution:
        return GaussianPixels(output.sigmoid(), self.variance)


class GaussianPixels(NamedTuple):
    mean: Images
    variance: float

    def log_prob(self, x: Images) -> PerImage:
        squared_error = F.mse_loss(self.mean, x, reduction="none").flatten(1).sum(1)  # one pass over the pixels
        log_normaliser = 0.5 * x[0].numel() * math.log(2 * math.pi * self.variance)
        return -squared_error / (2 * self.variance) - log_normaliser


class Bernoulli(nn.Module):
    """Decoder output -> Bernoulli(sigmoid(output)) for each pixel.

    A likelihood of binary images only. On grey levels `log_prob` is the customary cross-entropy, which does not
    normalise over [0, 1] (Loaiza-Ganem & Cunningham 2019): don't compare its ELBO with that of a density.
    """

    def forward(self, output: Images) -> PixelDistribution:
        return BernoulliPixels(output)


class BernoulliPixels(NamedTuple):
    logits: Images

    @property
    def mean(self) -> Images:
        return self.logits.sigmoid()

    def log_prob(self, x: Images) -> PerImage:
        return -F.binary_cross_entropy_with_logits(self.logits, x, reduction="none").flatten(1).sum(1)
