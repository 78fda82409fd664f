"""The report's fully connected encoder and decoder."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from cvae_lightning.errors import check_integer, refuse
from cvae_lightning.shapes import Context, Images, Latents


class MLP:
    """Hidden layers of the given widths with ReLU; the context is concatenated to the input of both networks."""

    def __init__(self, hidden: Sequence[int] = (400, 400)) -> None:
        if isinstance(hidden, int | str):
            refuse("a list of widths", "network.hidden", hidden, "The report uses [400,400].")
        self.hidden = [check_integer("network.hidden", width, 1, "The report uses [400,400].") for width in hidden]

    def encoder(self, image_shape: Sequence[int], context_dim: int, output_dim: int) -> nn.Module:
        return MLPEncoder([math.prod(image_shape) + context_dim, *self.hidden, output_dim])

    def decoder(self, latent_dim: int, context_dim: int, image_shape: Sequence[int]) -> nn.Module:
        return MLPDecoder([latent_dim + context_dim, *self.hidden, math.prod(image_shape)], image_shape)


class MLPEncoder(nn.Module):
    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = linear_layers(widths)

    def forward(self, x: Images, context: Context) -> Latents:
        return self.layers(torch.cat([x.flatten(1), context], 1))


class MLPDecoder(nn.Module):
    def __init__(self, widths: Sequence[int], image_shape: Sequence[int]) -> None:
        super().__init__()
        self.layers = linear_layers(widths)
        self.image_shape = tuple(image_shape)

    def forward(self, z: Latents, context: Context) -> Images:
        return self.layers(torch.cat([z, context], 1)).unflatten(1, self.image_shape)


def linear_layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers between the given widths, with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
