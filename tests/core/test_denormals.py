"""Small numbers are taken for zero while a model is trained, and not afterwards."""

import pytest
import torch
from helpers import MakeRun, Stop
from pytorch_lightning import Callback

from cvae_lightning.core.denormals import denormals_as_zero
from cvae_lightning.training.train import train


def is_kept() -> bool:
    return bool(torch.tensor(1e-39) * 1 > 0)


def test_the_state_before_comes_back() -> None:
    assert is_kept()
    with denormals_as_zero():
        assert not is_kept()
        with denormals_as_zero():
            assert not is_kept()
        assert not is_kept()
    assert is_kept()


def test_it_comes_back_after_an_error() -> None:
    with pytest.raises(Stop), denormals_as_zero():
        raise Stop
    assert is_kept()


def test_a_training_takes_them_for_zero_and_leaves_them_to_its_caller(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(Callback, "on_train_batch_start", lambda *_: seen.append(is_kept()))
    train(make_run("run", "epochs=1"))
    assert seen
    assert not any(seen)
    assert is_kept()
