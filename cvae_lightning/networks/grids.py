"""The grids on which convolutional networks work: the image's own, and coarser ones with half the sides of the last."""

from collections.abc import Sequence

from torch import nn

from cvae_lightning.core.errors import check_integer, refuse

COARSEST = 8  # positions along the longer side of the coarsest grid, at most
WIDEST = 8  # feature maps of a grid over those of the finest one, at most: as in DCGAN, Radford et al. 2016


class Grids:
    """The grids of a network for images of one shape: how many there are, how wide, and how images fit onto them.

    The image's sides are halved `levels` times. The feature maps double with each halving, up to `WIDEST` times
    `channels`; while they double, each grid needs the same number of multiplications. An image that is not halved has
    one grid of feature maps, of its own size.

    Sides that 2**levels does not divide are padded before the encoder, with zeros, which are black, and the decoder's
    output is cropped. Both margins are the same, or the one at the bottom or on the right is larger by one pixel. So
    every position of the coarsest grid sees a part of the image.
    """

    def __init__(self, image_shape: Sequence[int], channels: int, levels: int | None) -> None:
        """If `levels` is None, the sides are halved until the longer one is at most `COARSEST`.

        Then the linear layers between the coarsest grid and the latents don't grow with the image. Raises UserError for
        more levels than there are until the grid has a single position.
        """
        _, height, width = image_shape
        longer = max(height, width)
        most = num_halvings(longer, 1)
        self.levels = num_halvings(longer, COARSEST) if levels is None else levels
        if self.levels > most:
            what = f"null or 0 to {most} halvings of an image of {height}x{width} pixels"
            refuse(what, "network.levels", levels, f"null chooses {num_halvings(longer, COARSEST)}.")
        self.stride = 2 if self.levels else 1  # from the image's grid to the finest grid of feature maps
        self.kernel_size = self.stride + 2  # with padding 1, a convolution changes the sides by `stride` exactly
        self.widths = [channels * min(2**level, WIDEST) for level in range(max(self.levels, 1))]  # from fine to coarse
        cell = 2**self.levels
        self.coarsest = self.widths[-1], -(-height // cell), -(-width // cell)
        vertical, horizontal = -height % cell, -width % cell
        self._margins = horizontal // 2, -(-horizontal // 2), vertical // 2, -(-vertical // 2)

    def padding(self) -> list[nn.Module]:
        """The layer that pads images to whole cells of the coarsest grid, if they need it."""
        return [nn.ZeroPad2d(self._margins)] if any(self._margins) else []

    def cropping(self) -> list[nn.Module]:
        """The layer that takes the same margins away, if there are any."""
        return [nn.ZeroPad2d(tuple(-margin for margin in self._margins))] if any(self._margins) else []


def check_levels(levels: int | None) -> int | None:
    """`levels`, if it is None or an integer of at least 0. Raises UserError otherwise."""
    if levels is None:
        return None
    return check_integer("network.levels", levels, 0, "null chooses it by the size of the images.")


def num_halvings(side: int, longest: int) -> int:
    """How often `side` must be halved, rounding up, until it is at most `longest`."""
    return (-(-side // longest) - 1).bit_length()
