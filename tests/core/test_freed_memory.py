"""Memory that is kept for the next step."""

import pytest
from helpers import MakeRun

from cvae_lightning.core import freed_memory
from cvae_lightning.core.freed_memory import GLIBC_MAXIMUM, MOST, freed_memory_kept
from cvae_lightning.training.train import train


@pytest.fixture
def thresholds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    monkeypatch.setattr(freed_memory, "_set_thresholds", found.append)
    return found


def test_the_largest_of_overlapping_contexts_is_in_force(thresholds: list[int]) -> None:
    with freed_memory_kept(2**28), freed_memory_kept(2**27), freed_memory_kept(2**29):
        pass
    assert thresholds == [2**28, 2**28, 2**29, 2**28, 2**28, GLIBC_MAXIMUM]


def test_it_is_kept_in_a_training_and_a_measurement_and_not_afterwards(
    make_run: MakeRun, thresholds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def evaluate(*_: object) -> dict[str, float]:
        seen.append(thresholds[-1])
        return {}

    monkeypatch.setattr("cvae_lightning.evaluators.grader.Grader.evaluate", evaluate)
    train(make_run("run", "epochs=1", "objective=val/elbo"))
    assert seen == [MOST, MOST]
    assert thresholds[-1] == GLIBC_MAXIMUM
