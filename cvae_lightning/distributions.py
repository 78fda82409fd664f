"""Normals of latents, and the likelihoods that a decoder's output is turned into."""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvae_lightning.errors import check_positive
from cvae_lightning.shapes import Images, Latents, PerImage


class DiagonalNormal(NamedTuple):
    """N(mean, diag(exp(log_var))): the posterior q(z | x, y), and a prior of one component."""

    mean: Latents
    log_var: Latents

    def rsample(self) -> Latents:
        """One draw an image, differentiable in the parameters (Kingma & Welling 2014, section 2.4)."""
        return self.mean + torch.randn_like(self.mean) * (0.5 * self.log_var).exp()

    def sample(self, temperature: float = 1.0) -> Latents:
        """One draw an image, through which no gradient flows; `temperature` times the standard deviation."""
        return (self.mean + temperature * torch.randn_like(self.mean) * (0.5 * self.log_var).exp()).detach()

    def log_prob(self, z: Latents) -> PerImage:
        """Nats, summed over latents."""
        squares = (z - self.mean).square() / self.log_var.exp()
        return -0.5 * (squares + self.log_var + math.log(2 * math.pi)).sum(1)

    def kl(self, q: "DiagonalNormal", z: Latents) -> PerImage:
        """KL(q || this) in nats, summed over latents; exact, so that the draw `z` from `q` is not looked at."""
        return self.kl_by_latent(q).sum(1)

    def kl_by_latent(self, q: "DiagonalNormal") -> Latents:
        """KL(q || this) of each latent in nats."""
        log_ratio = q.log_var - self.log_var
        squares = (q.mean - self.mean).square() / self.log_var.exp()
        return -0.5 * (1 + log_ratio - squares - log_ratio.exp())

    def repeated(self, times: int) -> "DiagonalNormal":
        """The whole batch `times` times over."""
        return DiagonalNormal(self.mean.repeat(times, 1), self.log_var.repeat(times, 1))

    def detached(self) -> "DiagonalNormal":
        """The same values, through which no gradient flows."""
        return DiagonalNormal(self.mean.detach(), self.log_var.detach())


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


class GaussianLearned(nn.Module):
    """Decoder output -> N(sigmoid(output), variance) with one variance for all pixels, a parameter: Rybkin et al. 2021.

    Adam moves its logarithm by about lr a step, so that `initial_variance` should be of the right size; at the maximum
    it is the mean squared error, 0.02 to 0.05 on MNIST.
    """

    def __init__(self, initial_variance: float = 0.05) -> None:
        super().__init__()
        remedy = "MNIST's pixels vary by 0.07 around their means."
        variance = check_positive("likelihood.initial_variance", initial_variance, remedy)
        self.log_variance = nn.Parameter(torch.tensor(math.log(variance)))

    def forward(self, output: Images) -> PixelDistribution:
        return GaussianPixels(output.sigmoid(), self.log_variance.exp())


class GaussianOptimal(nn.Module):
    """Decoder output -> N(sigmoid(output), variance) with one variance, the best: sigma-VAE, Rybkin et al. 2021.

    In training mode the variance is the mean squared error of the batch, at which the batch is likeliest, and
    `log_prob` notes it. In evaluation mode it is the buffer `variance`, fitted to training data alone: the mean over
    the first `MEMORY` batches, and then a running mean that forgets with a time constant of as many, so that an
    image has one density, whatever batch it is in.
    """

    MEMORY = 20
    variance: Tensor
    num_batches: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.long))

    def forward(self, output: Images) -> PixelDistribution:
        mean = output.sigmoid()
        return BatchGaussianPixels(mean, self.note) if self.training else GaussianPixels(mean, self.variance)

    def note(self, variance: Tensor) -> None:
        """Let the variance of a batch of the training count towards that of the evaluation."""
        self.num_batches += 1
        self.variance += (variance - self.variance) * (1 / self.num_batches).clamp(min=1 / self.MEMORY)


class GaussianPixels(NamedTuple):
    mean: Images
    variance: float | Tensor  # one for all pixels

    def log_prob(self, x: Images) -> PerImage:
        return gaussian_log_prob(squared_error(self.mean, x), x[0].numel(), self.variance)


class BatchGaussianPixels(NamedTuple):
    """At the variance that makes `x` as a whole likeliest: the mean of log_prob is -n / 2 (1 + log(2 pi mse)).

    No gradient flows through the variance, nor is any missing: at the optimum it would be zero.
    """

    mean: Images
    note: Callable[[Tensor], None]  # is told the variance

    def log_prob(self, x: Images) -> PerImage:
        error = squared_error(self.mean, x)
        variance = error.detach().mean() / x[0].numel()
        self.note(variance)
        return gaussian_log_prob(error, x[0].numel(), variance)


def squared_error(mean: Images, x: Images) -> PerImage:
    return F.mse_loss(mean, x, reduction="none").flatten(1).sum(1)  # one pass over the pixels


def gaussian_log_prob(squared_error: PerImage, num_pixels: int, variance: float | Tensor) -> PerImage:
    scale = 2 * math.pi * variance
    log_scale = scale.log() if isinstance(scale, Tensor) else math.log(scale)
    return -squared_error / (2 * variance) - 0.5 * num_pixels * log_scale


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
