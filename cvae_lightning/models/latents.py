"""Distributions of latents: Gaussians and mixtures of them, as posteriors, priors and samplers use them."""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from cvae_lightning.core.shapes import Context, Labels, Latents, PerImage
from cvae_lightning.models.flows import CouplingFlow


class DiagonalGaussian(NamedTuple):
    """N(mean, diag(exp(log_var))): the posterior q(z | x, y), and a prior with one component."""

    mean: Latents
    log_var: Latents

    def rsample(self) -> Latents:
        """One draw per image, differentiable in the parameters (Kingma & Welling 2014, section 2.4)."""
        return self.at(torch.randn_like(self.mean))

    def at(self, noise: Latents) -> Latents:
        """The draw that `noise`, drawn from N(0, I), becomes."""
        return self.mean + noise * (0.5 * self.log_var).exp()

    def sample(self, temperature: float = 1.0) -> Latents:
        """One draw per image without a gradient; `temperature` multiplies the standard deviations."""
        return (self.mean + temperature * torch.randn_like(self.mean) * (0.5 * self.log_var).exp()).detach()

    def log_prob(self, z: Latents) -> PerImage:
        """Log q(z) in nats, summed over latents."""
        squares = (z - self.mean).square() / self.log_var.exp()
        return -0.5 * (squares + self.log_var + math.log(2 * math.pi)).sum(1)

    def kl(self, q: "DiagonalGaussian", z: Latents) -> PerImage:
        """KL(q || this) in nats, summed over latents; exact, so the draw `z` from `q` is not used."""
        return self.kl_by_latent(q).sum(1)

    def kl_by_latent(self, q: "DiagonalGaussian") -> Latents:
        """KL(q || this) of each latent, in nats."""
        log_ratio = q.log_var - self.log_var
        squares = (q.mean - self.mean).square() / self.log_var.exp()
        return -0.5 * (1 + log_ratio - squares - log_ratio.exp())

    def repeated(self, times: int) -> "DiagonalGaussian":
        """The whole batch repeated `times` times."""
        return DiagonalGaussian(self.mean.repeat(times, 1), self.log_var.repeat(times, 1))

    def detached(self) -> "DiagonalGaussian":
        """The same distribution; no gradient flows through its parameters."""
        return DiagonalGaussian(self.mean.detach(), self.log_var.detach())


@runtime_checkable
class LatentDistribution(Protocol):
    """p(z | y) for a batch of labels."""

    def sample(self, temperature: float = 1.0) -> Latents:
        """One draw per label; `temperature` multiplies the standard deviations of the Gaussians."""
        ...

    def log_prob(self, z: Latents) -> PerImage:
        """Log p(z | y) in nats, summed over latents."""
        ...

    def kl(self, q: DiagonalGaussian, z: Latents) -> PerImage:
        """KL(q || this) in nats: exact if there is a closed form, else estimated at `z`, one draw from `q`."""
        ...


@runtime_checkable
class FactorisedDistribution(LatentDistribution, Protocol):
    """A p(z | y) with independent latents, so that KL(q || p) is a sum over latents."""

    def kl_by_latent(self, q: DiagonalGaussian) -> Latents:
        """KL(q || this) of each latent, in nats."""
        ...


class StandardGaussian(NamedTuple):
    """N(0, I) for each of `num` labels."""

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
        """KL(q || N(0, 1)) of each latent, in nats: Kingma & Welling 2014, appendix B."""
        return -0.5 * (1 + q.log_var - q.mean.square() - q.log_var.exp())


class DiagonalMixture(NamedTuple):
    """A mixture of diagonal Gaussians for each label of a batch; `group` has its row in the tables."""

    group: Labels
    log_weights: Tensor  # (groups, components)
    means: Tensor  # (groups, components, latent)
    log_vars: Tensor  # (groups, components, latent)

    def sample(self, temperature: float = 1.0) -> Latents:
        component = self.log_weights.exp()[self.group].multinomial(1)[:, 0]
        gaussian = DiagonalGaussian(self.means[self.group, component], self.log_vars[self.group, component])
        return gaussian.sample(temperature)

    def log_prob(self, z: Latents) -> PerImage:
        """Log p(z | y) in nats, in float32 whatever the precision of the training.

        All components are evaluated at once: (z - m)^2 / v = z^2 / v - 2 z m / v + m^2 / v is one matrix product.
        """
        precisions = (-self.log_vars).exp()
        factors = torch.cat([self.means * precisions, -0.5 * precisions], 2).flatten(0, 1)
        squares = self.means.square() * precisions + self.log_vars + math.log(2 * math.pi)
        offsets = self.log_weights - 0.5 * squares.sum(2)
        with torch.autocast(z.device.type, enabled=False):
            by_component = F.linear(torch.cat([z, z.square()], 1), factors, offsets.flatten())
        by_component = by_component.unflatten(1, offsets.shape)
        own = by_component[torch.arange(len(z), device=z.device), self.group]
        return own.logsumexp(1)

    def kl(self, q: DiagonalGaussian, z: Latents) -> PerImage:
        """The one-draw estimate log q(z) - log p(z): unbiased, and below 0 for some images."""
        return q.log_prob(z) - self.log_prob(z)


class FlowDensity(NamedTuple):
    """The density of z that `flow` maps to N(0, I), given the context of each image."""

    flow: CouplingFlow
    context: Context

    def sample(self, temperature: float = 1.0) -> Latents:
        size = len(self.context), self.flow.latent_dim
        noise = torch.randn(size, device=self.context.device)
        with torch.autocast(noise.device.type, enabled=False):
            return self.flow.inverse(temperature * noise, self.context).detach()

    def log_prob(self, z: Latents) -> PerImage:
        """Log p(z | y) in nats, by the change of variables; in float32 whatever the precision of the training."""
        with torch.autocast(z.device.type, enabled=False):
            u, log_determinant = self.flow(z, self.context)
        return StandardGaussian(len(u), self.flow.latent_dim, u.device).log_prob(u) + log_determinant

    def kl(self, q: DiagonalGaussian, z: Latents) -> PerImage:
        """The one-draw estimate log q(z) - log p(z): unbiased, and below 0 for some images."""
        return q.log_prob(z) - self.log_prob(z)


class GaussianMixtures(NamedTuple):
    """Mixtures of Gaussians with full covariances, one per class or one for all: any prior or sampler in one form.

    >>> GaussianMixtures.standard(latent_dim=20).by_class(10).moments().mean  # zeros of shape (10, 20)
    """

    weights: Tensor  # (groups, components), each row sums to 1
    means: Tensor  # (groups, components, latent)
    factors: Tensor  # (groups, components, latent, latent): lower triangular, factor @ factor.T is the covariance

    @classmethod
    def standard(cls, latent_dim: int, device: torch.device | None = None) -> "GaussianMixtures":
        """N(0, I) for all classes."""
        identity = torch.eye(latent_dim, device=device)[None, None]
        return cls(identity.new_ones(1, 1), identity.new_zeros(1, 1, latent_dim), identity)

    @classmethod
    def diagonal(cls, weights: Tensor, means: Tensor, log_vars: Tensor) -> "GaussianMixtures":
        """Mixtures of diagonal Gaussians; `log_vars` has the shape of `means`."""
        return cls(weights, means, torch.diag_embed((0.5 * log_vars).exp()))

    @property
    def num_components(self) -> int:
        """Components of each mixture; a weight may be 0."""
        return self.weights.shape[1]

    def sample(self, group: Labels, temperature: float = 1.0) -> Latents:
        """One draw per entry of `group`, which says from which mixture; `temperature` multiplies the factors."""
        component = self.weights[group].multinomial(1)[:, 0]
        noise = temperature * torch.randn(len(group), self.means.shape[2], 1, device=group.device)
        return self.means[group, component] + (self.factors[group, component] @ noise)[..., 0]

    def by_class(self, num_classes: int) -> "GaussianMixtures":
        """One mixture per class, so that labels index them; a single one for a model without classes."""
        return GaussianMixtures(*(part.expand(max(num_classes, 1), *part.shape[1:]) for part in self))

    def as_single_gaussians(self) -> "GaussianMixtures":
        """One Gaussian per group, with the mean and the covariance of its mixture."""
        means = torch.einsum("gk,gkl->gl", self.weights, self.means)
        scaled = self.weights.sqrt()[..., None, None] * torch.cat(
            [self.factors, (self.means - means[:, None])[..., None]], 3
        )
        covariances = torch.einsum("gkil,gkjl->gij", scaled, scaled)
        factors = torch.linalg.cholesky(covariances)
        return GaussianMixtures(torch.ones(len(means), 1), means[:, None], factors[:, None])

    def moments(self) -> DiagonalGaussian:
        """The mean and the log variance of each latent in each group, (groups, latent)."""
        single = self.as_single_gaussians()
        return DiagonalGaussian(single.means[:, 0], single.factors[:, 0].square().sum(2).log())
