"""The structural similarity of the paper."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from cvae_lightning.core.capacity import images_at_once
from cvae_lightning.core.shapes import Images, PerImage

WINDOW = 7
C1 = 0.01**2
C2 = 0.03**2
IMAGES = 1000  # at a time; some twenty maps of each are held


class SSIM(Metric):
    """Mean structural similarity (Wang et al. 2004) as scikit-image computes it by default, for images in [0, 1].

    That of a colour image is the mean of its channels, as with scikit-image's `channel_axis`. Images must have at least
    7x7 pixels.

    The metric of torchmetrics uses biased covariances and pads the border. This one uses a uniform 7x7 window, sample
    covariances and the interior of the image only.
    """

    higher_is_better = True
    is_differentiable = True
    full_state_update = False
    total: Tensor
    num_images: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, a: Images, b: Images) -> None:
        """Add the pairs `a[i]` and `b[i]`."""
        parts = zip(*(images.split(images_at_once(a.shape[1:], IMAGES)) for images in (a, b)), strict=True)
        self.total += torch.cat([structural_similarity(*part) for part in parts]).sum()
        self.num_images += len(a)

    def compute(self) -> Tensor:
        """The mean over all pairs, a scalar in [-1, 1]."""
        return self.total / self.num_images


def structural_similarity(a: Images, b: Images) -> PerImage:
    """The similarity of each `a[i]` and `b[i]`, in [-1, 1]: the mean over all positions of the window and channels."""
    num_pixels = WINDOW**2
    mean_a, mean_b, mean_aa, mean_bb, mean_ab = _window_means(torch.stack([a, b, a * a, b * b, a * b]))
    sample = num_pixels / (num_pixels - 1)
    var_a = sample * (mean_aa - mean_a.square())
    var_b = sample * (mean_bb - mean_b.square())
    covariance = sample * (mean_ab - mean_a * mean_b)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a.square() + mean_b.square() + C1)
    structure = (2 * covariance + C2) / (var_a + var_b + C2)
    return (luminance * structure).flatten(1).mean(1)


def _window_means(maps: Tensor) -> Tensor:
    """The means of the 7x7 windows of (..., H, W) maps, of shape (..., H - 6, W - 6).

    The window is separable, so two products with a band matrix give them, which is the fastest way on a CPU.
    """
    rows, columns = (_band(size, maps) for size in maps.shape[-2:])
    return rows @ maps @ columns.mT


def _band(size: int, like: Tensor) -> Tensor:
    """The matrix (size - 6, size) whose row i averages the entries i to i + 6."""
    ones = torch.ones(size - WINDOW + 1, size, device=like.device, dtype=like.dtype)
    return ones.triu().tril(WINDOW - 1) / WINDOW
