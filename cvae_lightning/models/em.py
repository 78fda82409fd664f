"""Expectation maximisation (EM) for a mixture of Gaussians with full covariances, in float64.

The log density of a Gaussian is an affine function of z and of the products z_i z_j with i <= j. One matrix product
therefore evaluates all components at a block of latents (E step), and another one sums the moments of all components
(M step). No array is as large as images x components x latents.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cvae_lightning.core.shapes import Latents, PerImage

FLOOR = 1e-5  # added to each variance in an M step, so that a component on equal latents has a density
RELATIVE_FLOOR = 1e-10  # the same as a fraction of the largest variance; below it, rounding dominates
TOLERANCE = 1e-3  # nats per image: the fit ends with the iteration that gains less
MOST_ITERATIONS = 200
MOST_LLOYD_ITERATIONS = 100
SEEDING_LATENTS = 20_000  # k-means sees a random subset of this size
BLOCK_ELEMENTS = 2**20  # of a block of features: 8 MiB
KEPT_ELEMENTS = 2**26  # features of a whole fit that are kept between iterations: 512 MiB


class Mixture(NamedTuple):
    """A mixture of Gaussians, in float64."""

    weights: Tensor  # (components,), sums to 1; a component that lost all latents has weight 0
    means: Tensor  # (components, latent)
    factors: Tensor  # (components, latent, latent): lower triangular, factor @ factor.T is the covariance

    def log_prob(self, z: Latents) -> PerImage:
        """Log density of each latent, in nats."""
        centre = self.weights @ self.means
        joint = _LogJoint(self._replace(means=self.means - centre))
        return torch.cat([joint(features).logsumexp(1) for features in Blocks(z - centre)])


def fit_mixture(z: Latents, num_components: int, seed: int) -> Mixture:
    """Fit a mixture to `z`, which is on the CPU, with EM from the clusters of k-means.

    The result depends on `z` and `seed` alone; no random number is drawn from the global stream. A component to which
    k-means or EM assigns no latent has weight 0.
    """
    centre = z.mean(0, dtype=torch.float64)
    centred = z - centre  # so that the subtraction of squared means from second moments loses no digits
    mixture = _start(centred, num_components, torch.Generator().manual_seed(seed))
    blocks = Blocks(centred)
    last = -math.inf
    for _ in range(MOST_ITERATIONS):
        log_likelihood, mixture = em_step(blocks, mixture)
        if log_likelihood - last < TOLERANCE:
            break
        last = log_likelihood
    return mixture._replace(means=mixture.means + centre)


def em_step(blocks: "Blocks", mixture: Mixture) -> tuple[float, Mixture]:
    """Mean log-likelihood under `mixture` in nats per image, and the mixture after one iteration of EM."""
    joint = _LogJoint(mixture)
    total, counts, moments = 0.0, torch.zeros_like(mixture.weights), torch.zeros_like(joint.coefficients)
    for features in blocks:
        shares = joint(features)
        largest = shares.amax(1, keepdim=True)
        shares.sub_(largest).clamp_(min=-200)  # exp(-700) is a denormal number, which slows matrix products down
        sums = shares.exp_().sum(1, keepdim=True)
        shares.div_(sums)
        total += float((largest + sums.log_()).sum())
        counts += shares.sum(0)
        moments.addmm_(shares.T, features)
    return total / len(blocks), _maximised(counts, moments, blocks.floor, mixture)


class Blocks:
    """The features of latents z with mean 0, block by block: all z_i z_j with i <= j, then z.

    They are kept if they have at most KEPT_ELEMENTS, and computed anew in each pass otherwise.
    """

    def __init__(self, z: Latents) -> None:
        num_features = _num_features(z.shape[1])
        self._num_latents = len(z)
        self.floor = _floor(z)
        self._parts = z.split(_block_length(z.shape[1]))
        self._kept = [_features(part) for part in self._parts] if len(z) * num_features <= KEPT_ELEMENTS else None

    def __len__(self) -> int:
        """The number of latents in all blocks."""
        return self._num_latents

    def __iter__(self) -> Iterator[Tensor]:
        return map(_features, self._parts) if self._kept is None else iter(self._kept)


def _floor(z: Latents) -> float:
    return max(FLOOR, RELATIVE_FLOOR * float(z.square().mean(0).max()))


def _num_features(latent_dim: int) -> int:
    return latent_dim * (latent_dim + 3) // 2


def _block_length(latent_dim: int) -> int:
    return max(1, BLOCK_ELEMENTS // _num_features(latent_dim))


def _features(z: Latents) -> Tensor:
    return torch.cat([*(z[:, i : i + 1] * z[:, i:] for i in range(z.shape[1])), z], 1)


class _LogJoint:
    """log p(component) + log p(z | component) for all components, as an affine function of the features of z."""

    coefficients: Tensor  # (components, features)

    def __init__(self, mixture: Mixture) -> None:
        weights, means, factors = mixture
        latent_dim = means.shape[1]
        inverse = torch.linalg.solve_triangular(factors, _identity(latent_dim), upper=False)
        precisions = inverse.mT @ inverse
        linear = (precisions @ means[..., None])[..., 0]
        row, column = torch.triu_indices(latent_dim, latent_dim)
        quadratic = -precisions[:, row, column] * torch.where(row == column, 0.5, 1.0)
        self.coefficients = torch.cat([quadratic, linear], 1)
        log_det = factors.diagonal(dim1=1, dim2=2).log().sum(1)
        squares = latent_dim * math.log(2 * math.pi) + (linear * means).sum(1)
        self._offsets = weights.log() - log_det - 0.5 * squares

    def __call__(self, features: Tensor) -> Tensor:
        return torch.addmm(self._offsets, features, self.coefficients.T)


def _maximised(counts: Tensor, moments: Tensor, floor: float, last: Mixture) -> Mixture:
    """The M step from the sums of the shares and of the features times the shares."""
    latent_dim = last.means.shape[1]
    alive = counts > 1e-8
    moments = moments / counts.clamp(min=1e-8)[:, None]
    means = moments[:, -latent_dim:]
    row, column = torch.triu_indices(latent_dim, latent_dim)
    covariances = torch.empty_like(last.factors)
    covariances[:, row, column] = covariances[:, column, row] = moments[:, :-latent_dim]
    covariances -= means[:, :, None] * means[:, None, :]
    factors = _factors(torch.where(alive[:, None, None], covariances, _identity(latent_dim)), floor)
    return Mixture(
        torch.where(alive, counts, 0) / counts[alive].sum(),
        torch.where(alive[:, None], means, last.means),
        torch.where(alive[:, None, None], factors, last.factors),
    )


def _factors(covariances: Tensor, floor: float) -> Tensor:
    """Cholesky factors of the covariances plus `floor`, or plus more where rounding made one indefinite."""
    floors = torch.full((len(covariances), 1, 1), floor, dtype=torch.float64)
    while True:
        factors, failures = torch.linalg.cholesky_ex(covariances + floors * _identity(covariances.shape[1]))
        if not failures.any():
            return factors
        floors[failures > 0] *= 10


def _identity(latent_dim: int) -> Tensor:
    return torch.eye(latent_dim, dtype=torch.float64)


def _start(z: Latents, num_components: int, generator: torch.Generator) -> Mixture:
    """The Gaussians of the clusters that k-means finds in a random subset of the latents."""
    if len(z) > SEEDING_LATENTS:
        z = z[torch.randperm(len(z), generator=generator)[:SEEDING_LATENTS]]
    centres = _seeds(z, num_components, generator)
    nearest = torch.cdist(z, centres).argmin(1)
    for _ in range(MOST_LLOYD_ITERATIONS):
        counts = nearest.bincount(minlength=num_components)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, nearest, z)
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
        last, nearest = nearest, torch.cdist(z, centres).argmin(1)
        if torch.equal(last, nearest):
            break
    moments = torch.zeros(num_components, _num_features(z.shape[1]), dtype=torch.float64)
    length = _block_length(z.shape[1])
    for part, clusters in zip(z.split(length), nearest.split(length), strict=True):
        moments.index_add_(0, clusters, _features(part))
    counts = nearest.bincount(minlength=num_components).double()
    empty = Mixture(counts, centres, _identity(z.shape[1]).repeat(num_components, 1, 1))
    return _maximised(counts, moments, _floor(z), empty)


def _seeds(z: Latents, num_components: int, generator: torch.Generator) -> Latents:
    """Greedy k-means++ (Arthur & Vassilvitskii 2007): the best of a few latents drawn by their squared distance."""
    trials = 2 + int(math.log(num_components))
    squares = torch.full((len(z), 1), math.inf, dtype=torch.float64)
    centres: list[Latents] = []
    for _ in range(num_components):
        odds = squares[:, 0] if centres and squares.sum() > 1e-30 else torch.ones(len(z))  # ones: no two latents differ
        drawn = z[torch.multinomial(odds, trials, replacement=True, generator=generator)]
        remaining = torch.minimum(squares, torch.cdist(z, drawn).square())
        best = int(remaining.sum(0).argmin())
        squares = remaining[:, best : best + 1]
        centres.append(drawn[best])
    return torch.stack(centres)
