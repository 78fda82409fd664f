"""A convolutional encoder and decoder of about the size of the report's fully connected ones."""

from collections.abc import Sequence

import torch
from torch import nn

from cvae_lightning.errors import check_integer, refuse
from cvae_lightning.shapes import Context, Images, Latents


class Conv:
    """Two convolutions of stride 2 and one linear layer, mirrored in the decoder.

    The context enters as constant channels beside the image, and beside the latent.
    """

    def __init__(self, channels: int = 32, hidden: int = 128) -> None:
        self.channels = check_integer("network.channels", channels, 1, "The default is network.channels=32.")
        self.hidden = check_integer("network.hidden", hidden, 1, "The default is network.hidden=128.")

    def encoder(self, image_shape: Sequence[int], context_dim: int, output_dim: int) -> nn.Module:
        return ConvEncoder(image_shape, context_dim, output_dim, self.channels, self.hidden)

    def decoder(self, latent_dim: int, context_dim: int, image_shape: Sequence[int]) -> nn.Module:
        return ConvDecoder(latent_dim + context_dim, image_shape, self.channels, self.hidden)


class ConvEncoder(nn.Module):
    def __init__(
        self, image_shape: Sequence[int], context_dim: int, output_dim: int, channels: int, hidden: int
    ) -> None:
        super().__init__()
        grid = _coarsest_grid(image_shape, channels)
        self.layers = nn.Sequential(
            nn.Conv2d(image_shape[0] + context_dim, channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(grid[0] * grid[1] * grid[2], hidden),
            nn.ReLU(),
            nn.Linear(hidden, output_dim),
        )

    def forward(self, x: Images, context: Context) -> Latents:
        planes = context[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return self.layers(torch.cat([x, planes], 1))


class ConvDecoder(nn.Module):
    def __init__(self, input_dim: int, image_shape: Sequence[int], channels: int, hidden: int) -> None:
        super().__init__()
        grid = _coarsest_grid(image_shape, channels)
        self.layers = nn.Sequential(
            nn.Linear(input_dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, grid[0] * grid[1] * grid[2]),
            nn.ReLU(),
            nn.Unflatten(1, grid),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, image_shape[0], 4, stride=2, padding=1),
        )

    def forward(self, z: Latents, context: Context) -> Images:
        return self.layers(torch.cat([z, context], 1))


def _coarsest_grid(image_shape: Sequence[int], channels: int) -> tuple[int, int, int]:
    _, height, width = image_shape
    if height % 4 or width % 4:
        refuse(
            "image sides divisible by 4", "data.image_shape", list(image_shape), "Pad the images or use network=mlp."
        )
    return 2 * channels, height // 4, width // 4
