"""What Lightning's loops count, and a checkpoint keeps of it."""

from typing import Any


def count_epochs(checkpoint: dict[str, Any], epochs: int, steps: int, val_batches: int) -> None:
    """Put into `checkpoint` what a training has counted that wrote it at the end of an epoch.

    `epochs` have ended, each of `steps` steps and followed by a validation of `val_batches` batches.
    """
    loops = checkpoint["loops"]["fit_loop"]
    optimizer = loops["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]
    of_steps = [loops["epoch_loop.batch_progress"], loops["epoch_loop.scheduler_progress"], *optimizer.values()]
    for progress in of_steps:
        _set(progress, total=epochs * steps, current=steps)
    _set(loops["epoch_loop.val_loop.batch_progress"], total=val_batches, current=val_batches)
    for progress in (loops["epoch_loop.batch_progress"], loops["epoch_loop.val_loop.batch_progress"]):
        progress["is_last_batch"] = True
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = epochs * steps
    _set(loops["epoch_progress"], total=epochs, current=epochs)
    for counts in loops["epoch_progress"].values():
        counts["completed"] = epochs - 1  # the checkpoint is written before the epoch counts as completed
    checkpoint["epoch"], checkpoint["global_step"] = epochs - 1, epochs * steps
    scheduler = checkpoint["lr_schedulers"][0]
    scheduler["last_epoch"], scheduler["_step_count"] = epochs * steps, epochs * steps + 1


def _set(progress: dict[str, dict[str, int]], total: int, current: int) -> None:
    for name, value in (("total", total), ("current", current)):
        progress[name] = dict.fromkeys(progress[name], value)
