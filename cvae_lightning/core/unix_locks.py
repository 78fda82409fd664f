"""The locks of core/locks.py where there is flock, which Windows lacks."""

import errno
import fcntl
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cvae_lightning.core.errors import refuse

assert sys.platform != "win32"  # so that mypy knows which names there are

log = logging.getLogger(__name__)

LOCK = ".lock"  # a file in the directory, in which the process that holds the lock names itself
PATIENCE = 1.0  # seconds; `holder` takes the lock for a moment too
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def locked(directory: Path, key: str, wait: bool = False) -> Iterator[None]:
    """A context that holds the lock of `directory`, and leaves neither the lock's file nor an empty directory behind.

    Raises UserError, naming the `key` that the directory came from, if another process holds the lock, unless `wait`
    is set. A directory that this process can only read needs no lock.
    """
    file = _locked_file(directory, wait)
    if file is None:
        what = "a directory in which no other process is working"
        remedy = f"{(holder(directory) or 'another process').capitalize()} is; wait for it to end, or stop it."
        refuse(what, key, str(directory), remedy)
    named = _named_in(file) if file >= 0 else ""
    try:
        yield
    finally:
        if file >= 0:
            _check_that_nobody_else_held_it(file, directory, named)
            if os.fstat(file).st_nlink:  # 0 if a person has deleted the file
                (directory / LOCK).unlink(missing_ok=True)
            os.close(file)
            with suppress(OSError):  # it is not empty
                directory.rmdir()


def holder(directory: Path) -> str | None:
    """The process that holds the lock of `directory`, such as "process 4242 on node7"; None if there is none.

    Nothing is written, so that this works in a directory that can only be read.
    """
    with suppress(OSError), os.fdopen(os.open(directory / LOCK, os.O_RDONLY | os.O_NOFOLLOW)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read(200).strip() or "another process"
    return None


def wait_until_free(directory: Path) -> None:
    """Wait while another process holds the lock of `directory`."""
    with suppress(OSError), os.fdopen(os.open(directory / LOCK, os.O_RDONLY | os.O_NOFOLLOW)) as file:
        fcntl.flock(file, fcntl.LOCK_SH)


def _locked_file(directory: Path, wait: bool) -> int | None:
    """The open and locked file; -1 if the directory is read-only or has no locks, None if the lock is held."""
    give_up = time.monotonic() + PATIENCE
    while (file := _opened(directory)) >= 0:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(file)
            if time.monotonic() > give_up:
                return None
            time.sleep(PATIENCE / 20)
        except OSError as error:
            os.close(file)
            if error.errno not in NO_LOCKS:
                raise
            log.warning("%s is on a file system without locks: start no second process there.", directory)
            return -1
        else:
            if os.fstat(file).st_nlink:
                _check_that_it_locks(file, directory)
                with suppress(OSError):  # another person's file, which is locked but cannot be written
                    os.ftruncate(file, 0)
                    os.pwrite(file, f"{_this_process()}\n".encode(), 0)
                return file
            os.close(file)  # the process that held the lock has removed the file in the meantime
    return -1


def _check_that_it_locks(file: int, directory: Path) -> None:
    """Warn if the lock that was just taken in `file` does not keep others out, as far as that can be seen.

    A process removes the file when it gives the lock back. If the file still names one of another machine, then either
    that process was killed, or locks on this file system do not reach other machines, as with some mounts of NFS.
    """
    other, mine = _named_in(file), socket.gethostname()
    if other and not other.endswith(f" on {mine}"):
        log.warning(
            "%s was locked by %s. If that process is still running, locks on this file system do not reach other "
            "machines: start no second process there.",
            directory,
            other,
        )
    with suppress(OSError), os.fdopen(os.open(directory / LOCK, os.O_RDONLY | os.O_NOFOLLOW)) as again:
        fcntl.flock(again, fcntl.LOCK_SH | fcntl.LOCK_NB)
        log.warning("Locks in %s keep nobody out: start no second process there.", directory)


def _check_that_nobody_else_held_it(file: int, directory: Path, named: str) -> None:
    """Log an error if the file of the lock that this process was holding does not name it any more, as it did first."""
    if named == _this_process() != (other := _named_in(file)):
        log.error(
            "%s was locked by %s too: locks on this file system do not work. Let one process at a time work there, and "
            "delete what both have written.",
            directory,
            other or "another process",
        )


def _named_in(file: int) -> str:
    """The process that the file of a lock names; empty if it names none."""
    text = os.pread(file, 200, 0).decode(errors="replace").strip()
    return text if text.startswith("process ") else ""


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _opened(directory: Path) -> int:
    """The open file of the lock, made if it is missing; -1 in a directory that can only be read."""
    while True:
        with suppress(FileExistsError):  # not exist_ok, which fails if another process removes it at that moment
            directory.mkdir(parents=True)
        try:
            return os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # another process has just removed the directory
            continue
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            break
    try:
        return os.open(directory / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1
