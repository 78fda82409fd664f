"""Images of a user's own: pictures, npz archives and IDX files, brought to the size that a model was trained on."""

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

BRIGHT = 0.5  # mean level of the border from which an image looks like dark on light
MOST_PIXELS = 80_000_000  # of all frames of a picture
ONE_PICTURE = ("MPO", "PSD")  # formats whose other frames are previews, depth maps or layers

Array = npt.NDArray[Any]


def read_images(paths: Sequence[str | Path], size: tuple[int, int], invert: bool = False) -> Images:
    """(batch, 1, *size) in [0, 1], all images of all files, light on dark; `invert` for dark on light.

    The content of a file says what it is. Pictures are turned upright and made grey, and each frame or page of one is
    an image. An IDX file, a .npy or an .npz, under `images` or as its only array, holds (batch, height, width), with
    one channel first or last or none, one image of `size`, or images of `size` as rows of pixels: integers in
    0..255, floats in [0, 1], or booleans. Images of another size are shrunk or enlarged as a whole and centred, with
    a warning. Raises UserError, naming the file, for everything else.
    """
    read = [_read(Path(str(path)), size, invert) for path in paths]
    if invert:
        read = [1 - images for images in read]
    for path, images in zip(paths, read, strict=True):
        if not invert and float(_border(images).mean()) > BRIGHT:
            log.warning("%s looks dark on light, and the model knows light on dark: try invert=true.", path)
        if tuple(images.shape[2:]) != size:
            had, new = ("x".join(map(str, shape)) for shape in (images.shape[2:], size))
            log.warning("%s has %s pixels: resized to %s.", path, had, new)
    return torch.cat([fitted(images, size) for images in read])


def fitted(images: Images, size: tuple[int, int]) -> Images:
    """As large as goes into `size` without distortion, in the middle, on black."""
    height, width = images.shape[2:]
    if (height, width) == size:
        return images
    scale = min(size[0] / height, size[1] / width)
    inner = [max(1, round(scale * side)) for side in (height, width)]
    resized = F.interpolate(images, inner, mode="bilinear", antialias=True).clamp(0, 1)
    top, left = ((outer - side) // 2 for outer, side in zip(size, inner, strict=True))
    return F.pad(resized, (left, size[1] - inner[1] - left, top, size[0] - inner[0] - top))


def _read(path: Path, size: tuple[int, int], invert: bool) -> Images:
    """(batch, 1, height, width) in [0, 1]."""
    if not path.is_file():
        raise UserError(f"Expected an image file (images), got {str(path)!r}. Name a file that is there.")
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
    except Exception as error:  # whatever a damaged file makes its parser raise
        raise UserError(
            f"Expected a PNG or another picture, an .npz, a .npy or an IDX file (images), got {str(path)!r}: "
            f"{str(error) or type(error).__name__}"
        ) from error


def _picture(path: Path, background: int) -> Array:
    """(frames, height, width), grey."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(path)
    with image:
        frames = 1 if image.format in ONE_PICTURE else getattr(image, "n_frames", 1)
        if frames * math.prod(image.size) > MOST_PIXELS:
            raise ValueError(f"it has {frames * math.prod(image.size):,} pixels; shrink it below {MOST_PIXELS:,}.")
        return np.stack([_grey(frame, background) for frame in _frames(image, frames)])


def _frames(image: Image.Image, num: int) -> Iterator[Image.Image]:
    """The first `num` frames, each upright."""
    for frame in range(num):
        image.seek(frame)
        yield ImageOps.exif_transpose(image)


def _grey(image: Image.Image, background: int) -> Array:
    """What is transparent shows the background, and 16 bits are scaled, which Pillow itself would cut off."""
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
    """(batch, height, width)."""
    match array.shape:
        case (pixels,) | (_, pixels) if pixels == math.prod(size):
            return array.reshape(-1, *size)
        case (height, width) | (height, width, 1) if (height, width) == size:
            return array.reshape(1, *size)
        case (_, height, width) if (height, width) == size or width > 4:  # 3 or 4 are channels of colour
            return array
        case (batch, 1, height, width) | (batch, height, width, 1):
            return array.reshape(batch, height, width)
    one = ", ".join(map(str, size))
    raise ValueError(f"it has the shape {array.shape}; write grey images as (batch, height, width) or one as ({one}).")


def _levels(array: Array) -> Array:
    """float32 in [0, 1]."""
    white = 255 if array.dtype.kind in "iu" else 1
    if array.dtype.kind not in "biuf" or not array.size:
        raise ValueError(f"it holds {array.dtype} {array.shape}; write integers in 0..255 or floats in [0, 1].")
    low, high = array.min(), array.max()
    if not 0 <= low <= high <= white:
        got = f"{array.dtype} from {low} to {high}"
        raise ValueError(f"it holds {got}; write integers in 0..255 or floats in [0, 1].")
    if white == 255 and high == 1:
        raise ValueError("it holds the integers 0 and 1 alone; write booleans, or 0 and 255.")
    return array.astype("f4") / np.float32(white)


def _border(images: Images) -> Tensor:
    inside = torch.zeros(images.shape[2:], dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    return images[..., ~inside]
