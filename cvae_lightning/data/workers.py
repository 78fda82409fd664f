"""Work on many files, in parallel and with a progress bar."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from joblib import Parallel, delayed
from tqdm import tqdm

SECONDS_OF_TRIAL = 0.2  # of work in this process, which show how long a file takes
SECONDS_FOR_PROCESSES = 1.0  # of work that is left; less is done here before processes have started
SECONDS_IDLE = 5  # after which the processes end; joblib keeps them for five minutes

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item], step: int, what: str
) -> list[Result]:
    """What `work` returns for all `items`, in their order; it is given up to `step` of them at once.

    The first items are worked on here, one by one. If the others would take long, processes do them, because Python
    code runs in parallel only in processes of its own. joblib starts them anew instead of forking this process, which
    may have threads, and they never import the main module. A daemonic process may have no children, and works alone.
    """
    results: list[Result] = []
    began = time.perf_counter()
    with tqdm(total=len(items), desc=what, unit=" images", unit_scale=True, leave=False, disable=None) as bar:
        while len(results) < len(items) and time.perf_counter() - began < SECONDS_OF_TRIAL:
            results += work([items[len(results)]])
        bar.update(len(results))
        seconds_left = (time.perf_counter() - began) / max(1, len(results)) * (len(items) - len(results))
        rest = [items[start : start + step] for start in range(len(results), len(items), step)]
        if seconds_left < SECONDS_FOR_PROCESSES or multiprocessing.current_process().daemon:
            parts = map(work, rest)
        else:
            workers = Parallel(num_cores(), backend="loky", return_as="generator", idle_worker_timeout=SECONDS_IDLE)
            parts = workers(delayed(work)(part) for part in rest)
        for part in parts:
            results += part
            bar.update(len(part))
    return results


def num_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
