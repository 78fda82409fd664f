"""Images of a user's own: pictures, npz archives and IDX files, brought to the size that a model was trained on."""

import logging
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from cvae_lightning.data.idx import read_array
from cvae_lightning.errors import UserError
from cvae_lightning.shapes import Images

log = logging.getLogger(__name__)

BRIGHT = 0.5  # mean level of the border from which an image looks like dark on light


def read_images(paths: Sequence[str | Path], size: tuple[int, int], invert: bool = False) -> Images:
    """(batch, 1, *size) in [0, 1], all images of all files, light on dark; `invert` for dark on light.

    An archive holds (height, width) or (batch, height, width), bytes or numbers in [0, 1], under `images` or as its
    only array. Images of another size are shrunk or enlarged as a whole and centred, with a warning. Raises UserError,
    naming the file, for what is none of these.
    """
    read = [_read(Path(str(path)), invert) for path in paths]
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


def _read(path: Path, invert: bool) -> Images:
    if not path.is_file():
        raise UserError(f"Expected an image file (images), got {str(path)!r}. Name a file that is there.")
    if path.suffix == ".npz":
        return _grey(path, _from_archive(path))
    if "idx" in path.name or path.name.endswith("ubyte"):
        return _grey(path, read_array(path, 3))
    try:
        with Image.open(path) as image:
            return _grey(path, _levels(image, background=255 if invert else 0))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise UserError(
            f"Expected a PNG, another picture, an .npz or an IDX file (images), got {str(path)!r}, "
            "which is none. Name another file."
        ) from error


def _levels(image: Image.Image, background: int) -> np.ndarray:
    """Bytes; what is transparent shows the background, and 16 bits are scaled, which Pillow itself would cut off."""
    if image.mode.startswith(("I", "F")):
        return (np.asarray(image, "f4") / 257).round().clip(0, 255).astype("u1")
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, (background,) * 3 + (255,))
        image = Image.alpha_composite(canvas, image.convert("RGBA"))
    return np.asarray(image.convert("L"))


def _from_archive(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            return archive["images" if "images" in names or len(names) != 1 else names[0]]
    except (KeyError, ValueError, OSError, BadZipFile) as error:
        raise UserError(
            f"Expected an archive with an array `images` (images), got {str(path)!r} ({error}). Name another file."
        ) from error


def _grey(path: Path, array: np.ndarray) -> Images:
    """(batch, 1, height, width)."""
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    values = torch.from_numpy(np.array(array, "f4")) / (255 if array.dtype == np.uint8 else 1)
    if values.ndim not in (2, 3) or not values.numel() or not 0 <= float(values.min()) <= float(values.max()) <= 1:
        raise UserError(
            f"Expected images (batch, height, width) of bytes or of numbers in [0, 1] (images), got {array.dtype} "
            f"{tuple(array.shape)} in {str(path)!r}. Convert them."
        )
    return values.reshape(-1, 1, *values.shape[-2:])


def _border(images: Images) -> Tensor:
    inside = torch.zeros(images.shape[2:], dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    return images[..., ~inside]
