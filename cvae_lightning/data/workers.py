"""Work on many files, in parallel and with a progress bar."""

import multiprocessing
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from joblib import Parallel, delayed
from tqdm import tqdm

BYTES_FOR_PROCESSES = 2**24  # of files; reading fewer takes less time than starting processes

T = TypeVar("T")


def in_parallel(
    work: Callable[[int, Sequence[Path]], list[T]], files: Sequence[Path], step: int, num_bytes: int, what: str
) -> list[T]:
    """What `work(start, files[start:start + step])` returns for all parts of `files`, in their order.

    Python code runs in parallel only in processes of its own. joblib starts them anew instead of forking this process,
    which may have threads, and they never import the main module. In a worker of joblib itself, and for fewer than
    BYTES_FOR_PROCESSES in all files, threads do the work.
    """
    processes = num_bytes >= BYTES_FOR_PROCESSES and not multiprocessing.current_process().daemon
    pool = Parallel(num_cores(), prefer="processes" if processes else "threads", return_as="generator")
    outcomes: list[T] = []
    with (
        warnings.catch_warnings(),
        tqdm(total=len(files), desc=what, unit=" images", unit_scale=True, leave=False, disable=None) as bar,
    ):
        # Threads change the filters of warnings, which belong to the whole process.
        for part in pool(delayed(work)(start, files[start : start + step]) for start in range(0, len(files), step)):
            outcomes += part
            bar.update(len(part))
    return outcomes


def num_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
