"""A convolutional encoder and decoder, about as large as the paper's fully connected ones."""

from collections.abc import Sequence

from torch import nn

from cvae_lightning.core.errors import check_integer, refuse
from cvae_lightning.networks.injection import PLACES, LabelInjection, Layers


class Conv:
    """Two convolutions of stride 2 and one linear layer, mirrored in the decoder.

    A concatenated context is appended to the image as constant channels, and to the latent as it is.
    """

    def __init__(
        self,
        channels: int = 32,
        hidden: int = 128,
        injection: str = "concatenate",
        inject_into: Sequence[str] = PLACES,
    ) -> None:
        self.channels = check_integer("network.channels", channels, 1, "The default is network.channels=32.")
        self.hidden = check_integer("network.hidden", hidden, 1, "The default is network.hidden=128.")
        self.injection = LabelInjection(injection, inject_into)

    def encoder(self, image_shape: Sequence[int], context_dim: int, output_dim: int) -> nn.Module:
        first = self.injection.at_input("encoder", image_shape[0], context_dim)
        narrow, wide = self.channels, 2 * self.channels
        return Layers(
            first,
            nn.Conv2d(first.output_width, narrow, 4, stride=2, padding=1),
            *self.injection.activation("encoder", narrow, context_dim),
            nn.Conv2d(narrow, wide, 4, stride=2, padding=1),
            *self.injection.activation("encoder", wide, context_dim),
            nn.Flatten(),
            nn.Linear(wide * num_positions(image_shape), self.hidden),
            *self.injection.activation("encoder", self.hidden, context_dim),
            nn.Linear(self.hidden, output_dim),
        )

    def decoder(self, latent_dim: int, context_dim: int, image_shape: Sequence[int]) -> nn.Module:
        first = self.injection.at_input("decoder", latent_dim, context_dim)
        narrow, wide = self.channels, 2 * self.channels
        return Layers(
            first,
            nn.Linear(first.output_width, self.hidden),
            *self.injection.activation("decoder", self.hidden, context_dim),
            nn.Linear(self.hidden, wide * num_positions(image_shape)),
            nn.Unflatten(1, (wide, image_shape[1] // 4, image_shape[2] // 4)),
            *self.injection.activation("decoder", wide, context_dim),
            nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1),
            *self.injection.activation("decoder", narrow, context_dim),
            nn.ConvTranspose2d(narrow, image_shape[0], 4, stride=2, padding=1),
        )


def num_positions(image_shape: Sequence[int]) -> int:
    """The number of positions on the coarsest grid, whose sides are a quarter of the image's.

    Raises UserError for sides that are not divisible by 4.
    """
    _, height, width = image_shape
    if height % 4 or width % 4:
        remedy = "Pad the images or use network=mlp."
        refuse("image sides divisible by 4", "data.image_shape", list(image_shape), remedy)
    return height * width // 16
