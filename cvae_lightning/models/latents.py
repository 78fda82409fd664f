"""Distributions of latents: diagonal Gaussians and mixtures of them, as posteriors, priors and samplers use them."""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.shapes import Labels, Latents, PerImage


class DiagonalGaussian(NamedTuple):
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

    def kl(self, q: "DiagonalGaussian", z: Latents) -> PerImage:
        """KL(q || this) in nats, summed over latents; exact, so that the draw `z` from `q` is not looked at."""
        return self.kl_by_latent(q).sum(1)

    def kl_by_latent(self, q: "DiagonalGaussian") -> Latents:
        """KL(q || this) of each latent in nats."""
        log_ratio = q.log_var - self.log_var
        squares = (q.mean - self.mean).square() / self.log_var.exp()
        return -0.5 * (1 + log_ratio - squares - log_ratio.exp())

    def repeated(self, times: int) -> "DiagonalGaussian":
        """The whole batch `times` times over."""
        return DiagonalGaussian(self.mean.repeat(times, 1), self.log_var.repeat(times, 1))

    def detached(self) -> "DiagonalGaussian":
        """The same values, through which no gradient flows."""
        return DiagonalGaussian(self.mean.detach(), self.log_var.detach())


@runtime_checkable
class LatentDistribution(Protocol):
    """p(z | y) for a batch of labels; one label stands for as many images as there are latents."""

    def sample(self, temperature: float = 1.0) -> Latents:
        """One draw a label; the standard deviations of its normals are multiplied by `temperature`."""
        ...

    def log_prob(self, z: Latents) -> PerImage:
        """Nats, summed over latents."""
        ...

    def kl(self, q: DiagonalGaussian, z: Latents) -> PerImage:
        """KL(q || this) in nats: exact where there is a closed form, else estimated at `z`, one draw from `q`."""
        ...

    def kl_by_latent(self, q: DiagonalGaussian) -> Latents:
        """KL(q || this) of each latent in nats. Raises UserError where the KL is no sum over latents."""
        ...


class StandardGaussian(NamedTuple):
    """N(0, I), whatever the label."""

    num: int
    latent_dim: int
    device: torch.device

    def sample(self, temperature: float = 1.0) -> Latents:
        return temperature * torch.randn(self.num, self.latent_dim, device=self.device)

    def log_prob(self, z: Latents) -> PerImage:
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

    def kl(self, q: DiagonalGaussian, z: Latents) -> PerImage:
        return self.kl_by_latent(q).sum(1)

    def kl_by_latent(self, q: DiagonalGaussian) -> Latents:
        """Kingma & Welling 2014, appendix B."""
        return -0.5 * (1 + q.log_var - q.mean.square() - q.log_var.exp())


class DiagonalMixture(NamedTuple):
    """Mixtures of diagonal normals, one a group; `group` says for each label which."""

    group: Labels
    log_weights: Tensor  # (groups, components)
    means: Tensor  # (groups, components, latent)
    log_vars: Tensor  # (groups, components, latent)

    def sample(self, temperature: float = 1.0) -> Latents:
        component = self.log_weights.exp()[self.group].multinomial(1)[:, 0]
        normal = DiagonalGaussian(self.means[self.group, component], self.log_vars[self.group, component])
        return normal.sample(temperature)

    def log_prob(self, z: Latents) -> PerImage:
        """All components at once: (z - m)^2 / v = z^2 / v - 2 z m / v + m^2 / v is one matrix product over latents.

        In float32 at any precision of the training.
        """
        precisions = (-self.log_vars).exp()
        factors = torch.cat([self.means * precisions, -0.5 * precisions], 2).flatten(0, 1)
        squares = self.means.square() * precisions + self.log_vars + math.log(2 * math.pi)
        offsets = self.log_weights - 0.5 * squares.sum(2)
        with torch.autocast(z.device.type, enabled=False):
            by_component = F.linear(torch.cat([z, z.square()], 1), factors, offsets.flatten())
        by_component = by_component.unflatten(1, offsets.shape)
        own = by_component[torch.arange(len(z), device=z.device), self.group.expand(len(z))]
        return own.logsumexp(1)

    def kl(self, q: DiagonalGaussian, z: Latents) -> PerImage:
        """The one-draw estimate log q(z) - log p(z): unbiased, and below 0 for some images."""
        return q.log_prob(z) - self.log_prob(z)

    def kl_by_latent(self, q: DiagonalGaussian) -> Latents:
        remedy = "Or use bound.free_bits=0: the KL to a mixture is no sum over latents."
        refuse("1 with free bits", "prior.num_components", self.means.shape[1], remedy)
