"""Paths through the latents: from one point to another, and along one latent at a time."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cvae_lightning.core.shapes import Latents

NEARLY_PARALLEL = 1e-4  # radians; below, the straight line is the arc


def spherical(first: Latents, last: Latents, steps: int) -> Tensor:
    """(batch, steps, latent): the arc from each of `first` to its `last`, ends included; Shoemake 1985, eq. 3.

    Latents of a normal prior lie in a shell around the origin, which the straight line would leave (White 2016).
    """
    cosine = F.cosine_similarity(first, last).clamp(-1, 1)[:, None, None]
    angle = cosine.acos()
    share = torch.linspace(0, 1, steps, device=first.device)[None, :, None]
    straight = (1 - share) * first[:, None] + share * last[:, None]
    sine = angle.sin()
    arc = (((1 - share) * angle).sin() * first[:, None] + (share * angle).sin() * last[:, None]) / sine
    return torch.where(sine < NEARLY_PARALLEL, straight, arc)


def traversal(centre: Tensor, order: Tensor, values: Tensor) -> Tensor:
    """(order, values, latent): `centre` (latent,), but for the latent of the row, which has the column's value."""
    points = centre.repeat(len(order), len(values), 1)
    points[torch.arange(len(order)), :, order] = values
    return points
