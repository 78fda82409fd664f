"""Atomic writes, new directories, links out of a directory, JSON, and SHA-256 digests."""

import hashlib
import itertools
import json
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from cvae_lightning.core.capacity import full_disk_explained
from cvae_lightning.core.errors import UserError, refuse


@contextmanager
def whole_file(path: Path, size: int) -> Iterator[BinaryIO]:
    """A file through which `path` is written atomically; it takes at most `size` bytes.

    Readers of `path` find either its old content or the new one. The new content lies beside `path` and is renamed once
    it has reached the disk, so that this also holds after a power cut (a checkpoint of 12 MB then takes about 25 ms
    more). If writing fails, the file is removed. Its mode is the one that the umask or the folder gives to any file.
    """
    partial = path.with_name(path.name + ".part")
    with full_disk_explained(path, size):
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException as error:
            partial.unlink(missing_ok=True)
            if isinstance(error, OSError):
                error.filename = str(path)  # the partial file is gone
            raise


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Write `content` to `path`, atomically."""
    raw = content.encode() if isinstance(content, str) else content
    with whole_file(path, len(raw)) as file:
        file.write(raw)


def new_directory(path: Path) -> Path:
    """Make the directory `path`, or if that exists, path-1, path-2, ...; no two processes are given the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        candidate = path.with_name(f"{path.name}-{number}") if number else path
        with suppress(FileExistsError):
            candidate.mkdir()
            break
    return candidate


def is_inside(path: Path | str, folder: Path) -> bool:
    """Whether `path` lies in `folder` when all symbolic links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def refuse_links_out_of(folder: Path, key: str, remedy: str) -> None:
    """Raises UserError, naming the `key` of `folder`, if a symbolic link in it leads out of it.

    A command that writes into a directory which somebody else made would follow that link. The folder itself may be
    a link.
    """
    for place, folders, files in os.walk(os.path.realpath(folder)):
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink() and not is_inside(path, folder):
                refuse("a directory whose links stay within it", key, f"{path} -> {os.path.realpath(path)}", remedy)


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises UserError if the file holds something else."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"Expected JSON in {path}, got something else ({error}). Delete the file and train again."
        ) from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


DIGEST_LINES = (
    re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9a-fA-F]{64})\s+\*?(?P<name>.+)"),  # sha256sum, shasum -a 256
    re.compile(r"(?P<escaped>\\?)SHA(2-)?256 ?\((?P<name>.+)\) ?= ?(?P<digest>[0-9a-fA-F]{64})"),  # --tag, openssl
)
ESCAPED = {"\\": "\\", "n": "\n", "r": "\r"}  # in the names of lines that begin with a backslash


def listed_digests(sums: Path) -> dict[str, str]:
    """The SHA-256, in lower case, of each file that `sums` lists; empty if `sums` does not exist.

    `sums` may come from sha256sum, shasum or openssl. Blank lines and comments (#) are skipped. Raises UserError,
    naming the line, for a line of any other form.
    """
    if not sums.is_file():
        return {}
    digests = {}
    for number, line in enumerate(sums.read_text("utf-8-sig", errors="replace").split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        entry = next(filter(None, (pattern.fullmatch(text) for pattern in DIGEST_LINES)), None)
        if entry is None:
            got = f"{text[:40]!r} in line {number} of {sums}"
            raise UserError(f"Expected lines `<SHA-256>  <file name>`, got {got}. Correct or remove that line.")
        name = re.sub(r"\\(.)", lambda found: ESCAPED[found[1]], entry["name"]) if entry["escaped"] else entry["name"]
        digests[posixpath.normpath(name)] = entry["digest"].lower()
    return digests
