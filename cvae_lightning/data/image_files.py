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
from PIL import Image, ImageOps
from torch import Tensor

from cvae_lightning.core.errors import UserError, quoted
from cvae_lightning.core.shapes import Images
from cvae_lightning.data import pixels
from cvae_lightning.data.decoding import check_pixels, deep_levels, on_background
from cvae_lightning.data.idx import is_idx, read_array

log = logging.getLogger(__name__)

BRIGHT = 0.5  # mean level of the border above which an image is probably dark on light
ONE_PICTURE = ("MPO", "PSD")  # formats whose other frames are previews, depth maps or layers

Array = npt.NDArray[Any]


def read_images(
    paths: Sequence[str | Path], shape: Sequence[int], invert: bool = False, light_on_dark: bool = True
) -> Images:
    """All images of all files, (batch, *shape) in [0, 1]; `shape` is (channels, height, width), grey or colour.

    The content of a file decides what it is, not its name. Pictures are turned upright and converted to grey, or to RGB
    for three channels, and each frame or page is one image. An IDX or .npy file, or an .npz file (its array `images`,
    or its only array), holds (batch, height, width), with or without channels first or last, one image of `shape`, or
    grey images as rows of pixels; its values are integers in 0..255, floats in [0, 1], or booleans. Grey images become
    colour images with equal channels where these are asked for. Images of another size are scaled without distortion
    and centred, with a warning. `invert` swaps light and dark; grey files that are dark on light are pointed out where
    images are expected `light_on_dark`. Raises UserError, naming the file, for any other content.
    """
    channels, height, width = shape
    size = (height, width)
    read = [_read(Path(str(path)), (channels, height, width), invert) for path in paths]
    if invert:
        read = [1 - images for images in read]
    for path, images in zip(paths, read, strict=True):
        if channels == 1 and light_on_dark and not invert and float(border(images).mean()) > BRIGHT:
            log.warning("%s looks dark on light, but the model was trained on light on dark: try invert=true.", path)
        if tuple(images.shape[2:]) != size:
            had, new = ("x".join(map(str, shape)) for shape in (images.shape[2:], size))
            log.warning("%s has %s pixels: resized to %s.", path, had, new)
    return torch.cat([fitted(images, size) for images in read])


def fitted(images: Images, size: tuple[int, int]) -> Images:
    """`images` scaled without distortion to the largest size that fits into `size`, and centred on black."""
    return images if tuple(images.shape[2:]) == size else pixels.fitted(images, size).clamp(0, 1)


def _read(path: Path, shape: tuple[int, int, int], invert: bool) -> Images:
    """The images in a file, (batch, channels, height, width) in [0, 1]."""
    if not path.is_file():
        raise UserError(f"Expected an image file (images), got {quoted(path)}. Name a file that exists.")
    with path.open("rb") as file:
        start = file.read(6)
    try:
        if is_idx(start):
            images = _levels(read_array(path, 3))[:, None]
        elif start.startswith((b"PK", b"\x93NUMPY")):
            images = _in_batch(_levels(_numpy_array(path)), shape)
        else:
            images = _levels(_picture(path, shape[0], background=255 if invert else 0))
        return torch.from_numpy(images).expand(-1, shape[0], -1, -1)
    except UserError:
        raise
    except Exception as error:  # a parser may raise anything for a damaged file
        raise UserError(
            f"Expected a PNG or another picture, an .npz, a .npy or an IDX file (images), got {quoted(path)}: "
            f"{str(error) or type(error).__name__}"
        ) from error


def _picture(path: Path, channels: int, background: int) -> Array:
    """The frames of a picture in grey or RGB, (frames, 1 or 3, height, width)."""
    if channels not in (1, 3):
        raise ValueError(f"it is a picture, and the model has {channels} channels; write an array.")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(path)
    with image:
        frames = 1 if image.format in ONE_PICTURE else getattr(image, "n_frames", 1)
        check_pixels(frames * math.prod(image.size))
        return np.stack([_pixels(frame, channels, background) for frame in _frames(image, frames)])


def _frames(image: Image.Image, num: int) -> Iterator[Image.Image]:
    """The first `num` frames of a picture, each upright."""
    for frame in range(num):
        image.seek(frame)
        yield ImageOps.exif_transpose(image)


def _pixels(image: Image.Image, channels: int, background: int) -> Array:
    """A frame in grey or RGB, channels first.

    Transparent parts show the background; 16-bit levels are scaled, which Pillow would clip.
    """
    levels = deep_levels(image)
    if levels is not None:
        return levels[None]
    image = on_background(image, (background,) * 3)
    return (
        np.asarray(image.convert("L"))[None] if channels == 1 else np.moveaxis(np.asarray(image.convert("RGB")), 2, 0)
    )


def _numpy_array(path: Path) -> Array:
    with path.open("rb") as file:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        names = content.files
        if "images" not in names and len(names) != 1:
            raise ValueError(f"it holds the arrays {', '.join(names) or 'none'}; name one of them `images`.")
        return content["images" if "images" in names else names[0]]


def _in_batch(array: Array, shape: tuple[int, int, int]) -> Array:
    """An array as images (batch, channels, height, width), where grey images have one channel.

    Raises ValueError for a shape that could mean something else.
    """
    images = _grey_batch(array, shape[1:]) if shape[0] == 1 else _colour_batch(array, shape)
    if images is None:
        one = ", ".join(map(str, shape[1:] if shape[0] == 1 else shape))
        many = (
            "grey images as (batch, height, width)" if shape[0] == 1 else "images as (batch, channels, height, width)"
        )
        raise ValueError(f"it has the shape {array.shape}; write {many} or one as ({one}).")
    return images


def _grey_batch(array: Array, size: tuple[int, int]) -> Array | None:
    """Grey images (batch, 1, height, width); None for any other shape."""
    match array.shape:
        case (pixels,) | (_, pixels) if pixels == math.prod(size):
            return array.reshape(-1, 1, *size)
        case (height, width) | (height, width, 1) if (height, width) == size:
            return array.reshape(1, 1, *size)
        case (_, height, width) if (height, width) == size or width > 4:  # a last axis of 3 or 4 is colour
            return array[:, None]
        case (batch, 1, height, width) | (batch, height, width, 1):
            return array.reshape(batch, 1, height, width)
    return None


def _colour_batch(array: Array, shape: tuple[int, int, int]) -> Array | None:
    """Images (batch, channels, height, width), or grey ones with one channel; None for any other shape."""
    channels, height, width = shape
    last = (height, width, channels)
    if array.ndim == 3 and array.shape in (shape, last):
        array = array[None]
    first_fits, last_fits = (
        array.ndim == 4 and array.shape[1] == channels,
        array.ndim == 4 and array.shape[3] == channels,
    )
    if first_fits and last_fits:  # only the size decides which axis is which
        first_fits, last_fits = array.shape[1:] == shape, array.shape[1:] == last and shape != last
    if first_fits:
        return array
    return np.moveaxis(array, 3, 1) if last_fits else _grey_batch(array, shape[1:])


def _levels(array: Array) -> Array:
    """An array as float32 in [0, 1]. Raises ValueError for another type or range of values."""
    white = pixels.check_levels(array)
    return array.astype("f4") / np.float32(white)


def border(images: Images) -> Tensor:
    """The outermost pixels of all images, (batch, channels, pixels)."""
    inside = torch.zeros(images.shape[2:], dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    return images[..., ~inside]
