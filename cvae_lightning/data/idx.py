"""Reading and verifying IDX files, the format of MNIST and similar data sets."""

import gzip
import hashlib
import logging
import math
import shlex
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cvae_lightning.core.errors import UserError
from cvae_lightning.core.files import listed_digests

log = logging.getLogger(__name__)

UBYTE = 8  # the IDX type code of unsigned bytes
TYPES = {UBYTE: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}  # numpy's name of each type, by its code
GZIP = b"\x1f\x8b"
LIST_FILES = "sha256sum *ubyte* > SHA256SUMS"


def find(directory: Path, name: str) -> Path | None:
    """The path of a file, raw or .gz, under MNIST's own name or Kaggle's (train-images.idx3-ubyte), or None."""
    names = (name, name.replace("-idx", ".idx"))
    paths = (directory / f"{name}{ending}" for name in names for ending in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def read_checked(path: Path, num_dims: int, official: str | None) -> tuple[npt.NDArray[np.uint8], str]:
    """The array in the IDX file `path` (raw or gzip), and the SHA-256 of the uncompressed file.

    The digest must equal `official`, or the one in the file SHA256SUMS beside it; if there is neither, a warning says
    so. Raises UserError, naming the file, if it is truncated, is not IDX, or has another digest.
    """
    stored = path.read_bytes()
    content = _uncompressed(path, stored)
    digest = hashlib.sha256(content).hexdigest()
    _check_digest(path, digest if content is stored else hashlib.sha256(stored).hexdigest(), digest, official)
    return _parse(path, content, num_dims), digest


def read_any(path: Path) -> tuple[npt.NDArray[Any], str]:
    """The array in an IDX file, raw or gzip, of any type and number of dimensions, and its SHA-256, uncompressed."""
    content = _uncompressed(path, path.read_bytes())
    shape, dtype = _header(path, content)
    offset = 4 + 4 * len(shape)
    _check_size(path, len(content) - offset, math.prod(shape) * dtype.itemsize)
    array = np.frombuffer(content, dtype, offset=offset).reshape(shape)
    return array.astype(dtype.newbyteorder("=")), hashlib.sha256(content).hexdigest()


def shape_of(path: Path) -> tuple[int, ...]:
    """The shape of the array in an IDX file, raw or gzip, of which only the header is read."""
    with path.open("rb") as file:
        is_gzip = file.read(2) == GZIP
    try:
        with gzip.open(path) if is_gzip else path.open("rb") as file:
            return _header(path, file.read(4 + 4 * 255))[0]
    except (EOFError, OSError, zlib.error) as error:
        raise _not_gzip(path, error) from error


def is_idx(start: bytes) -> bool:
    """Whether a file that begins with `start` holds bytes in IDX format, or is gzip, as IDX files often are."""
    return start.startswith((bytes([0, 0, UBYTE]), GZIP))


def read_array(path: Path, num_dims: int) -> npt.NDArray[np.uint8]:
    """The array in an IDX file of the user's own, which has no digest to check."""
    return _parse(path, _uncompressed(path, path.read_bytes()), num_dims)


def _uncompressed(path: Path, stored: bytes) -> bytes:
    if not stored.startswith(GZIP):
        return stored
    try:
        return gzip.decompress(stored)
    except (EOFError, OSError, zlib.error) as error:
        raise _not_gzip(path, error) from error


def _not_gzip(path: Path, error: Exception) -> UserError:
    return UserError(f"Expected a whole gzip file, got {path} ({error}). Replace it.")


def _check_digest(path: Path, stored: str, uncompressed: str, official: str | None) -> None:
    """Compare the digests of a file, stored and uncompressed, with the official one and those in SHA256SUMS.

    One match is enough. Raises UserError if there are digests and none matches; warns if there is none.
    """
    sums = path.with_name("SHA256SUMS")
    digests = listed_digests(sums)
    listed = [(digests.get(path.name.removesuffix(".gz")), uncompressed), (digests.get(path.name), stored)]
    known = [(expected, got) for expected, got in (*listed, (official, uncompressed)) if expected]
    if not known:
        log.warning("%s is of unknown origin: there is no digest to check it against (SHA-256 %s).", path, uncompressed)
        return
    if any(expected == got for expected, got in known):
        return
    expected, got = known[0]
    whose, remedy = f"as in {sums}", "Replace the file, or correct its line there."
    if expected == official:
        whose = "of the official file"
        remedy = (
            f"If these are images of your own, list them: cd {shlex.quote(str(path.parent))} && {LIST_FILES} "
            "Otherwise delete the file, and the official one is downloaded."
        )
    raise UserError(f"Expected SHA-256 {expected[:12]}... {whose}, got {got[:12]}... for {path}. {remedy}")


def _parse(path: Path, content: bytes, num_dims: int) -> npt.NDArray[np.uint8]:
    header = 4 + 4 * num_dims
    if content[:4] != bytes([0, 0, UBYTE, num_dims]) or len(content) < header:
        raise UserError(f"Expected an IDX file with a {num_dims}-dimensional array of bytes, got {path}. Replace it.")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", num_dims, offset=4))
    _check_size(path, len(content) - header, math.prod(shape))
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _header(path: Path, start: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and the type in the header with which the content of an IDX file starts."""
    num_dims = start[3] if len(start) >= 4 else 0
    if start[:2] != bytes(2) or len(start) < 4 + 4 * num_dims or start[2] not in TYPES or not num_dims:
        raise UserError(f"Expected an IDX file, got {path}. Replace it.")
    return tuple(int(size) for size in np.frombuffer(start, ">u4", num_dims, offset=4)), np.dtype(TYPES[start[2]])


def _check_size(path: Path, size: int, expected: int) -> None:
    if size != expected:
        raise UserError(f"Expected a whole file, got {size} of {expected} bytes in {path}. Replace it.")
