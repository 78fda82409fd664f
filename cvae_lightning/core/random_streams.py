"""Random streams: the training's own, and named streams that leave it untouched."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def seed_of(*key: int) -> int:
    """The seed of the stream that `key` names; streams with different keys are independent."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def random_stream(*key: int) -> Iterator[None]:
    """Draws inside come from the stream that `key` names; afterwards the generators are as they were before.

    >>> with random_stream(seed, 3):
    ...     noise = torch.randn(8)  # the same at each call
    """
    states = get_states()
    try:
        for generator in _generators():
            generator.manual_seed(seed_of(*key))
        yield
    finally:
        set_states(states)


def get_states() -> list[Tensor]:
    """The states of torch's default generators: the CPU's, then that of each GPU if CUDA is in use."""
    return [generator.get_state() for generator in _generators()]


def set_states(states: list[Tensor]) -> None:
    """Restore the states that `get_states` returned."""
    for generator, state in zip(_generators(), states, strict=False):
        generator.set_state(state)


def _generators() -> list[torch.Generator]:
    return [torch.default_generator, *torch.cuda.default_generators]
