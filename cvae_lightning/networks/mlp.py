"""The paper's fully connected encoder and decoder."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from cvae_lightning.core.errors import check_integer, refuse
from cvae_lightning.core.shapes import Context, Images, Latents
from cvae_lightning.networks.injection import PLACES, LabelInjection, Layers


class MLP:
    """Hidden layers of the given widths with ReLU; the paper concatenates the context to both networks' inputs.

    >>> MLP(hidden=[400, 400]).decoder(latent_dim=20, context_dim=10, image_shape=(1, 28, 28))
    """

    def __init__(
        self,
        hidden: Sequence[int] = (400, 400),
        injection: str = "concatenate",
        inject_into: Sequence[str] = PLACES,
    ) -> None:
        if not isinstance(hidden, list | tuple):
            refuse("a list of widths", "network.hidden", hidden, "The paper uses [400,400].")
        self.hidden = [check_integer("network.hidden", width, 1, "The paper uses [400,400].") for width in hidden]
        self.injection = LabelInjection(injection, inject_into)

    def encoder(self, image_shape: Sequence[int], context_dim: int, output_dim: int) -> nn.Module:
        return MLPEncoder(self.layers("encoder", math.prod(image_shape), context_dim, output_dim))

    def decoder(self, latent_dim: int, context_dim: int, image_shape: Sequence[int]) -> nn.Module:
        return MLPDecoder(self.layers("decoder", latent_dim, context_dim, math.prod(image_shape)), image_shape)

    def layers(self, place: str, input_dim: int, context_dim: int, output_dim: int) -> Layers:
        """The layers of `place`, the encoder or the decoder, from `input_dim` to `output_dim` numbers."""
        first = self.injection.at_input(place, input_dim, context_dim)
        layers: list[nn.Module] = [first]
        widths = [first.output_width, *self.hidden]
        for inputs, outputs in pairwise(widths):
            activation = self.injection.activation(place, outputs, context_dim)
            layers += [nn.Linear(inputs, outputs), *activation]
        return Layers(*layers, nn.Linear(widths[-1], output_dim))


class MLPEncoder(nn.Module):
    """(x, context) -> the parameters of q(z | x, y)."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Images, context: Context) -> Latents:
        return self.layers(x.flatten(1), context)


class MLPDecoder(nn.Module):
    """(z, context) -> one output per pixel."""

    def __init__(self, layers: Layers, image_shape: Sequence[int]) -> None:
        super().__init__()
        self.layers = layers
        self.image_shape = tuple(image_shape)

    def forward(self, z: Latents, context: Context) -> Images:
        return self.layers(z, context).unflatten(1, self.image_shape)
