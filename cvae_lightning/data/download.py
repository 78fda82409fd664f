"""Downloads of a data set's files: with a time limit, verified, written atomically, one process at a time."""

import contextlib
import gzip
import hashlib
import http.client
import logging
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from cvae_lightning.core.files import write_whole

log = logging.getLogger(__name__)

SECONDS_WITHOUT_DATA = 20
LOCK = ".lock"


class DownloadFailed(Exception):
    """No mirror delivered a file, or it could not be written; the message says why."""


def download_missing(directory: Path, archives: dict[str, str], mirrors: Sequence[str]) -> None:
    """Download the `archives` that are missing in `directory`, and unpack them there.

    `archives` maps names of files, which end in .gz, to their MD5. Processes that need the same directory wait for the
    first one, and then find the files. The SHA-256 of each unpacked file is added to SHA256SUMS. Raises DownloadFailed,
    after removing those folders made for the download that are still empty.
    """
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / LOCK):
            for archive, md5 in archives.items():
                target = directory / archive.removesuffix(".gz")
                if not target.exists() and not (directory / archive).exists():
                    _unpack(_fetch(archive, md5, mirrors), target)
    except OSError as error:
        raise DownloadFailed(f"{directory} can't be written: {error.strerror or error}") from error
    finally:
        remove_empty(made)


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove `folders`, innermost first, until one contains more than the lock."""
    with contextlib.suppress(OSError):
        for folder in folders:
            if [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
            folder.rmdir()


def _fetch(archive: str, md5: str, mirrors: Sequence[str]) -> bytes:
    failures = []
    for mirror in mirrors:
        log.info("Downloading %s%s", mirror, archive)
        try:
            with urllib.request.urlopen(mirror + archive, timeout=SECONDS_WITHOUT_DATA) as response:
                content: bytes = response.read()
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{urlsplit(mirror).hostname}: {reason_of(error)}")
            continue
        if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5:
            return content
        failures.append(f"{urlsplit(mirror).hostname}: {archive} is not the official file")
    raise DownloadFailed("; ".join(failures))


def reason_of(error: Exception) -> str:
    """The message of the error that urllib has wrapped."""
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason)


def _unpack(content: bytes, target: Path) -> None:
    raw = gzip.decompress(content)
    with target.with_name("SHA256SUMS").open("a", encoding="utf-8") as sums:
        sums.write(f"{hashlib.sha256(raw).hexdigest()}  {target.name}\n")
    write_whole(target, raw)
