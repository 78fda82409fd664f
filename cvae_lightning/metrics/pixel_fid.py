"""The FID of the paper: a Fréchet distance on raw pixels with diagonal covariance, class by class."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from cvae_lightning.core.shapes import ByteImages, Labels


class PixelFID(Metric):
    """Mean over classes of the squared Fréchet distance between two Gaussians with diagonal covariance.

    The Gaussians are fitted to the real and to the generated images of a class, with pixels in [0, 1]:
    ||m_g - m_r||^2 + sum(v_g + v_r - 2 sqrt(v_g v_r)), Dowson & Landau 1982, with biased variances. The distance
    ignores dependence between pixels, so noise with the same per-pixel mean and variance scores as well as digits.

    Sums are integers, so the result does not depend on how the images are batched.
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False
    num_images: Tensor  # (2, classes)
    sums: Tensor  # (2, classes, pixels)
    sums_of_squares: Tensor

    def __init__(self, num_classes: int, num_pixels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        empty = torch.zeros(2, num_classes, num_pixels, dtype=torch.long)
        self.add_state("num_images", torch.zeros(2, num_classes, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("sums", empty, dist_reduce_fx="sum")
        self.add_state("sums_of_squares", empty.clone(), dist_reduce_fx="sum")

    def update(self, images: ByteImages, labels: Labels, real: bool) -> None:
        """Add real or generated `images` of the classes `labels`."""
        pixels = images.flatten(1).long()
        self.num_images[int(real)].index_add_(0, labels, torch.ones_like(labels))
        self.sums[int(real)].index_add_(0, labels, pixels)
        self.sums_of_squares[int(real)].index_add_(0, labels, pixels.square())

    def compute(self) -> Tensor:
        """Return the distance, a float64 scalar on the CPU; nan if a class has no real or no generated images."""
        counts, sums, squares = (state.cpu().double() for state in (self.num_images, self.sums, self.sums_of_squares))
        means = sums / counts[..., None] / 255
        variances = (squares / counts[..., None] / 255**2 - means.square()).clamp(min=0)  # rounding may give less
        between_means = (means[0] - means[1]).square()
        between_variances = (variances[0].sqrt() - variances[1].sqrt()).square()
        return (between_means + between_variances).sum(1).mean()
