"""Free disk space and memory, checked before any work is done; a disk that still fills up is explained."""

import errno
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cvae_lightning.core.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk is full, or the quota, or the file may not grow
VALUES_AT_ONCE = 2**24  # pixels in one step of an evaluation: 67 MB in float32
MEMINFO, CGROUPS, CGROUP = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
CGROUP_LIMIT = CGROUP / "memory.max"


def check_room(folder: Path, needed: int, what: str, remedy: str) -> None:
    """Raises UserError if `what` needs more bytes in `folder` than its disk has free."""
    free = free_room(folder)
    if free is not None and needed > free:
        raise UserError(f"{what} needs {readable(needed)} in {folder}, where {readable(free)} are free. {remedy}")


def check_memory(needed: int, what: str, remedy: str) -> None:
    """Raises UserError if `what` needs more bytes of memory than this machine has available."""
    available = available_memory()
    if needed > available:
        sizes = f"{readable(needed)} of memory, where {readable(available)} are available"
        raise UserError(f"{what} needs {sizes}. {remedy}")


@contextmanager
def full_disk_explained(place: Path, needed: int | None = None) -> Iterator[None]:
    """Raise errors such as "No space left on device", which name neither place nor size, as a UserError that does."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        free = free_room(place)
        facts = [
            *([f"it needs {readable(needed)}"] if needed is not None else []),
            *([f"{readable(free)} are free"] if free is not None else []),
        ]
        raise UserError(
            f"There is no room for {place}: {', '.join(facts)} ({error.strerror}). "
            "Free some space, then repeat the command; resume=<run directory> continues a training."
        ) from error


def free_room(place: Path) -> int | None:
    """Bytes free on the disk where `place` lies or will lie; None if the file system does not say."""
    existing = next(path for path in (place, *place.absolute().parents) if path.exists())
    usage = shutil.disk_usage(existing)
    return usage.free if usage.total else None


def images_at_once(image_shape: Sequence[int], most: int) -> int:
    """The number of images of this shape to process at a time: `most`, or fewer, at least one, if they are large."""
    return max(1, min(most, VALUES_AT_ONCE // math.prod(image_shape)))


def available_memory() -> int:
    """Bytes of memory that are available: to the system, or within the limit of a container."""
    limits = [sys.maxsize]  # if the system does not say
    if hasattr(os, "sysconf"):
        limits += [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if MEMINFO.exists():
        available = re.findall(r"^MemAvailable: +(\d+) kB$", MEMINFO.read_text("utf-8"), re.M)
        limits += [1024 * int(size) for size in available]
    for file in (CGROUP_LIMIT, *_cgroup_limits()):  # "max", or a huge number, if there is no limit
        if file.exists():
            sizes = re.findall(r"\d+", file.read_text("utf-8"))
            limits += [max(0, int(size) - _held_in(file.parent)) for size in sizes]
    return min(limits)


def _held_in(group: Path) -> int:
    """Bytes that the processes of a control group hold; what was only read from files can be given up at any time."""
    file = group / "memory.stat"
    lines = file.read_text("utf-8") if file.exists() else ""
    found = {name: int(size) for name, size in re.findall(r"^(\w+) (\d+)$", lines, re.M)}
    kinds = ("total_rss", "total_shmem") if "total_rss" in found else ("anon", "shmem")
    return sum(found.get(kind, 0) for kind in kinds)


def _cgroup_limits() -> Iterator[Path]:
    """The files that limit the memory of the group of this process and of the groups around it, by either version."""
    lines = CGROUPS.read_text("utf-8").splitlines() if CGROUPS.exists() else []
    for controllers, group in (line.split(":", 2)[1:] for line in lines):
        if not controllers or "memory" in controllers.split(","):
            root, name = (CGROUP / "memory", "memory.limit_in_bytes") if controllers else (CGROUP, "memory.max")
            parts = Path(group).parts[1:]
            yield from (root.joinpath(*parts[:depth], name) for depth in range(len(parts) + 1))


def readable(size: int) -> str:
    """`size`, a number of bytes, as text such as "313 GB"."""
    value, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB", "PB", "EB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"
