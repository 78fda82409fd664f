"""Random streams: of the training, and named ones beside it that leave the training's untouched."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def seed_of(*key: int) -> int:
    """A seed for the stream that `key` names; streams of different keys are independent."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def random_stream(*key: int) -> Iterator[None]:
    """Draws inside come from the stream that `key` names; outside, it is as if nothing had been drawn."""
    states = get_states()
    try:
        for generator in _generators():
            generator.manual_seed(seed_of(*key))
        yield
    finally:
        set_states(states)


def get_states() -> list[Tensor]:
    """The states of torch's default generators: the CPU's, then each GPU's where CUDA is in use."""
    return [generator.get_state() for generator in _generators()]


def set_states(states: list[Tensor]) -> None:
    for generator, state in zip(_generators(), states, strict=False):
        generator.set_state(state)


def _generators() -> list[torch.Generator]:
    return [torch.default_generator, *torch.cuda.default_generators]
