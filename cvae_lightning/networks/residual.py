"""A residual convolutional encoder and decoder."""

from collections.abc import Sequence

from torch import Tensor, nn

from cvae_lightning.core.capacity import check_memory
from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.shapes import Context
from cvae_lightning.networks.conv import num_positions
from cvae_lightning.networks.injection import PLACES, Injection, LabelInjection, Layers

DARK = -2.0  # initial output: if it were 0, a bias that all pixels share would overshoot to black and stay there


class Residual:
    """Residual blocks on grids with a half and a quarter of the image's sides, mirrored in the decoder.

    The blocks are those of He et al. 2016 (Identity Mappings) without normalisation; each starts as the identity. The
    decoder upsamples by sub-pixel convolutions (Shi et al. 2016). A concatenated context is appended to the image as
    constant channels, and to the latent as it is.
    """

    def __init__(
        self,
        channels: int = 32,
        blocks: int = 1,
        injection: str = "concatenate",
        inject_into: Sequence[str] = PLACES,
    ) -> None:
        """`channels` on the fine grid, twice as many on the coarse one; `blocks` on each grid of each network."""
        self.channels = check_integer("network.channels", channels, 1, "The default is network.channels=32.")
        self.blocks = check_integer("network.blocks", blocks, 0, "The default is network.blocks=1.")
        check_memory(100_000 * self.blocks, f"network.blocks={blocks}", "The default is network.blocks=1.")
        self.injection = LabelInjection(injection, inject_into)

    def encoder(self, image_shape: Sequence[int], context_dim: int, output_dim: int) -> nn.Module:
        first = self.injection.at_input("encoder", image_shape[0], context_dim)
        narrow, wide = self.channels, 2 * self.channels
        return Layers(
            first,
            nn.Conv2d(first.output_width, narrow, 4, stride=2, padding=1),
            *self._grid("encoder", narrow, context_dim),
            nn.Conv2d(narrow, wide, 2, stride=2),
            *self._grid("encoder", wide, context_dim),
            nn.Flatten(),
            nn.Linear(wide * num_positions(image_shape), output_dim),
        )

    def decoder(self, latent_dim: int, context_dim: int, image_shape: Sequence[int]) -> nn.Module:
        first = self.injection.at_input("decoder", latent_dim, context_dim)
        narrow, wide = self.channels, 2 * self.channels
        last = nn.Conv2d(narrow, 4 * image_shape[0], 3, padding=1)
        nn.init.constant_(last.bias, DARK)  # type: ignore[arg-type]  # it has one
        return Layers(
            first,
            nn.Linear(first.output_width, wide * num_positions(image_shape)),
            nn.Unflatten(1, (wide, image_shape[1] // 4, image_shape[2] // 4)),
            *self._grid("decoder", wide, context_dim),
            nn.Conv2d(wide, 4 * narrow, 1),
            nn.PixelShuffle(2),
            *self._grid("decoder", narrow, context_dim),
            last,
            nn.PixelShuffle(2),
        )

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
