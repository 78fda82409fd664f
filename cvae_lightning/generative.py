"""What measurements and pictures ask of a model."""

from collections.abc import Sequence
from typing import Protocol

from cvae_lightning.shapes import AnyLabels, Images


class Generative(Protocol):
    """A model of images; one that tells `num_classes` = 0 classes apart ignores its labels but for their number."""

    num_classes: int
    latent_dim: int
    image_shape: Sequence[int]

    def reconstruct(self, x: Images, y: AnyLabels) -> Images: ...

    def sample(self, y: AnyLabels) -> Images: ...
