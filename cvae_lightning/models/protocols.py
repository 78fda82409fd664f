"""The methods of a model that evaluators, bounds and drawing commands call."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.shapes import Conditions, Images, Latents, Logits
from cvae_lightning.models.latents import DiagonalGaussian, LatentDistribution
from cvae_lightning.models.likelihoods import PixelDistribution


class Generative(Protocol):
    """A model of images. If `num_classes` is 0, it is not conditioned on a class."""

    latent_dim: int
    condition: Condition
    """What it is conditioned on; with no columns, on nothing."""

    @property
    def num_classes(self) -> int: ...

    @property
    def image_shape(self) -> Sequence[int]: ...

    def reconstruct(self, x: Images, y: Conditions) -> Images:
        """The reconstruction of each image, in [0, 1]."""
        ...

    def sample(self, y: Conditions) -> Images:
        """One new image per label, in [0, 1]."""
        ...


@runtime_checkable
class LatentVariableModel(Protocol):
    """p(x, z | y) = p(z | y) p(x | z, y), and an approximate posterior q(z | x, y)."""

    def prior(self, y: Conditions) -> LatentDistribution: ...

    def posterior(self, x: Images, y: Conditions) -> DiagonalGaussian: ...

    def likelihood(self, z: Latents, y: Conditions) -> PixelDistribution: ...


@runtime_checkable
class Classifying(Protocol):
    """A model that has a classifier q(y | x)."""

    def class_log_probabilities(self, x: Images) -> Logits:
        """Log q(y | x) of each class, (batch, classes), in nats."""
        ...
