"""Work on many files, in parallel and with a progress bar."""

import multiprocessing
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

BYTES_FOR_PROCESSES = 2**26  # of files; reading fewer takes less time than starting processes
SECONDS_IDLE = 5  # after which the processes end; joblib keeps them for five minutes

T = TypeVar("T")


def in_parallel(
    work: Callable[[int, Sequence[Path]], list[T]], files: Sequence[Path], step: int, num_bytes: int, what: str
) -> list[T]:
    """What `work(start, files[start:start + step])` returns for all parts of `files`, in their order.

    Python code runs in parallel only in processes of its own. joblib starts them anew instead of forking this process,
    which may have threads, and they never import the main module. Threads do the work in a daemonic process, which may
    have no children, and if all files together have fewer than BYTES_FOR_PROCESSES.
    """
    processes = num_bytes >= BYTES_FOR_PROCESSES and not multiprocessing.current_process().daemon
    kept = {"idle_worker_timeout": SECONDS_IDLE} if processes else {}
    outcomes: list[T] = []
    with (
        parallel_config("loky" if processes else "threading", n_jobs=num_cores(), **kept),
        warnings.catch_warnings(),
        tqdm(total=len(files), desc=what, unit=" images", unit_scale=True, leave=False, disable=None) as bar,
    ):
        # Threads change the filters of warnings, which belong to the whole process.
        for part in Parallel(return_as="generator")(
            delayed(work)(start, files[start : start + step]) for start in range(0, len(files), step)
        ):
            outcomes += part
            bar.update(len(part))
    return outcomes


def num_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
