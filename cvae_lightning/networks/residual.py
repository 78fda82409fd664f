"""A residual convolutional encoder and decoder."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from cvae_lightning.core.capacity import check_memory
from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.shapes import Context
from cvae_lightning.networks.grids import Grids, check_levels
from cvae_lightning.networks.injection import PLACES, Injection, LabelInjection, Layers

DARK = -2.0  # initial output: if it were 0, a bias that all pixels share would overshoot to black and stay there


class Residual:
    """Residual blocks on a pyramid of grids, mirrored in the decoder; on MNIST's, a half and a quarter of its sides.

    The blocks are those of He et al. 2016 (Identity Mappings) without normalisation; each starts as the identity. The
    decoder upsamples by sub-pixel convolutions (Shi et al. 2016). Images may have any size; `Grids` says how many
    levels there are for `levels=None`, and how wide they are. A concatenated context is appended to the image as
    constant channels, and to the latent as it is.
    """

    def __init__(
        self,
        channels: int = 32,
        blocks: int = 1,
        injection: str = "concatenate",
        inject_into: Sequence[str] = PLACES,
        levels: int | None = None,
    ) -> None:
        """`channels` on the finest grid, twice as many on the next; `blocks` on each grid of each network."""
        self.channels = check_integer("network.channels", channels, 1, "The default is network.channels=32.")
        self.blocks = check_integer("network.blocks", blocks, 0, "The default is network.blocks=1.")
        check_memory(100_000 * self.blocks, f"network.blocks={blocks}", "The default is network.blocks=1.")
        self.injection = LabelInjection(injection, inject_into)
        self.levels = check_levels(levels)

    def encoder(self, image_shape: Sequence[int], context_dim: int, output_dim: int) -> nn.Module:
        grids = Grids(image_shape, self.channels, self.levels)
        first = self.injection.at_input("encoder", image_shape[0], context_dim)
        finest = nn.Conv2d(first.output_width, self.channels, grids.kernel_size, grids.stride, padding=1)
        layers = [*grids.padding(), first, finest, *self._grid("encoder", self.channels, context_dim)]
        for inputs, outputs in pairwise(grids.widths):
            layers += [nn.Conv2d(inputs, outputs, 2, stride=2), *self._grid("encoder", outputs, context_dim)]
        return Layers(*layers, nn.Flatten(), nn.Linear(math.prod(grids.coarsest), output_dim))

    def decoder(self, latent_dim: int, context_dim: int, image_shape: Sequence[int]) -> nn.Module:
        grids = Grids(image_shape, self.channels, self.levels)
        first = self.injection.at_input("decoder", latent_dim, context_dim)
        last = nn.Conv2d(self.channels, grids.stride**2 * image_shape[0], 3, padding=1)
        nn.init.constant_(last.bias, DARK)  # type: ignore[arg-type]  # it has one
        layers = [
            first,
            nn.Linear(first.output_width, math.prod(grids.coarsest)),
            nn.Unflatten(1, grids.coarsest),
            *self._grid("decoder", grids.widths[-1], context_dim),
        ]
        for inputs, outputs in pairwise(reversed(grids.widths)):
            upsampling = nn.Conv2d(inputs, 4 * outputs, 1), nn.PixelShuffle(2)
            layers += [*upsampling, *self._grid("decoder", outputs, context_dim)]
        return Layers(*layers, last, nn.PixelShuffle(grids.stride), *grids.cropping())

    def _grid(self, place: str, width: int, context_dim: int) -> list[nn.Module]:
        def activation() -> list[nn.Module]:
            return self.injection.activation(place, width, context_dim)

        return [*(Block(width, activation(), activation()) for _ in range(self.blocks)), *activation()]


class Block(Injection):
    """The features plus a correction by two convolutions, each after an activation; the correction starts at 0."""

    def __init__(self, width: int, before: list[nn.Module], between: list[nn.Module]) -> None:
        super().__init__()
        self.output_width = width
        last = nn.Conv2d(width, width, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.layers = Layers(*before, nn.Conv2d(width, width, 3, padding=1), *between, last)

    def forward(self, features: Tensor, context: Context) -> Tensor:
        return features + self.layers(features, context)
