"""Images in arrays, as bytes of one shape: their levels, the layout of the array, colours and size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from cvae_lightning.core.capacity import check_memory
from cvae_lightning.core.errors import UserError, check_integer, refuse
from cvae_lightning.core.shapes import ByteImages, Images

Array = npt.NDArray[Any]
FITS = ("pad", "crop")
CHUNK = 2**24  # levels that are converted at a time, so that the floats in between take little memory
LUMA = (19595, 38470, 7471)  # 65536 times the weights of red, green and blue in ITU-R 601, as Pillow rounds them


def check_levels(array: Array) -> int:
    """The level of white in `array`: 255 for integers, 1 for floats and booleans.

    Raises ValueError for any other type or range of values, and for integers that are only 0 and 1.
    """
    white = 255 if array.dtype.kind in "iu" else 1
    if array.dtype.kind not in "biuf" or not array.size:
        raise ValueError(f"it holds {array.dtype} {array.shape}; write integers in 0..255 or floats in [0, 1].")
    low, high = array.min(), array.max()
    if not 0 <= low <= high <= white:
        got = f"{array.dtype} from {low} to {high}"
        raise ValueError(f"it holds {got}; write integers in 0..255 or floats in [0, 1].")
    if white == 255 and high == 1:
        raise ValueError("it holds only the integers 0 and 1; write booleans, or 0 and 255.")
    return white


def stored_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Channels, height and width of the images in an array of `shape`. Raises ValueError for any other layout."""
    match tuple(shape):
        case (_, height, width) if height > 0 and width > 0:
            return 1, height, width
        case (_, height, width, 1 | 3 as channels) if height > 0 and width > 0:
            return channels, height, width
        case (_, 1 | 3 as channels, height, width) if height > 0 and width > 0:
            return channels, height, width
    raise ValueError(
        f"it has the shape {tuple(shape)}; write grey images as (number, height, width), "
        "colour as (number, height, width, 3)."
    )


@dataclass(frozen=True)
class Look:
    """The form into which the images of a data set are brought.

    Images of other proportions than `size` are shrunk or enlarged to lie within it, on black (pad), or to cover it,
    with the middle cut out (crop). Resizing is bilinear and antialiased.
    """

    size: tuple[int, int] | None = None
    """Height and width; None for those of the images."""
    channels: int | None = None
    """1: grey, ITU-R 601 luma as in Pillow's mode L; 3: colour; None: as the images are."""
    fit: str = "pad"

    @classmethod
    def from_config(cls, size: Any, channels: Any, fit: Any, image_shape: Any = None) -> "Look":
        """The look that data.size, data.channels, data.fit and data.image_shape describe.

        Raises UserError for other values, and for an `image_shape` that contradicts the others.
        """
        if fit not in FITS:
            refuse(" or ".join(FITS), "data.fit", fit, "pad keeps the whole image; crop fills the whole size.")
        return cls(size_of(size, image_shape), channels_of(channels, image_shape), fit)

    def shape_of(self, stored: tuple[int, int, int]) -> tuple[int, int, int]:
        """Channels, height and width of an image that is stored with these."""
        return (self.channels or stored[0], *(self.size or stored[1:]))

    def bytes_of(self, array: Array) -> ByteImages:
        """The images of an array of bytes, booleans or floats, in one of the layouts of `stored_shape`.

        Raises ValueError for other layouts and levels, and UserError if there is not enough memory.
        """
        shape = self.shape_of(stored_shape(array.shape))
        white = check_levels(array) if len(array) else 255
        planes = _channels_first(array)
        if array.dtype == np.uint8 and planes.shape[1:] == shape:
            return torch.from_numpy(np.ascontiguousarray(planes) if array.flags.writeable else planes.copy())
        sizes = "x".join(map(str, shape[1:]))
        check_memory(len(array) * int(np.prod(shape)), f"{len(array):,} images of {sizes}", "Lower data.size.")
        images = torch.empty(len(array), *shape, dtype=torch.uint8)
        step = max(1, CHUNK // max(int(np.prod(planes.shape[1:])), int(np.prod(shape))))
        for start in range(0, len(array), step):
            images[start : start + step] = self._converted(planes[start : start + step], white)
        return images

    def _converted(self, planes: Array, white: int) -> ByteImages:
        levels = planes if planes.dtype == np.uint8 else np.rint(planes.astype("f4") * (255 / white)).astype("u1")
        images = torch.from_numpy(np.ascontiguousarray(levels))
        if self.channels == 1 and images.shape[1] == 3:
            images = luma(images)
        if self.size and tuple(images.shape[2:]) != self.size:
            images = fitted(images.float(), self.size, self.fit).round_().clamp_(0, 255).byte()
        return images.expand(-1, self.channels or -1, -1, -1)


def luma(images: ByteImages) -> ByteImages:
    """Colour images (N, 3, H, W) in grey, (N, 1, H, W), each level as Pillow converts it to its mode L."""
    red, green, blue = (weight * images[:, i : i + 1].int() for i, weight in enumerate(LUMA))
    return ((red + green + blue + 0x8000) >> 16).byte()


def fitted(images: Images, size: tuple[int, int], fit: str = "pad") -> Images:
    """`images`, in any unit, resized to `size` without distortion: padded with 0, or cut to their middle (crop)."""
    height, width = images.shape[2:]
    scales = size[0] / height, size[1] / width
    if fit == "crop":
        inner = [max(1, round(side / max(scales))) for side in size]
        top, left = ((side - part) // 2 for side, part in zip((height, width), inner, strict=True))
        middle = images[:, :, top : top + inner[0], left : left + inner[1]]
        return F.interpolate(middle, size, mode="bilinear", antialias=True)
    inner = [max(1, round(min(scales) * side)) for side in (height, width)]
    resized = F.interpolate(images, inner, mode="bilinear", antialias=True)
    top, left = ((outer - side) // 2 for outer, side in zip(size, inner, strict=True))
    return F.pad(resized, (left, size[1] - inner[1] - left, top, size[0] - inner[0] - top))


def refuse_array(error: Exception, where: str, key: str) -> NoReturn:
    """Raise a UserError for what the functions above have refused in the array that `where` names."""
    if isinstance(error, UserError):
        raise error
    raise UserError(f"Expected images ({key}) in {where}, but {error}") from error


def size_of(size: Any, image_shape: Sequence[int] | None) -> tuple[int, int] | None:
    """Height and width that data.size or data.image_shape states; None if both leave it open."""
    sides: list[Any] = list(size) if isinstance(size, Sequence) and not isinstance(size, str) else [size, size]
    if size is not None:
        if len(sides) != 2:
            refuse("null, a side or [height, width]", "data.size", size, "For example data.size=64.")
        sides = [check_integer("data.size", side, 1, "For example data.size=64.") for side in sides]
    if image_shape is None:
        return None if size is None else (sides[0], sides[1])
    if size is not None and sides != list(image_shape[1:]):
        refuse(f"the size of data.image_shape={list(image_shape)}", "data.size", size, "Leave one of them out.")
    return image_shape[1], image_shape[2]


def channels_of(channels: Any, image_shape: Sequence[int] | None) -> int | None:
    """The number of channels that data.channels or data.image_shape states; None if both leave it open."""
    stated = channels if image_shape is None else image_shape[0]
    if stated not in (None, 1, 3) or isinstance(stated, bool):
        refuse("null, 1 or 3", "data.channels", stated, "1 is grey, 3 is colour.")
    if channels not in (None, stated):
        theirs = f"the channels of data.image_shape={list(image_shape or ())}"
        refuse(theirs, "data.channels", channels, "Leave it out.")
    return stated


def _channels_first(array: Array) -> Array:
    """A view of the array as (N, C, H, W)."""
    if array.ndim == 3:
        return array[:, None]
    return array.transpose(0, 3, 1, 2) if array.shape[3] in (1, 3) else array
