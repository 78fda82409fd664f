"""p(z | y), the prior of the latents: a standard Gaussian, or a density that is learned together with the model."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvae_lightning.core.errors import check_integer, check_positive, refuse
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Labels
from cvae_lightning.models.flows import CouplingFlow
from cvae_lightning.models.latents import (
    DiagonalGaussian,
    DiagonalMixture,
    FlowDensity,
    GaussianMixtures,
    LatentDistribution,
    StandardGaussian,
)

NUM_DRAWS = 10_000  # per class, for the moments of a flow


@runtime_checkable
class Prior(Protocol):
    """A module that turns labels into p(z | y)."""

    def __call__(self, y: Labels) -> LatentDistribution:
        """p(z | y) for a batch of labels."""
        ...

    def mixtures(self) -> GaussianMixtures:
        """p(z | y) for each class, or p(z), without a gradient: what traversals and exports compute with.

        A prior that is not a mixture of Gaussians raises UserError; a method gaussians() then says what moments it has.
        """
        ...


class StandardGaussianPrior(nn.Module):
    """N(0, I) for every label: Kingma & Welling 2014, and the paper."""

    origin: Tensor  # its mean; it says on which device the model is

    def __init__(self, latent_dim: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("origin", torch.zeros(latent_dim), persistent=False)

    def forward(self, y: Labels) -> LatentDistribution:
        return StandardGaussian(len(y), len(self.origin), y.device)

    def mixtures(self) -> GaussianMixtures:
        return GaussianMixtures.standard(len(self.origin), self.origin.device)


class LearnedPrior(nn.Module):
    """A mixture of diagonal Gaussians, one per class if there are classes, learned together with the model.

    With one component and classes this is the conditional prior of Sohn et al. 2015; with many components and no
    classes it is the mixture of Gaussians that Tomczak & Welling 2018 compare with. The components start with equal
    weights, variance 1, and means drawn from N(0, initial_spread^2), so that they can move apart.
    """

    def __init__(self, latent_dim: int, num_classes: int, num_components: int, initial_spread: float = 1.0) -> None:
        super().__init__()
        remedy = "1 is a single Gaussian."
        size = check_integer("prior.num_components", num_components, 1, remedy)
        spread = check_positive("prior.initial_spread", initial_spread, "Latents have a spread of about 1.")
        self.num_classes = num_classes
        shape = (max(num_classes, 1), size)
        self.logits = nn.Parameter(torch.zeros(shape))
        self.means = nn.Parameter(spread * torch.randn(*shape, latent_dim))
        self.log_vars = nn.Parameter(torch.zeros(*shape, latent_dim))

    def forward(self, y: Labels) -> LatentDistribution:
        group = y if self.num_classes else torch.zeros_like(y)
        if self.means.shape[1] == 1:
            return DiagonalGaussian(self.means[group, 0], self.log_vars[group, 0])
        return DiagonalMixture(group, self.logits.log_softmax(1), self.means, self.log_vars)

    @torch.no_grad()
    def mixtures(self) -> GaussianMixtures:
        return GaussianMixtures.diagonal(self.logits.softmax(1), self.means.detach(), self.log_vars)


class FlowPrior(nn.Module):
    """A normalising flow (RealNVP), learned together with the model: Xu et al. 2019.

    For a conditional model the flow takes the one-hot vector of the class. It starts as N(0, I).
    """

    def __init__(
        self, latent_dim: int, num_classes: int, num_couplings: int = 8, hidden: Sequence[int] = (128, 128)
    ) -> None:
        super().__init__()
        check_integer("latent_dim", latent_dim, 2, "A flow maps some latents by functions of others.")
        size = check_integer("prior.num_couplings", num_couplings, 1, "Two couplings reach each latent once.")
        if not isinstance(hidden, list | tuple):
            refuse("a list of widths", "prior.hidden", hidden, "The default is prior.hidden=[128,128].")
        widths = [check_integer("prior.hidden", width, 1, "The default is prior.hidden=[128,128].") for width in hidden]
        self.num_classes = num_classes
        self.flow = CouplingFlow(latent_dim, num_classes, size, widths)

    def forward(self, y: Labels) -> LatentDistribution:
        return FlowDensity(self.flow, F.one_hot(y, max(self.num_classes, 1))[:, : self.num_classes].float())

    def mixtures(self) -> GaussianMixtures:
        refuse("a prior that is a mixture of Gaussians", "prior", "flow", "A flow has no components.")

    @torch.no_grad()
    def gaussians(self) -> GaussianMixtures:
        """One Gaussian per class with the mean and the covariance of `NUM_DRAWS` draws, the same at each call."""
        groups = max(self.num_classes, 1)
        device = self.flow.orders.device
        with random_stream(0):
            draws = self(torch.arange(groups, device=device).repeat_interleave(NUM_DRAWS)).sample()
        z = draws.unflatten(0, (groups, NUM_DRAWS))
        means = z.mean(1, keepdim=True)
        factors = torch.linalg.cholesky(torch.stack([torch.cov(own.T) for own in z]))
        return GaussianMixtures(z.new_ones(groups, 1), means, factors[:, None])


def approximate_mixtures(prior: Prior) -> GaussianMixtures:
    """The mixtures that p(z | y) is, or for a prior that is none, Gaussians with its moments.

    Raises UserError for a prior that is neither.
    """
    gaussians = getattr(prior, "gaussians", None)
    mixtures: GaussianMixtures = gaussians() if gaussians else prior.mixtures()
    return mixtures


PriorFactory: TypeAlias = Callable[[int, int], Prior]
"""(latent_dim, num_classes) -> a prior; the model passes its sizes, and counts an unknown class as one more."""
