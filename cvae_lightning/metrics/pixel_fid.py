"""The FID of the paper: a Fréchet distance on raw pixels with diagonal covariance, class by class."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from cvae_lightning.core.capacity import images_at_once
from cvae_lightning.core.shapes import ByteImages, Labels

FEW_CLASSES = 64


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
        """Add real or generated `images` of the classes `labels`; those of an unknown class, -1, are left out."""
        if (known := labels >= 0).logical_not().any():
            images, labels = images[known], labels[known]
        self.num_images[int(real)].index_add_(0, labels, torch.ones_like(labels))
        for sums, power in ((self.sums, 1), (self.sums_of_squares, 2)):
            _add_by_class(sums[int(real)], images.flatten(1), power, labels)

    def compute(self) -> Tensor:
        """Return the distance, a float64 scalar on the CPU; nan if a class has no real or no generated images."""
        states = (self.num_images, self.sums, self.sums_of_squares)
        at_once = images_at_once(self.sums.shape[2:], max(1, self.sums.shape[1]))
        parts = zip(*(state.split(at_once, 1) for state in states), strict=True)
        return torch.cat([_distances(*part) for part in parts]).mean()

    @staticmethod
    def bytes_of_sums(num_classes: int, num_pixels: int) -> int:
        """The size of its sums, with the zeros that torchmetrics keeps to reset them."""
        return 2 * 2 * 2 * 8 * num_classes * num_pixels


def _add_by_class(sums: Tensor, pixels: Tensor, power: int, labels: Labels) -> None:
    """Add to `sums` (classes, pixels) the bytes `pixels` (batch, pixels) of each class, to the given power.

    For few classes, a product with their indicators takes a third of the time; its sums are exact in float64.
    """
    if len(sums) <= FEW_CLASSES:
        indicators = F.one_hot(labels, len(sums)).double()
        sums += (indicators.mT @ pixels.double().pow_(power)).long()
    else:
        sums.index_add_(0, labels, pixels.long().pow_(power))


def _distances(num_images: Tensor, sums: Tensor, sums_of_squares: Tensor) -> Tensor:
    """The distance of each class (classes,), in float64, from its state (2, classes, ...)."""
    counts, sums, squares = (state.cpu().double() for state in (num_images, sums, sums_of_squares))
    means = sums / counts[..., None] / 255
    variances = (squares / counts[..., None] / 255**2 - means.square()).clamp(min=0)  # rounding may give less
    between_means = (means[0] - means[1]).square()
    between_variances = (variances[0].sqrt() - variances[1].sqrt()).square()
    return (between_means + between_variances).sum(1)
