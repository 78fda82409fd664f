"""Work on many files, in parallel and with a progress bar."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from joblib import Parallel, delayed
from tqdm import tqdm

SECONDS_OF_TRIAL = 0.2  # of work in this process, which show how long a file takes
SECONDS_FOR_PROCESSES = 1.0  # of work that is left; less is done here before processes have started
SECONDS_IDLE = 5  # after which the processes end; joblib keeps them for five minutes

T = TypeVar("T")


def in_parallel(work: Callable[[int, Sequence[Path]], list[T]], files: Sequence[Path], step: int, what: str) -> list[T]:
    """What `work(start, files[start:start + step])` returns for all parts of `files`, in their order.

    The first files are worked on here, one by one. If the others would take long, processes do them, because Python
    code runs in parallel only in processes of its own. joblib starts them anew instead of forking this process, which
    may have threads, and they never import the main module. A daemonic process may have no children, and works alone.
    """
    outcomes: list[T] = []
    began = time.perf_counter()
    with tqdm(total=len(files), desc=what, unit=" images", unit_scale=True, leave=False, disable=None) as bar:
        while len(outcomes) < len(files) and time.perf_counter() - began < SECONDS_OF_TRIAL:
            outcomes += work(len(outcomes), files[len(outcomes) : len(outcomes) + 1])
        bar.update(len(outcomes))
        seconds_left = (time.perf_counter() - began) / max(1, len(outcomes)) * (len(files) - len(outcomes))
        rest = [(start, files[start : start + step]) for start in range(len(outcomes), len(files), step)]
        if seconds_left < SECONDS_FOR_PROCESSES or multiprocessing.current_process().daemon:
            parts = (work(*part) for part in rest)
        else:
            workers = Parallel(num_cores(), backend="loky", return_as="generator", idle_worker_timeout=SECONDS_IDLE)
            parts = workers(delayed(work)(*part) for part in rest)
        for part in parts:
            outcomes += part
            bar.update(len(part))
    return outcomes


def num_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
