"""p(x | z, y): the distributions of an image's pixels that a decoder's output parameterises."""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvae_lightning.core.errors import check_positive
from cvae_lightning.core.shapes import Images, PerImage

ROUNDING = 1 / (12 * 255**2)  # variance of rounding to 256 levels; with 0, a channel of one colour has no density


@runtime_checkable
class PixelDistribution(Protocol):
    """p(x | z, y) for a batch of latents."""

    @property
    def mean(self) -> Images:
        """The expectation of each pixel, in [0, 1]."""
        ...

    def log_prob(self, x: Images) -> PerImage:
        """Nats, summed over pixels, the normalising constant included."""
        ...


@runtime_checkable
class PartlySeenPixels(PixelDistribution, Protocol):
    """p(x | z, y) with independent pixels, so that some of them have a probability of their own."""

    def log_prob_of(self, x: Images, seen: Tensor) -> PerImage:
        """Nats, summed over the pixels where `seen`, of the shape of `x`, is 1, and not over those where it is 0."""
        ...


class Gaussian(nn.Module):
    """Decoder output -> N(sigmoid(output), variance) for each pixel; with variance 0.5 it is the paper's decoder.

    Then the negative log-likelihood is the plain sum of squared errors plus a constant, 392 log(pi) nats on MNIST.

    >>> Gaussian(variance=0.5)(decoder_output).log_prob(x)  # nats, (B,)
    """

    def __init__(self, variance: float = 0.5) -> None:
        super().__init__()
        self.variance = check_positive("likelihood.variance", variance, "The paper uses likelihood.variance=0.5.")

    def forward(self, output: Images) -> PixelDistribution:
        return GaussianPixels(output.sigmoid(), self.variance)


class GaussianLearned(nn.Module):
    """Decoder output -> N(sigmoid(output), variance) with one variance per channel, a parameter: Rybkin et al. 2021.

    Adam moves its logarithm by about lr per step, so `initial_variance` should be of the right size; at the maximum of
    the likelihood it is the mean squared error, 0.02 to 0.05 on MNIST.
    """

    def __init__(self, initial_variance: float = 0.05) -> None:
        super().__init__()
        remedy = "MNIST's pixels have a variance of 0.07."
        variance = check_positive("likelihood.initial_variance", initial_variance, remedy)
        self.log_variance = nn.Parameter(torch.tensor(math.log(variance)))

    def set_num_channels(self, num_channels: int) -> None:
        """Learn one variance for each of `num_channels` channels: `VAE` calls this. Until then there is only one."""
        self.log_variance = nn.Parameter(one_per_channel(self.log_variance.detach(), num_channels))

    def forward(self, output: Images) -> PixelDistribution:
        return GaussianPixels(output.sigmoid(), self.log_variance.exp())


class GaussianOptimal(nn.Module):
    """Decoder output -> N(sigmoid(output), variance) with the best variance per channel: sigma-VAE, Rybkin et al. 2021.

    In training mode the variance is the mean squared error of the batch, at which the batch is likeliest, but at least
    `ROUNDING`; `log_prob` notes it. In evaluation mode it is the buffer `variance`, fitted to training data alone: the
    mean over the first `MEMORY` batches, and then a running mean with a time constant of `MEMORY` batches. So the
    density of an image does not depend on its batch.
    """

    MEMORY = 20
    variance: Tensor
    num_batches: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.long))

    def set_num_channels(self, num_channels: int) -> None:
        """Fit one variance to each of `num_channels` channels: `VAE` calls this. Until then there is only one."""
        self.variance = one_per_channel(self.variance, num_channels)

    def forward(self, output: Images) -> PixelDistribution:
        mean = output.sigmoid()
        if self.training:
            return BatchGaussianPixels(mean, self.note, per_channel=self.variance.ndim > 0)
        return GaussianPixels(mean, self.variance)

    def note(self, variance: Tensor) -> None:
        """Count the variance of a training batch towards the variance of the evaluation."""
        self.num_batches += 1
        self.variance += (variance - self.variance) * (1 / self.num_batches).clamp(min=1 / self.MEMORY)


def one_per_channel(value: Tensor, num_channels: int) -> Tensor:
    """`value` for each channel, (num_channels,); if there is only one channel, `value` as it is."""
    return value if num_channels == 1 else value.expand(num_channels).clone()


class GaussianPixels(NamedTuple):
    """N(mean, variance) for each pixel."""

    mean: Images
    variance: float | Tensor  # one for all pixels, or one per channel: (channels,)

    def log_prob(self, x: Images) -> PerImage:
        per_channel = isinstance(self.variance, Tensor) and self.variance.ndim > 0
        error = squared_error(self.mean, x, per_channel)
        return gaussian_log_prob(error, x.numel() // error.numel(), self.variance)

    def log_prob_of(self, x: Images, seen: Tensor) -> PerImage:
        first = 2 if isinstance(self.variance, Tensor) and self.variance.ndim > 0 else 1
        error = ((self.mean - x).square() * seen).flatten(first).sum(first)
        return gaussian_log_prob(error, seen.flatten(first).sum(first), self.variance)


class BatchGaussianPixels(NamedTuple):
    """N(mean, variance) with the variance, of all pixels or of each channel, at which the batch `x` is likeliest.

    The mean of log_prob is -n / 2 (1 + log(2 pi mse)) for n pixels, summed over channels if each has its own. No
    gradient flows through the variance, and none is missing: at the optimum it would be zero.
    """

    mean: Images
    note: Callable[[Tensor], None]  # called with the variance of each batch
    per_channel: bool

    def log_prob(self, x: Images) -> PerImage:
        error = squared_error(self.mean, x, self.per_channel)
        num_pixels = x.numel() // error.numel()
        variance = (error.detach().mean(0) / num_pixels).clamp(min=ROUNDING)
        self.note(variance)
        return gaussian_log_prob(error, num_pixels, variance)


def squared_error(mean: Images, x: Images, per_channel: bool = False) -> Tensor:
    """The sum of squared errors over the pixels of each image, (batch,), or of each of its channels as well."""
    first = 2 if per_channel else 1
    return F.mse_loss(mean, x, reduction="none").flatten(first).sum(first)  # one pass over the pixels


def gaussian_log_prob(squared_error: Tensor, num_pixels: int | Tensor, variance: float | Tensor) -> PerImage:
    """Log N(x; mean, variance I) in nats, from the squared error of x summed over the pixels with the same variance.

    These are `num_pixels` each: all of an image, then `squared_error` is (batch,); or those of a channel, then it is
    (batch, channels) and the variance (channels,).
    """
    scale = 2 * math.pi * variance
    log_scale = scale.log() if isinstance(scale, Tensor) else math.log(scale)
    log_prob = -squared_error / (2 * variance) - 0.5 * num_pixels * log_scale
    return log_prob if log_prob.ndim == 1 else log_prob.sum(1)


class Bernoulli(nn.Module):
    """Decoder output -> Bernoulli(sigmoid(output)) for each pixel.

    It is a likelihood of binary images only. On grey levels `log_prob` is the customary cross-entropy, which does not
    integrate to 1 over [0, 1] (Loaiza-Ganem & Cunningham 2019): don't compare its ELBO with that of a density.
    """

    def forward(self, output: Images) -> PixelDistribution:
        return BernoulliPixels(output)


class BernoulliPixels(NamedTuple):
    """Bernoulli(sigmoid(logits)) for each pixel."""

    logits: Images

    @property
    def mean(self) -> Images:
        return self.logits.sigmoid()

    def log_prob(self, x: Images) -> PerImage:
        return -F.binary_cross_entropy_with_logits(self.logits, x, reduction="none").flatten(1).sum(1)

    def log_prob_of(self, x: Images, seen: Tensor) -> PerImage:
        return -(F.binary_cross_entropy_with_logits(self.logits, x, reduction="none") * seen).flatten(1).sum(1)


SMALL = 0.3  # |h| below which a series is used, exact to float32 there; above it the formula loses no digits


class ContinuousBernoulli(nn.Module):
    """Decoder output -> the density of x in [0, 1] that is proportional to exp(output * x), for each pixel.

    This is the continuous Bernoulli of Loaiza-Ganem & Cunningham 2019 with lambda = sigmoid(output): the cross-entropy
    of `Bernoulli` with the normalising constant that it lacks on grey levels.
    """

    def forward(self, output: Images) -> PixelDistribution:
        return ContinuousBernoulliPixels(output)


class ContinuousBernoulliPixels(NamedTuple):
    """log p(x) = (2 x - 1) h - log(sinh(h) / h) with h = logits / 2: smooth at lambda = 1 / 2, where h is 0."""

    logits: Images

    @property
    def mean(self) -> Images:
        """The expectation (1 + coth(h) - 1 / h) / 2, which is not lambda but nearer to 1 / 2.

        It is also closer to the image. On MNIST lambda has more contrast: after 5 epochs its SSIM is 0.495 and its MSE
        0.074, those of the expectation are 0.480 and 0.056.
        """
        h = self.logits / 2
        small = h.abs() < SMALL
        series = h / 3 - h**3 / 45 + 2 * h**5 / 945
        safe = torch.where(small, SMALL, h)
        return 0.5 + 0.5 * torch.where(small, series, 1 / safe.tanh() - 1 / safe)

    def log_prob(self, x: Images) -> PerImage:
        return self._by_pixel(x).flatten(1).sum(1)

    def log_prob_of(self, x: Images, seen: Tensor) -> PerImage:
        return (self._by_pixel(x) * seen).flatten(1).sum(1)

    def _by_pixel(self, x: Images) -> Images:
        h = self.logits / 2
        return (2 * x - 1) * h - log_sinhc(h)


def log_sinhc(h: Tensor) -> Tensor:
    """log(sinh(h) / h), elementwise; the branch that is not taken is kept finite, so that the gradient is too."""
    square = h.clamp(-SMALL, SMALL).square()
    series = square * (1 / 6 - square * (1 / 180 - square / 2835))
    size = h.abs().clamp(min=SMALL)
    return torch.where(h.abs() < SMALL, series, size - (2 * size).log() + torch.log1p(-(-2 * size).exp()))
