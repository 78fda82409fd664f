"""Image files decoded to bytes of one shape: upright, on a background, in grey or colour, resized without aliasing.

Worker processes import this module, so it does not import torch.
"""

import hashlib
import io
import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

MOST_PIXELS = 80_000_000  # of a picture, in all of its frames that are read
ORIENTATION = 0x0112  # the EXIF tag that says how a picture is to be turned
SWAPPED = (5, 6, 7, 8)  # its values for a picture that lies on its side
WITH_EXIF_FIRST = ("JPEG", "MPO", "WEBP", "TIFF")  # formats whose EXIF data is read without decoding the picture
GREY_MODES = ("1", "L", "LA", "La", "F")  # and those that begin with I

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Decoding:
    """The form into which every image is brought."""

    shape: tuple[int, int, int]
    """Channels (1: grey, 3: RGB), height and width."""
    fit: str = "pad"
    """pad: the whole image, centred on the background; crop: the largest centred part of the right proportions."""
    background: tuple[int, int, int] = (0, 0, 0)
    """The colour behind transparent parts and around padded images."""

    @property
    def mode(self) -> str:
        return "L" if self.shape[0] == 1 else "RGB"

    @property
    def num_bytes(self) -> int:
        """The size of one decoded image."""
        return math.prod(self.shape)

    def decode(self, content: bytes) -> Pixels:
        """The first frame of the picture that a file holds, (C, H, W). Raises some exception for anything else."""
        with Image.open(io.BytesIO(content)) as image:
            check_pixels(math.prod(image.size))
            scale = self._scale(image.size, _is_swapped(image))
            # A JPEG is decoded at the smallest of its own scales that has twice the pixels, in width and in height.
            if scale < 0.5 and image.format in ("JPEG", "MPO"):
                image.draft(None, tuple(math.ceil(2 * scale * side) for side in image.size))  # type: ignore[arg-type]
            ImageOps.exif_transpose(image, in_place=True)
            flat = _flat(image, self.mode, self.background)
        resized = _in_mode(self._resized(flat), self.mode)
        return np.atleast_3d(np.asarray(resized)).transpose(2, 0, 1)

    def _scale(self, size: tuple[int, int], swapped: bool) -> float:
        width, height = reversed(size) if swapped else size
        either = (self.shape[1] / height, self.shape[2] / width)
        return min(either) if self.fit == "pad" else max(either)

    def _resized(self, image: Image.Image) -> Image.Image:
        _, height, width = self.shape
        if image.size == (width, height):
            return image
        scale = self._scale(image.size, swapped=False)
        if self.fit == "crop":
            across, down = (side - outer / scale for side, outer in zip(image.size, (width, height), strict=True))
            box = (across / 2, down / 2, image.width - across / 2, image.height - down / 2)
            return image.resize((width, height), Image.Resampling.BILINEAR, box=box)
        inner = [max(1, round(scale * side)) for side in image.size]
        resized = _in_mode(image.resize((inner[0], inner[1]), Image.Resampling.BILINEAR), self.mode)
        canvas = Image.new("RGB", (width, height), self.background).convert(self.mode)
        canvas.paste(resized, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return canvas


class Place(NamedTuple):
    """A file that is to be decoded, and the place of its image: places of one split follow each other."""

    split: str
    position: int
    name: str


class Outcome(NamedTuple):
    """What came of decoding one file."""

    content: str
    """The SHA-256 of the file; empty if it could not be read."""
    pixels: bytes
    """The SHA-256 of the decoded image; empty if there is none."""
    problem: str | None
    """Why the file is not an image; None if it is one."""


class Header(NamedTuple):
    """What a file says of its image without decoding it."""

    size: tuple[int, int]
    """Width and height of the upright image."""
    is_grey: bool
    problem: str | None = None


def decode_into(directory: Path, decoding: Decoding, folder: Path, places: Sequence[Place]) -> list[Outcome]:
    """Decode files of `folder`, and write each into its place in `directory`/<split>.bytes.part.

    A file that is not an image leaves zeros.
    """
    images = np.zeros((len(places), *decoding.shape), np.uint8)
    with quiet_pillow():
        outcomes = [
            _decode_one(f"{folder}/{place.name}", image, decoding) for place, image in zip(places, images, strict=True)
        ]
    for split, group in itertools.groupby(range(len(places)), key=lambda number: places[number].split):
        numbers = list(group)
        with (directory / f"{split}.bytes.part").open("r+b") as out:
            out.seek(places[numbers[0]].position * decoding.num_bytes)
            out.write(images[numbers[0] : numbers[-1] + 1].data)
    return outcomes


def headers_of(folder: Path, names: Sequence[str]) -> list[Header]:
    """The header of each of these files of `folder`."""
    with quiet_pillow():
        return [_header(f"{folder}/{name}") for name in names]


def digests_of(folder: Path, names: Sequence[str]) -> list[str]:
    """The SHA-256 of each of these files of `folder`; empty for one that cannot be read."""
    return [_sha256(f"{folder}/{name}") for name in names]


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Hide Pillow's warnings about files that it can read all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_pixels(number: int) -> None:
    """Raises ValueError for more pixels than a picture may have, before they take up memory."""
    if number > MOST_PIXELS:
        raise ValueError(f"it has {number:,} pixels; shrink it below {MOST_PIXELS:,}.")


def deep_levels(image: Image.Image) -> npt.NDArray[Any] | None:
    """The levels of a picture that has more than 8 bits, 1 being white; None for any other. Pillow would clip them."""
    if image.mode == "F":
        return np.asarray(image)
    return np.asarray(image).astype("f8") / (2**16 - 1) if image.mode.startswith("I") else None


def on_background(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """`image`, whose transparent parts show the colour."""
    if not image.has_transparency_data:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, (*colour, 255)), image.convert("RGBA"))


def _flat(image: Image.Image, mode: str, background: tuple[int, int, int]) -> Image.Image:
    """`image` in `mode`, L or RGB, without transparency; or in F with levels of 0 to 255 if it has more than 8 bits."""
    levels = deep_levels(image)
    if levels is None:
        return _in_mode(on_background(image, background), mode)
    if not (levels.min() >= 0 and levels.max() <= 1):  # false for nan too
        raise ValueError(f"its levels are {levels.min():g} to {levels.max():g}, where 0 is black and 1 is white")
    return Image.fromarray((255 * levels).astype("f4"))


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        image = Image.fromarray(np.rint(np.asarray(image)).clip(0, 255).astype("u1"))
    return image if image.mode == mode else image.convert(mode)


def _decode_one(file: str, image: Pixels, decoding: Decoding) -> Outcome:
    content = b""
    try:
        content = _content(file)
        image[:] = decoding.decode(content)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises anything for a damaged file
        image[:] = 0
        return Outcome(hashlib.sha256(content).hexdigest(), b"", _problem(error, content))
    return Outcome(hashlib.sha256(content).hexdigest(), hashlib.sha256(image.data).digest(), None)


def _header(file: str) -> Header:
    try:
        with Image.open(file) as image:
            check_pixels(math.prod(image.size))
            width, height = reversed(image.size) if _is_swapped(image) else image.size
            return Header((width, height), _is_grey(image))
    except MemoryError:
        raise
    except Exception as error:  # see above
        return Header((0, 0), True, _problem(error, b"?"))


def _sha256(file: str) -> str:
    try:
        return hashlib.sha256(_content(file)).hexdigest()
    except OSError:
        return ""


def _content(file: str) -> bytes:
    """All bytes of a file; pathlib takes three times as long to join its path and to read it."""
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123
        return opened.read()


def _problem(error: Exception, content: bytes) -> str:
    """Why a file could not be decoded, in words that do not name an object of Python."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if not content:
        return "it is empty"
    text = str(error).strip()
    return "it is not an image" if not text or text.startswith("cannot identify image file") else text


def _is_swapped(image: Image.Image) -> bool:
    known = image.format in WITH_EXIF_FIRST or "exif" in image.info
    return known and image.getexif().get(ORIENTATION) in SWAPPED


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P" and image.palette:
        colours: Any = np.frombuffer(image.palette.tobytes(), np.uint8)
        colours = colours[: len(colours) // 3 * 3].reshape(-1, 3)
        return image.palette.mode == "RGB" and bool((colours == colours[:, :1]).all())
    return image.mode in GREY_MODES or image.mode.startswith("I")
