"""Image files of every kind become bytes of one shape."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from cvae_lightning.data import decoding
from cvae_lightning.data.decoding import Decoding, headers_of

Pixels = npt.NDArray[np.uint8]

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype("u1")
GREY = COLOUR[:, :, 0]
LUMA = np.asarray(Image.fromarray(COLOUR).convert("L"))
CLEAR = np.dstack([COLOUR, np.where(np.arange(9) < 4, 0, 255).astype("u1")[None].repeat(6, 0)])  # the left is


def saved(image: Image.Image | Any, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def gif() -> bytes:
    first, second = (Image.fromarray(level * np.ones((6, 9), "u1")) for level in (50, 200))
    return saved(first, "GIF", save_all=True, append_images=[second])


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = orientation
    return exif


def decoded(content: bytes, channels: int, *size: int, **options: Any) -> Pixels:
    return Decoding((channels, *(size or (6, 9))), **options).decode(content)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (saved(COLOUR), COLOUR),
        (saved(COLOUR, "BMP"), COLOUR),
        (saved(COLOUR, "TIFF"), COLOUR),
        (saved(COLOUR, "WEBP", lossless=True), COLOUR),
        (saved(COLOUR, "PPM"), COLOUR),
        (saved(GREY), GREY[..., None].repeat(3, 2)),
        (saved(Image.fromarray(COLOUR).quantize(256)), COLOUR),  # a palette
        (saved(GREY.astype("u2") * 257), GREY[..., None].repeat(3, 2)),  # 16 bits
        (saved(GREY > 127), np.uint8(255) * (GREY > 127)[..., None].repeat(3, 2)),  # one bit
        (saved(GREY / np.float32(255), "TIFF"), GREY[..., None].repeat(3, 2)),  # floats
        (saved(CLEAR), np.where(CLEAR[..., 3:] > 0, COLOUR, np.array([255, 0, 128], "u1"))),  # on the background
        (saved(Image.fromarray(COLOUR).convert("CMYK"), "TIFF"), COLOUR),
        (gif(), np.full((6, 9, 3), 50)),  # its first frame
    ],
)
def test_every_kind_of_picture_in_colour(content: bytes, expected: Pixels) -> None:
    image = decoded(content, 3, background=(255, 0, 128))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (saved(COLOUR), LUMA),
        (saved(GREY), GREY),
        (saved(GREY.astype("u2") * 257), GREY),
        (saved(Image.fromarray(COLOUR).quantize(256)), LUMA),
        (saved(CLEAR), np.where(CLEAR[..., 3] > 0, LUMA, 255)),
    ],
)
def test_every_kind_of_picture_in_grey(content: bytes, expected: Pixels) -> None:
    np.testing.assert_array_equal(decoded(content, 1, background=(255, 255, 255))[0], expected)


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)],
)
def test_pictures_are_turned_upright(orientation: int, undo: Image.Transpose) -> None:
    content = saved(Image.fromarray(COLOUR).transpose(undo), exif=turned(orientation))
    np.testing.assert_array_equal(decoded(content, 3), COLOUR.transpose(2, 0, 1))


def reference(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Antialiased resizing in torch."""
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    return F.interpolate(x, size, mode="bilinear", antialias=True)[0].round().clamp(0, 255).byte().numpy()


def large(height: int, width: int) -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype("u1")


def assert_close(image: Pixels, expected: Pixels, levels: int = 1) -> None:
    assert np.abs(image.astype(int) - expected.astype(int)).max() <= levels


def test_resizing_is_antialiased() -> None:
    assert_close(decoded(saved(large(60, 80)), 3, 6, 8), reference(large(60, 80), (6, 8)))
    assert_close(decoded(saved(large(6, 8)), 3, 60, 80), reference(large(6, 8), (60, 80)))
    deep = saved(large(60, 80)[..., 0].astype("u2") * 257)
    assert_close(decoded(deep, 1, 6, 8), reference(large(60, 80)[..., :1], (6, 8)))


def test_padding_keeps_the_whole_image_in_the_middle() -> None:
    image = decoded(saved(large(20, 40)), 3, 16, 16, background=(1, 2, 3))
    assert_close(image[:, 4:12], reference(large(20, 40), (8, 16)))
    border = np.concatenate([image[:, :4], image[:, 12:]], 1)
    assert (border == np.array([1, 2, 3])[:, None, None]).all()


def test_cropping_fills_the_size_with_the_middle() -> None:
    image = decoded(saved(large(20, 40)), 3, 10, 10, fit="crop")
    assert_close(image, reference(large(20, 40)[:, 10:30], (10, 10)), levels=20)  # the edges see pixels beyond
    assert_close(image[:, :, 1:-1], reference(large(20, 40)[:, 10:30], (10, 10))[:, :, 1:-1])


def test_the_longest_line_keeps_a_pixel() -> None:
    assert decoded(saved(large(1, 500)), 3, 8, 8).any()


def test_a_large_jpeg_is_shrunk_in_two_steps_without_aliasing() -> None:
    """Decoding at a smaller scale, which is faster, gives nearly the same pixels."""
    smooth = np.asarray(Image.fromarray(large(25, 50)).resize((800, 400), Image.Resampling.BICUBIC))
    content = saved(smooth, "JPEG", quality=95)
    whole = np.asarray(Image.open(io.BytesIO(content)))
    assert_close(decoded(content, 3, 20, 40), reference(whole, (20, 40)), levels=6)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"a text", "it is not an image"),
        (saved(large(30, 30))[:1000], "truncated"),
        (saved(np.array([[0, 2]], "f4"), "TIFF"), "its levels are 0 to 2"),
    ],
)
def test_what_is_not_an_image(content: bytes, words: str, tmp_path: Any) -> None:
    (tmp_path / "a.png").write_bytes(content)
    (tmp_path / "val.bytes.part").write_bytes(b"\1" * 27)
    place = decoding.Place("val", 0, "a.png")
    (outcome,) = decoding.decode_into(tmp_path, Decoding((3, 3, 3)), tmp_path, [place])
    assert outcome.problem
    assert words in outcome.problem
    assert (tmp_path / "val.bytes.part").read_bytes() == bytes(27)


def test_a_picture_of_too_many_pixels_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MOST_PIXELS", 53)
    with pytest.raises(ValueError, match="it has 54 pixels; shrink it below 53"):
        decoded(saved(COLOUR), 3)


@pytest.mark.parametrize(
    ("content", "size", "is_grey"),
    [
        (saved(COLOUR), (9, 6), False),
        (saved(GREY), (9, 6), True),
        (saved(GREY.astype("u2")), (9, 6), True),
        (saved(GREY > 127), (9, 6), True),
        (saved(Image.fromarray(COLOUR).quantize(8)), (9, 6), False),
        (gif(), (9, 6), True),
        (
            saved(COLOUR, "JPEG", exif=turned(6)),
            (6, 9),
            False,
        ),
    ],
)
def test_headers(content: bytes, size: tuple[int, int], is_grey: bool, tmp_path: Any) -> None:
    (tmp_path / "a").write_bytes(content)
    (header,) = headers_of(tmp_path, ["a"])
    assert (header.size, header.is_grey, header.problem) == (size, is_grey, None)
