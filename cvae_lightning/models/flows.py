"""A normalising flow: an invertible map of latents, by which both draws from a density and its values are exact."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from cvae_lightning.core.shapes import Context, Latents, PerImage

MOST_LOG_SCALE = 2.0  # of a latent in one coupling, so that no training step can make the flow explode


class CouplingFlow(nn.Module):
    """RealNVP, Dinh et al. 2017: a map from latents z to u = f(z, context) that can be inverted.

    Each coupling scales and shifts one half of the latents by functions of the other half and of the context. Before
    each, the latents are put into another order, which is drawn once. At first the couplings change nothing.
    """

    orders: Tensor  # (couplings, latent)

    def __init__(self, latent_dim: int, context_dim: int, num_couplings: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.couplings = nn.ModuleList(Coupling(latent_dim, context_dim, hidden) for _ in range(num_couplings))
        self.register_buffer("orders", torch.stack([torch.randperm(latent_dim) for _ in range(num_couplings)]))

    @property
    def steps(self) -> list[tuple[Tensor, "Coupling"]]:
        """The order into which the latents are put before each coupling, and the coupling."""
        return [(order, cast(Coupling, each)) for order, each in zip(self.orders, self.couplings, strict=True)]

    def forward(self, z: Latents, context: Context) -> tuple[Latents, PerImage]:
        """u, and the log of the absolute value of the determinant of du/dz."""
        log_determinant = z.new_zeros(len(z))
        for order, coupling in self.steps:
            z, log_scale = coupling(z[:, order], context)
            log_determinant = log_determinant + log_scale
        return z, log_determinant

    def inverse(self, u: Latents, context: Context) -> Latents:
        """The z for which `forward` gives `u`."""
        for order, coupling in reversed(self.steps):
            before = coupling.inverse(u, context)
            u = before.scatter(1, order.expand_as(before), before)  # undoes [:, order]
        return u


class Coupling(nn.Module):
    """One affine coupling: its first latents stay, and the others are scaled and shifted by functions of them."""

    def __init__(self, latent_dim: int, context_dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.sizes = [latent_dim // 2, latent_dim - latent_dim // 2]
        kept, moved = self.sizes
        widths = [kept + context_dim, *hidden]
        layers = [layer for sizes in pairwise(widths) for layer in (nn.Linear(*sizes), nn.ReLU())]
        last = nn.Linear(widths[-1], 2 * moved)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, z: Latents, context: Context) -> tuple[Latents, PerImage]:
        """The latents after the coupling, and the log of its determinant."""
        kept, moved = z.split(self.sizes, 1)
        shift, log_scale = self._affine(kept, context)
        return torch.cat([kept, moved * log_scale.exp() + shift], 1), log_scale.sum(1)

    def inverse(self, u: Latents, context: Context) -> Latents:
        """The latents before the coupling."""
        kept, moved = u.split(self.sizes, 1)
        shift, log_scale = self._affine(kept, context)
        return torch.cat([kept, (moved - shift) * (-log_scale).exp()], 1)

    def _affine(self, kept: Latents, context: Context) -> tuple[Latents, Latents]:
        """The shift and the log of the scale of each latent that moves."""
        shift, log_scale = self.layers(torch.cat([kept, context], 1)).chunk(2, dim=1)
        return shift, MOST_LOG_SCALE * (log_scale / MOST_LOG_SCALE).tanh()
