"""p(z | y), the prior of the latents: the standard normal, or a density that is learned together with the model."""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvae_lightning.distributions import DiagonalNormal
from cvae_lightning.errors import check_integer, check_positive, refuse
from cvae_lightning.shapes import AnyLabels, Labels, Latents, PerImage, as_labels


@runtime_checkable
class LatentDistribution(Protocol):
    """p(z | y) for a batch of labels; one label stands for as many images as there are latents."""

    def sample(self, temperature: float = 1.0) -> Latents:
        """One draw a label; the standard deviations of its normals are multiplied by `temperature`."""
        ...

    def log_prob(self, z: Latents) -> PerImage:
        """Nats, summed over latents."""
        ...

    def kl(self, q: DiagonalNormal, z: Latents) -> PerImage:
        """KL(q || this) in nats: exact where there is a closed form, else estimated at `z`, one draw from `q`."""
        ...

    def kl_by_latent(self, q: DiagonalNormal) -> Latents:
        """KL(q || this) of each latent in nats. Raises UserError where the KL is no sum over latents."""
        ...


class StandardNormal(NamedTuple):
    """N(0, I), whatever the label."""

    num: int
    latent_dim: int
    device: torch.device

    def sample(self, temperature: float = 1.0) -> Latents:
        return temperature * torch.randn(self.num, self.latent_dim, device=self.device)

    def log_prob(self, z: Latents) -> PerImage:
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

    def kl(self, q: DiagonalNormal, z: Latents) -> PerImage:
        return self.kl_by_latent(q).sum(1)

    def kl_by_latent(self, q: DiagonalNormal) -> Latents:
        """Kingma & Welling 2014, appendix B."""
        return -0.5 * (1 + q.log_var - q.mean.square() - q.log_var.exp())


class NormalMixture(NamedTuple):
    """Mixtures of diagonal normals, one a group; `group` says for each label which."""

    group: Labels
    log_weights: Tensor  # (groups, components)
    means: Tensor  # (groups, components, latent)
    log_vars: Tensor  # (groups, components, latent)

    def sample(self, temperature: float = 1.0) -> Latents:
        component = self.log_weights.exp()[self.group].multinomial(1)[:, 0]
        normal = DiagonalNormal(self.means[self.group, component], self.log_vars[self.group, component])
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

    def kl(self, q: DiagonalNormal, z: Latents) -> PerImage:
        """The one-draw estimate log q(z) - log p(z): unbiased, and below 0 for some images."""
        return q.log_prob(z) - self.log_prob(z)

    def kl_by_latent(self, q: DiagonalNormal) -> Latents:
        remedy = "Or use bound.free_bits=0: the KL to a mixture is no sum over latents."
        refuse("1 with free bits", "prior.num_components", self.means.shape[1], remedy)


class Normal(nn.Module):
    """N(0, I): Kingma & Welling 2014, and the report."""

    def __init__(self, latent_dim: int, num_classes: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def forward(self, y: AnyLabels) -> LatentDistribution:
        labels = as_labels(y)
        return StandardNormal(len(labels), self.latent_dim, labels.device)


class Learned(nn.Module):
    """A mixture of diagonal normals, of each class where there are any; its parameters are learned with the model's.

    With one component and classes this is the conditional prior of Sohn et al. 2015; with many and no classes the
    mixture of Gaussians that Tomczak & Welling 2018 compare with. The components start with equal weights, variance 1,
    and means drawn from N(0, initial_spread^2), so that they can part.
    """

    def __init__(self, latent_dim: int, num_classes: int, num_components: int, initial_spread: float = 1.0) -> None:
        super().__init__()
        remedy = "1 is a single normal."
        size = check_integer("prior.num_components", num_components, 1, remedy)
        spread = check_positive("prior.initial_spread", initial_spread, "Latents have a spread of about 1.")
        self.num_classes = num_classes
        shape = (max(num_classes, 1), size)
        self.logits = nn.Parameter(torch.zeros(shape))
        self.means = nn.Parameter(spread * torch.randn(*shape, latent_dim))
        self.log_vars = nn.Parameter(torch.zeros(*shape, latent_dim))

    def forward(self, y: AnyLabels) -> LatentDistribution:
        labels = as_labels(y, num_classes=self.num_classes or None, device=self.means.device)
        group = labels if self.num_classes else torch.zeros_like(labels)
        if self.means.shape[1] == 1:
            return DiagonalNormal(self.means[group, 0], self.log_vars[group, 0])
        return NormalMixture(group, self.logits.log_softmax(1), self.means, self.log_vars)


PriorFactory: TypeAlias = Callable[..., Normal | Learned]
"""(latent_dim, num_classes) -> a prior; the model knows its sizes."""
