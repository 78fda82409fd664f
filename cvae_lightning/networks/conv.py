"""A convolutional encoder and decoder; for MNIST they are about as large as the paper's fully connected ones."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from cvae_lightning.core.errors import check_integer
from cvae_lightning.networks.grids import Grids, check_levels
from cvae_lightning.networks.injection import PLACES, LabelInjection, Layers


class Conv:
    """Convolutions of stride 2, as many as `levels`, and one linear layer, mirrored in the decoder.

    Images may have any size; `Grids` says how many levels there are for `levels=None`, and how wide they are. A
    concatenated context is appended to the image as constant channels, and to the latent as it is.
    """

    def __init__(
        self,
        channels: int = 32,
        hidden: int = 128,
        injection: str = "concatenate",
        inject_into: Sequence[str] = PLACES,
        levels: int | None = None,
    ) -> None:
        self.channels = check_integer("network.channels", channels, 1, "The default is network.channels=32.")
        self.hidden = check_integer("network.hidden", hidden, 1, "The default is network.hidden=128.")
        self.injection = LabelInjection(injection, inject_into)
        self.levels = check_levels(levels)

    def encoder(self, image_shape: Sequence[int], context_dim: int, output_dim: int) -> nn.Module:
        grids = Grids(image_shape, self.channels, self.levels)
        first = self.injection.at_input("encoder", image_shape[0], context_dim)
        layers: list[nn.Module] = [*grids.padding(), first]
        for inputs, outputs in pairwise([first.output_width, *grids.widths]):
            convolution = nn.Conv2d(inputs, outputs, grids.kernel_size, grids.stride, padding=1)
            layers += [convolution, *self.injection.activation("encoder", outputs, context_dim)]
        return Layers(
            *layers,
            nn.Flatten(),
            nn.Linear(math.prod(grids.coarsest), self.hidden),
            *self.injection.activation("encoder", self.hidden, context_dim),
            nn.Linear(self.hidden, output_dim),
        )

    def decoder(self, latent_dim: int, context_dim: int, image_shape: Sequence[int]) -> nn.Module:
        grids = Grids(image_shape, self.channels, self.levels)
        first = self.injection.at_input("decoder", latent_dim, context_dim)
        layers: list[nn.Module] = [
            first,
            nn.Linear(first.output_width, self.hidden),
            *self.injection.activation("decoder", self.hidden, context_dim),
            nn.Linear(self.hidden, math.prod(grids.coarsest)),
            nn.Unflatten(1, grids.coarsest),
        ]
        for inputs, outputs in pairwise([*reversed(grids.widths), image_shape[0]]):
            activation = self.injection.activation("decoder", inputs, context_dim)
            layers += [*activation, nn.ConvTranspose2d(inputs, outputs, grids.kernel_size, grids.stride, padding=1)]
        return Layers(*layers, *grids.cropping())
