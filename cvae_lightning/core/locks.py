"""A lock on a directory, so that one process at a time works in it.

The system releases the lock when its process ends, even if that process is killed. On Windows nothing is locked.
"""

import sys

if sys.platform != "win32":
    from cvae_lightning.core.unix_locks import LOCK, holder, locked, wait_until_free
else:
    from collections.abc import Iterator
    from contextlib import contextmanager, suppress
    from pathlib import Path

    LOCK = ".lock"

    @contextmanager
    def locked(directory: Path, key: str, wait: bool = False) -> Iterator[None]:
        """Holds no lock; `directory` exists meanwhile, and is not left behind empty."""
        directory.mkdir(parents=True, exist_ok=True)
        try:
            yield
        finally:
            with suppress(OSError):  # it is not empty
                directory.rmdir()

    def holder(directory: Path) -> str | None:
        """None: no process holds a lock."""
        return None

    def wait_until_free(directory: Path) -> None:
        """Returns at once."""


__all__ = ["LOCK", "holder", "locked", "wait_until_free"]
