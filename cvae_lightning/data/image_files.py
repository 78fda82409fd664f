"""The user's own images: pictures, npz archives and IDX files, resized to what a model was trained on."""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from cvae_lightning.core.errors import UserError
from cvae_lightning.core.shapes import Images
from cvae_lightning.data.idx import is_idx, read_array

log = logging.getLogger(__name__)

BRIGHT = 0.5  # mean level of the border above which an image is probably dark on light
MOST_PIXELS = 80_000_000  # in all frames of a picture together
ONE_PICTURE = ("MPO", "PSD")  # formats whose other frames are previews, depth maps or layers

Array = npt.NDArray[Any]


def read_images(paths: Sequence[str | Path], size: tuple[int, int], invert: bool = False) -> Images:
    """All images of all files, (batch, 1, *size) in [0, 1], light on dark.

    The content of a file decides what it is, not its name. Pictures are turned upright and converted to grey, and each
    frame or page is one image. An IDX or .npy file, or an .npz file (its array `images`, or its only array), holds
    (batch, height, width) with or without a single channel first or last, one image of `size`, or images of `size` as
    rows of pixels; its values are integers in 0..255, floats in [0, 1], or booleans. Images of another size are scaled
    without distortion and centred, with a warning. `invert` is for files that are dark on light. Raises UserError,
    naming the file, for any other content.
    """
    read = [_read(Path(str(path)), size, invert) for path in paths]
    if invert:
        read = [1 - images for images in read]
    for path, images in zip(paths, read, strict=True):
        if not invert and float(_border(images).mean()) > BRIGHT:
            log.warning("%s looks dark on light, but the model was trained on light on dark: try invert=true.", path)
        if tuple(images.shape[2:]) != size:
            had, new = ("x".join(map(str, shape)) for shape in (images.shape[2:], size))
            log.warning("%s has %s pixels: resized to %s.", path, had, new)
    return torch.cat([fitted(images, size) for images in read])


def fitted(images: Images, size: tuple[int, int]) -> Images:
    """`images` scaled without distortion to the largest size that fits into `size`, and centred on black."""
    height, width = images.shape[2:]
    if (height, width) == size:
        return images
    scale = min(size[0] / height, size[1] / width)
    inner = [max(1, round(scale * side)) for side in (height, width)]
    resized = F.interpolate(images, inner, mode="bilinear", antialias=True).clamp(0, 1)
    top, left = ((outer - side) // 2 for outer, side in zip(size, inner, strict=True))
    return F.pad(resized, (left, size[1] - inner[1] - left, top, size[0] - inner[0] - top))


def _read(path: Path, size: tuple[int, int], invert: bool) -> Images:
    """The images in a file, (batch, 1, height, width) in [0, 1]."""
    if not path.is_file():
        raise UserError(f"Expected an image file (images), got {str(path)!r}. Name a file that exists.")
    with path.open("rb") as file:
        start = file.read(6)
    try:
        if is_idx(start):
            array = read_array(path, 3)
        elif start.startswith((b"PK", b"\x93NUMPY")):
            array = _in_batch(_numpy_array(path), size)
        else:
            array = _picture(path, background=255 if invert else 0)
        return torch.from_numpy(_levels(array))[:, None]
    except UserError:
        raise
    except Exception as error:  # a parser may raise anything for a damaged file
        raise UserError(
            f"Expected a PNG or another picture, an .npz, a .npy or an IDX file (images), got {str(path)!r}: "
            f"{str(error) or type(error).__name__}"
        ) from error


def _picture(path: Path, background: int) -> Array:
    """The frames of a picture in grey, (frames, height, width)."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(path)
    with image:
        frames = 1 if image.format in ONE_PICTURE else getattr(image, "n_frames", 1)
        if frames * math.prod(image.size) > MOST_PIXELS:
            raise ValueError(f"it has {frames * math.prod(image.size):,} pixels; shrink it below {MOST_PIXELS:,}.")
        return np.stack([_grey(frame, background) for frame in _frames(image, frames)])


def _frames(image: Image.Image, num: int) -> Iterator[Image.Image]:
    """The first `num` frames of a picture, each upright."""
    for frame in range(num):
        image.seek(frame)
        yield ImageOps.exif_transpose(image)


def _grey(image: Image.Image, background: int) -> Array:
    """A frame in grey. Transparent parts show the background; 16-bit levels are scaled, which Pillow would clip."""
    if image.mode == "F":
        return np.asarray(image)
    if image.mode.startswith("I"):
        return np.asarray(image).astype("f8") / (2**16 - 1)
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, (background,) * 3 + (255,))
        image = Image.alpha_composite(canvas, image.convert("RGBA"))
    return np.asarray(image.convert("L"))


def _numpy_array(path: Path) -> Array:
    with path.open("rb") as file:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        names = content.files
        if "images" not in names and len(names) != 1:
            raise ValueError(f"it holds the arrays {', '.join(names) or 'none'}; name one of them `images`.")
        return content["images" if "images" in names else names[0]]


def _in_batch(array: Array, size: tuple[int, int]) -> Array:
    """An array as images (batch, height, width). Raises ValueError for a shape that could mean something else."""
    match array.shape:
        case (pixels,) | (_, pixels) if pixels == math.prod(size):
            return array.reshape(-1, *size)
        case (height, width) | (height, width, 1) if (height, width) == size:
            return array.reshape(1, *size)
        case (_, height, width) if (height, width) == size or width > 4:  # a last axis of 3 or 4 is colour
            return array
        case (batch, 1, height, width) | (batch, height, width, 1):
            return array.reshape(batch, height, width)
    one = ", ".join(map(str, size))
    raise ValueError(f"it has the shape {array.shape}; write grey images as (batch, height, width) or one as ({one}).")


def _levels(array: Array) -> Array:
    """An array as float32 in [0, 1]. Raises ValueError for another type or range of values."""
    white = 255 if array.dtype.kind in "iu" else 1
    if array.dtype.kind not in "biuf" or not array.size:
        raise ValueError(f"it holds {array.dtype} {array.shape}; write integers in 0..255 or floats in [0, 1].")
    low, high = array.min(), array.max()
    if not 0 <= low <= high <= white:
        got = f"{array.dtype} from {low} to {high}"
        raise ValueError(f"it holds {got}; write integers in 0..255 or floats in [0, 1].")
    if white == 255 and high == 1:
        raise ValueError("it holds only the integers 0 and 1; write booleans, or 0 and 255.")
    return array.astype("f4") / np.float32(white)


def _border(images: Images) -> Tensor:
    """The outermost pixels of all images."""
    inside = torch.zeros(images.shape[2:], dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    return images[..., ~inside]
