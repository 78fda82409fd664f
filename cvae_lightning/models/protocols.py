"""The methods of a model that evaluators, bounds and drawing commands call."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from cvae_lightning.core.shapes import Images, Labels, Latents
from cvae_lightning.models.latents import DiagonalGaussian, LatentDistribution
from cvae_lightning.models.likelihoods import PixelDistribution


class Generative(Protocol):
    """A model of images. If `num_classes` is 0 it is unconditional: only the number of labels matters to it."""

    num_classes: int
    latent_dim: int

    @property
    def image_shape(self) -> Sequence[int]: ...

    def reconstruct(self, x: Images, y: Labels) -> Images:
        """The reconstruction of each image, in [0, 1]."""
        ...

    def sample(self, y: Labels) -> Images:
        """One new image per label, in [0, 1]."""
        ...


@runtime_checkable
class LatentVariableModel(Protocol):
    """p(x, z | y) = p(z | y) p(x | z, y), and an approximate posterior q(z | x, y)."""

    def prior(self, y: Labels) -> LatentDistribution: ...

    def posterior(self, x: Images, y: Labels) -> DiagonalGaussian: ...

    def likelihood(self, z: Latents, y: Labels) -> PixelDistribution: ...
