"""Paths through the latents: from one point to another, and along one latent at a time."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cvae_lightning.core.shapes import Latents

NEARLY_PARALLEL = 1e-4  # radians; below, the arc is computed as a straight line


def spherical(first: Latents, last: Latents, steps: int) -> Tensor:
    """Points (batch, steps, latent) on the arc from each of `first` to its `last`, both included; Shoemake 1985, eq. 3.

    Latents of a Gaussian prior lie in a shell around the origin, which a straight line would leave (White 2016).
    """
    cosine = F.cosine_similarity(first, last).clamp(-1, 1)[:, None, None]
    angle = cosine.acos()
    share = torch.linspace(0, 1, steps, device=first.device)[None, :, None]
    straight = (1 - share) * first[:, None] + share * last[:, None]
    sine = angle.sin()
    arc = (((1 - share) * angle).sin() * first[:, None] + (share * angle).sin() * last[:, None]) / sine
    return torch.where(sine < NEARLY_PARALLEL, straight, arc)


def traversal(centre: Tensor, order: Tensor, values: Tensor) -> Tensor:
    """Points (rows, columns, latent) that equal `centre` (latent,) except in one latent.

    In row i and column j, latent `order[i]` has the value `values[j]`.
    """
    points = centre.repeat(len(order), len(values), 1)
    points[torch.arange(len(order)), :, order] = values
    return points
