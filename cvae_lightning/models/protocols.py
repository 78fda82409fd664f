"""What measurements, pictures and training objectives ask of a model."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from cvae_lightning.core.shapes import AnyLabels, Images, Latents
from cvae_lightning.models.latents import DiagonalGaussian, LatentDistribution
from cvae_lightning.models.likelihoods import PixelDistribution


class Generative(Protocol):
    """A model of images; one that tells `num_classes` = 0 classes apart ignores its labels but for their number."""

    num_classes: int
    latent_dim: int

    @property
    def image_shape(self) -> Sequence[int]: ...

    def reconstruct(self, x: Images, y: AnyLabels) -> Images: ...

    def sample(self, y: AnyLabels) -> Images: ...


@runtime_checkable
class LatentVariableModel(Protocol):
    """p(x, z | y) = p(z | y) p(x | z, y), and an approximate posterior q(z | x, y)."""

    def prior(self, y: AnyLabels) -> LatentDistribution: ...

    def posterior(self, x: Images, y: AnyLabels) -> DiagonalGaussian: ...

    def likelihood(self, z: Latents, y: AnyLabels) -> PixelDistribution: ...
