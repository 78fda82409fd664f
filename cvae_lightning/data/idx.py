"""IDX files, the format of MNIST and its kin: read, and checked against what they should be."""

import gzip
import hashlib
import logging
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cvae_lightning.errors import UserError
from cvae_lightning.files import listed_digests

log = logging.getLogger(__name__)

UBYTE = 8  # the IDX type code of unsigned bytes


def find(directory: Path, name: str) -> Path | None:
    """The file, raw or with the ending .gz."""
    return next((path for path in (directory / name, directory / f"{name}.gz") if path.is_file()), None)


def read_checked(path: Path, num_dims: int, official: str | None) -> tuple[npt.NDArray[np.uint8], str]:
    """The array in the IDX file `path` (raw or .gz) and the SHA-256 of the uncompressed file.

    The digest must be `official`, or the one that a file SHA256SUMS beside it gives; where there is neither, a warning
    says so. Raises UserError, naming the file, where it is truncated, not IDX, or not what its digest says.
    """
    content = _uncompressed(path)
    digest = hashlib.sha256(content).hexdigest()
    _check_digest(path, digest, official)
    return _parse(path, content, num_dims), digest


def read_array(path: Path, num_dims: int) -> npt.NDArray[np.uint8]:
    """The array in a file of the user's own, for which there is no digest."""
    return _parse(path, _uncompressed(path), num_dims)


def _uncompressed(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"Expected a whole gzip file, got {path} ({error}). Delete it to download it again.") from error


def _check_digest(path: Path, digest: str, official: str | None) -> None:
    name = path.name.removesuffix(".gz")
    listed = listed_digests(path.with_name("SHA256SUMS")).get(name)
    if digest in (official, listed):
        return
    if expected := listed or official:
        raise UserError(f"Expected SHA-256 {expected[:12]}..., got {digest[:12]}... for {path}. Delete or replace it.")
    log.warning("%s is of unknown origin: there is no digest to check it against (SHA-256 %s).", path, digest)


def _parse(path: Path, content: bytes, num_dims: int) -> npt.NDArray[np.uint8]:
    header = 4 + 4 * num_dims
    if content[:4] != bytes([0, 0, UBYTE, num_dims]) or len(content) < header:
        raise UserError(f"Expected an IDX file of {num_dims}-dimensional bytes, got {path}. Delete or replace it.")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", num_dims, offset=4))
    if len(content) - header != math.prod(shape):
        got = f"{len(content) - header} of {math.prod(shape)} bytes"
        raise UserError(f"Expected a whole file, got {got} in {path}. Delete it to download it again.")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
