"""The report's Score: one number from the report's other numbers."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class Score(Metric):
    """The course's Score, higher is better; a smaller latent_dim earns a bonus, and a cap limits the whole.

    Without `fid_pixel` it is the unconditional model's: at most 10. With it, the conditional model's: at most 30.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    value: Tensor

    def __init__(self, latent_dim: int, capped: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.latent_dim = latent_dim
        self.capped = capped
        self.add_state("value", torch.tensor(torch.nan), dist_reduce_fx="mean")

    def update(self, ssim: Tensor | float, mse: Tensor | float, fid_pixel: Tensor | float | None) -> None:
        self.value = torch.as_tensor(score(ssim, mse, fid_pixel, self.latent_dim, self.capped))

    def compute(self) -> Tensor:
        return self.value


def score(
    ssim: Tensor | float, mse: Tensor | float, fid_pixel: Tensor | float | None, latent_dim: int, capped: bool = True
) -> float:
    bonus = 1.2 - latent_dim / 784
    reconstruction = float(5 * ssim + 50 * max(0.1 - mse, 0))
    if fid_pixel is None:
        points, cap = reconstruction * bonus, 10.0
    else:
        points, cap = (2 * reconstruction + float(max(10 - fid_pixel, 0))) * bonus, 30.0
    return min(points, cap) if capped else points
