"""Files of images of a user's own: read as what they show, or refused by name."""

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import idx_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from cvae_lightning.core.errors import UserError
from cvae_lightning.data import decoding, image_files
from cvae_lightning.data.image_files import read_images

SIZE = (28, 28)
SHAPE = (1, 28, 28)
GREY = np.pad(np.arange(1, 145, dtype="u1").reshape(12, 12) + 100, 8)  # no symmetry shows it as it is
GREYS = np.stack([GREY, GREY.T, GREY // 2])
X = torch.from_numpy(GREYS)[:, None] / 255


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(*greys: Any, kind: str = "PNG", mode: str = "L", **options: Any) -> bytes:
    """A file with one frame for each array."""
    first, *others = (Image.fromarray(grey).convert(mode) for grey in greys)
    frames = {"save_all": True, "append_images": others} if others else {}
    return saved(first, kind, **frames, **options)


def turned(orientation: int) -> bytes:
    """What a camera stores that was held otherwise: EXIF tells how to turn it back."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(GREY).transpose(undo[orientation]), "PNG", exif=exif)


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype == object)
    return buffer.getvalue()


def npz(**named: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **named)
    return buffer.getvalue()


IMAGES: dict[str, tuple[bytes, torch.Tensor]] = {
    **{f"orientation {number}": (turned(number), X[:1]) for number in range(2, 9)},
    "a PNG": (picture(GREY), X[:1]),
    "a PNG of a colour image": (picture(GREY, mode="RGB"), X[:1]),
    "a palette": (picture(GREY, mode="P"), X[:1]),
    "an alpha channel": (picture(GREY, mode="RGBA"), X[:1]),
    "grey and alpha": (picture(GREY, mode="LA"), X[:1]),
    "CMYK": (picture(GREY, kind="TIFF", mode="CMYK"), X[:1]),
    "one bit": (saved(Image.fromarray(GREY > 150), "PNG"), (X[:1] > 150 / 255).float()),
    "16 bits": (saved(Image.fromarray(GREY.astype("u2") * 257), "PNG"), X[:1]),
    "a TIFF of floats": (saved(Image.fromarray(GREY / np.float32(255)), "TIFF"), X[:1]),
    "a TIFF": (picture(*GREYS, kind="TIFF"), X),
    "a GIF": (picture(*GREYS, kind="GIF"), X),
    "an animated PNG": (picture(*GREYS), X),
    "an animated WebP": (picture(*GREYS, kind="WEBP", lossless=True), X),
    "a photo with a preview": (picture(GREY, GREY, kind="MPO", quality=100), X[:1]),
    "IDX": (idx_bytes(GREYS), X),
    "compressed IDX": (gzip.compress(idx_bytes(GREYS)), X),
    "npz": (npz(images=GREYS, labels=np.arange(3)), X),
    "the only array": (npz(anything=GREYS), X),
    "npy": (npy(GREYS), X),
    "one image": (npy(GREY), X[:1]),
    "rows of pixels, as in MNIST's CSV files": (npy(GREYS.reshape(3, 784)), X),
    "one row of pixels": (npy(GREY.reshape(784)), X[:1]),
    "channel first": (npy(GREYS[:, None]), X),
    "channel last": (npy(GREYS[..., None]), X),
    "one image, channel first": (npy(GREY[None]), X[:1]),
    "one image, channel last": (npy(GREY[..., None]), X[:1]),
    "integers": (npy(GREYS.astype("i8")), X),
    "integers in another byte order": (npy(GREYS.astype(">u2")), X),
    "float32": (npy(X.numpy()), X),
    "float64": (npy(X.double().numpy()), X),
    "booleans": (npy(GREYS > 150), (X > 150 / 255).float()),
}


@pytest.mark.parametrize("file_name", ["file", "FILE.PNG", "train-images-idx3-ubyte", "seven.NPZ"])
@pytest.mark.parametrize("name", IMAGES)
def test_a_file_is_read_as_what_it_holds_whatever_its_name(tmp_path: Path, name: str, file_name: str) -> None:
    content, expected = IMAGES[name]
    (tmp_path / file_name).write_bytes(content)
    images = read_images([tmp_path / file_name], SHAPE)
    torch.testing.assert_close(images, expected, atol=0 if "photo" not in name else 0.02, rtol=0)


NO_IMAGES: dict[str, tuple[bytes, str]] = {
    "text": (b"no image", "cannot identify image file"),
    "nothing": (b"", "cannot identify image file"),
    "a truncated PNG": (picture(GREY)[:-60], ""),
    "a truncated JPEG": (picture(GREY, kind="JPEG")[:-60], "truncated"),
    "a truncated GIF": (picture(*GREYS, kind="GIF")[:-60], ""),
    "a truncated IDX file": (idx_bytes(GREYS)[:-1], "Expected a whole file"),
    "a truncated gzip file": (gzip.compress(idx_bytes(GREYS))[:-9], "Expected a whole gzip file"),
    "labels": (idx_bytes(np.arange(3, dtype="u1")), "Expected an IDX file with a 3-dimensional array"),
    "a truncated npz": (npz(images=GREYS)[:-60], ""),
    "a truncated npy": (npy(GREYS)[:-60], ""),
    "another zip file": (b"PK\3\4 and no archive", ""),
    "pages of two sizes": (picture(GREY, GREY[:14], kind="TIFF"), "same shape"),
    "objects": (npy(np.array([{}])), "allow_pickle"),
    "text in an array": (npy(np.full(SIZE, "0")), "it holds <U1"),
    "complex numbers": (npy(GREYS + 0j), "it holds complex128"),
    "several arrays": (npz(x_train=GREYS, y_train=np.arange(3)), "it holds the arrays x_train, y_train; name one"),
    "no array": (npz(), "it holds the arrays none"),
    "floats of 0 to 255": (npy(GREYS.astype("f8")), r"float64 from 0\.0 to 244\.0; write integers in 0\.\.255 or"),
    "nan": (npy(np.full(SIZE, np.nan)), "from nan to nan"),
    "beyond float32": (npy(np.full(SIZE, 1e300)), "from 1e"),
    "negative integers": (npy(GREYS.astype("i8") - 1), "from -1 to"),
    "integers beyond a byte": (npy(GREYS.astype("u2") * 257), "uint16 from 0 to"),
    "integers 0 and 1": (npy((GREYS > 150).astype("i8")), "only the integers 0 and 1; write booleans, or 0 and 255"),
    "a TIFF of floats of 0 to 255": (saved(Image.fromarray(GREY.astype("f4")), "TIFF"), "float32 from 0.0"),
    "colour, channels last": (npy(np.zeros((28, 28, 3), "u1")), r"it has the shape \(28, 28, 3\)"),
    "colours, channels first": (npy(np.zeros((2, 3, 28, 28), "u1")), r"it has the shape \(2, 3, 28, 28\)"),
    "rows of another number of pixels": (npy(np.zeros((5, 64))), r"it has the shape \(5, 64\); write grey images as"),
    "five dimensions": (npy(np.zeros((1, 1, 1, 28, 28))), "it has the shape"),
    "one number": (npy(np.array(0.5)), "it has the shape"),
    "no image": (npy(np.zeros((0, 28, 28))), r"it holds float64 \(0, 28, 28\)"),
    "images without pixels": (npy(np.zeros((3, 0, 28))), "it holds float64"),
}


@pytest.mark.parametrize("file_name", ["file", "own.npz", "own.png"])
@pytest.mark.parametrize("name", NO_IMAGES)
def test_a_file_of_anything_else_is_named_with_the_reason(tmp_path: Path, name: str, file_name: str) -> None:
    content, reason = NO_IMAGES[name]
    (tmp_path / file_name).write_bytes(content)
    with pytest.raises(UserError, match=rf"^Expected .*{tmp_path / file_name}") as caught:
        read_images([tmp_path / file_name], SHAPE)
    assert caught.match(reason)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Expected an image file"):
        read_images([tmp_path], SHAPE)


def test_a_large_picture_is_read_and_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = tmp_path / "large.png"
    Image.new("1", (5000, 5000)).save(large)
    assert read_images([large], SHAPE).shape == (1, 1, 28, 28)
    bomb = tmp_path / "bomb.png"
    for side in (10_000, 20_000):
        Image.new("1", (side, side)).save(bomb)
        with pytest.raises(UserError, match=rf"Expected .*bomb\.png': .*{side**2} pixels"):
            read_images([bomb], SHAPE)
    bomb.write_bytes(picture(*GREYS, kind="GIF"))
    monkeypatch.setattr(decoding, "MOST_PIXELS", 2 * 28 * 28)
    with pytest.raises(UserError, match=r"bomb\.png': it has 2,352 pixels; shrink it below 1,568\."):
        read_images([bomb], SHAPE)


@settings(deadline=None, max_examples=300)
@given(
    array=arrays(
        st.sampled_from(["f2", "f8", ">f4", "u1", "?", "i8", "c8"]),
        array_shapes(max_dims=5, max_side=6),
        elements=st.sampled_from([0, 1]),
    )
)
def test_an_array_of_any_shape_keeps_its_pixels_or_is_refused(array: Any) -> None:
    """An image of 2x3 pixels is never cut, nor mixed with another: pixels stay in their order."""
    try:
        images = image_files._in_batch(image_files._levels(array), (1, 2, 3))
    except ValueError:
        return
    assert images.ndim == 4
    np.testing.assert_array_equal(images.ravel(), array.ravel() / (255 if array.dtype.kind in "iu" else 1))
    if array.ndim <= 2:
        assert images.shape[1:] == (1, 2, 3)
