"""Distances between two sets of images, computed from their features."""

import statistics
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from cvae_lightning.core.shapes import Features, PerImage

SUBSETS, SUBSET_SIZE = 100, 1000
NEIGHBOURS = 3
CHUNK = 1000
BLOCK = 250  # images of which the pairs with 1,000 others fit into the cache of a processor

OtherFeatures: TypeAlias = Float[Tensor, "others features"]


class PrecomputedFeatures(nn.Module):
    """A feature extractor that returns its input, so that features are computed once for all distances."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Features) -> Features:
        return features


def frechet_distance(real: Features, fake: OtherFeatures) -> float:
    """The squared Fréchet distance between Gaussians fitted to both sets (Heusel et al. 2017), in float64.

    Its bias falls with the number of images. Compare it at equal numbers, and with the distance of real images.
    """
    metric = FrechetInceptionDistance(PrecomputedFeatures(real.shape[1]))
    metric.update(real.cpu().double(), real=True)
    metric.update(fake.cpu().double(), real=False)
    return float(metric.compute())


def kernel_distance(real: Features, fake: OtherFeatures) -> float:
    """The squared maximum mean discrepancy with the kernel (a.b / features + 1) ** 3 (Binkowski et al. 2018).

    It is the mean over 100 pairs of subsets of 1,000 images, or of all images if there are fewer, drawn from torch's
    random stream. The estimate is unbiased, so it may be negative. It is the number of torchmetrics'
    KernelInceptionDistance, in half the time.
    """
    size = min(SUBSET_SIZE, len(real), len(fake))
    sets = real.cpu().double(), fake.cpu().double()
    pairs = ([features[torch.randperm(len(features))[:size]] for features in sets] for _ in range(SUBSETS))
    return statistics.fmean(_discrepancy(a, b) for a, b in pairs)


def _discrepancy(a: Features, b: Features) -> float:
    """The squared maximum mean discrepancy of two sets of the same size."""
    num = len(a)
    within = (_sum_within(a) + _sum_within(b)) / (num * (num - 1))
    return within - 2 * sum(_kernel_sum(part, b) for part in a.split(BLOCK)) / num**2


def _sum_within(features: Features) -> float:
    """The sum of the cubic kernel over all pairs of two different images of a set, in both orders."""
    total = -float((features.square().mean(1) + 1).pow(3).sum())  # of each image and itself
    while len(features):
        part, features = features[:BLOCK], features[BLOCK:]
        total += _kernel_sum(part, part) + 2 * _kernel_sum(part, features)
    return total


def _kernel_sum(a: Features, b: Features) -> float:
    """The sum of the cubic kernel over all pairs of an image of `a` and one of `b`."""
    bases = torch.addmm(a.new_ones(()), a, b.T, alpha=1 / a.shape[1]).flatten()
    return float(torch.dot(bases.square(), bases))


def precision_and_recall(real: Features, fake: OtherFeatures) -> tuple[float, float]:
    """The share of `fake` near `real`, and the share of `real` near `fake` (Kynkäänniemi et al. 2019).

    An image is near a set if it is no further from some image of the set than that image's third neighbour in the set.
    """
    reach_of_real, reach_of_fake = _distance_of_neighbour(real), _distance_of_neighbour(fake)
    near_real = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    near_fake = []
    for part, reach in zip(real.split(CHUNK), reach_of_real.split(CHUNK), strict=True):
        apart = torch.cdist(part, fake)
        near_real |= (apart <= reach[:, None]).any(0)
        near_fake.append((apart <= reach_of_fake).any(1))
    return _share(near_real), _share(torch.cat(near_fake))


def _distance_of_neighbour(features: Features) -> PerImage:
    """The distance of each image from its third neighbour in the same set; the image itself is not counted."""
    nearest = (torch.cdist(part, features).topk(NEIGHBOURS + 1, largest=False) for part in features.split(CHUNK))
    return torch.cat([found.values[:, NEIGHBOURS] for found in nearest])


def _share(found: Tensor) -> float:
    return float(found.float().mean())
