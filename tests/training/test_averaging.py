"""Averaged weights: by hand, through interruptions, and as what is evaluated and saved."""

from typing import Any

import pytest
import torch
from helpers import INTERRUPTIONS, MakeRun, MakeSweep, Stop, StopAt, evaluate_again, without_times
from pytorch_lightning import Callback
from safetensors.torch import load_file
from torch import Tensor

from cvae_lightning.core.errors import UserError
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import longest_prefix
from cvae_lightning.training import parts
from cvae_lightning.training.callbacks.averaging import EMA
from cvae_lightning.training.train import train

AVERAGED = ["averaging=ema", "callbacks.averaging.decay=0.9"]
WITH_BUFFERS = [*AVERAGED, "likelihood=gaussian_optimal", "sampler=gaussian"]


def weights(run: Run) -> dict[str, Tensor]:
    return load_file(run.path / "model.safetensors")


def checkpoint(run: Run) -> dict[str, Any]:
    return torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)


def with_callback(monkeypatch: pytest.MonkeyPatch, callback: Callback) -> None:
    build_trainer = parts.build_trainer
    add = lambda config, callbacks, **kw: build_trainer(config, [*callbacks, callback], **kw)  # noqa: E731
    monkeypatch.setattr(parts, "build_trainer", add)


class Watch(Callback):
    """Computes the average by its definition, step by step."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        n = trainer.global_step - 1
        kept = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        for name, parameter in pl_module.named_parameters():
            now = parameter.detach().double()
            self.average[name] = kept * self.average.get(name, now) + (1 - kept) * now


@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_what_is_saved_is_the_moving_average_over_all_steps(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, decay: float
) -> None:
    watch = Watch(decay)
    with_callback(monkeypatch, watch)
    run = make_run("run", "averaging=ema", f"callbacks.averaging.decay={decay}")
    train(run)
    saved, last = weights(run), checkpoint(run)
    for name, expected in watch.average.items():
        torch.testing.assert_close(saved[name].double(), expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(saved[name], last["state_dict"][name])
        assert not torch.equal(saved[name], last["current_model_state"][name])
    assert (run.metrics["averaging"], run.metrics["averaging_decay"]) == ("ema", decay)


def test_the_training_is_the_same_with_and_without(make_run: MakeRun) -> None:
    plain, averaged = make_run("plain"), make_run("averaged", *AVERAGED)
    for run in (plain, averaged):
        train(run)
    before, after = checkpoint(plain)["state_dict"], checkpoint(averaged)["current_model_state"]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert plain.metrics["averaging"] == "none"
    assert plain.metrics["val"]["elbo"] != averaged.metrics["val"]["elbo"]


def test_the_average_is_what_is_measured(make_run: MakeRun) -> None:
    """Also the sampler that was fitted after the training; and the last point of the val curve is the final number."""
    run = make_run("run", *WITH_BUFFERS)
    train(run)
    assert evaluate_again(Run(run.path), {})._asdict() == {key: run.metrics[key] for key in ("val", "test", "absent")}
    saved, last = weights(run), checkpoint(run)
    rows = next(state["rows"] for key, state in last["callbacks"].items() if "History" in key)
    assert rows[-1]["val/elbo"] == pytest.approx(run.metrics["val"]["elbo"])
    for name in ("likelihood_head.variance", "likelihood_head.num_batches"):
        assert torch.equal(saved[name], last["current_model_state"][name]), "a buffer is the training's"
    assert saved["sampler.means"].abs().sum() > 0


@pytest.mark.parametrize(("hook", "count"), [INTERRUPTIONS[index] for index in (2, 7)])
def test_an_interrupted_average_goes_on_with_its_bits(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, hook: str, count: int
) -> None:
    whole, interrupted = make_run("whole", "epochs=3", *WITH_BUFFERS), make_run("cut", "epochs=3", *WITH_BUFFERS)
    train(whole)
    with monkeypatch.context() as patch:
        with_callback(patch, StopAt(hook, count))
        with pytest.raises(Stop):
            train(interrupted)
    train(Run(interrupted.path))
    assert without_times(interrupted.metrics) == without_times(whole.metrics), "the digest of the weights is in it"


def test_an_average_goes_on_from_a_shorter_run_of_its_sweep(make_run: MakeRun, make_sweep: MakeSweep) -> None:
    runs, alone = make_sweep(["epochs=1", *AVERAGED], ["epochs=3", *AVERAGED]), make_run("alone", "epochs=3", *AVERAGED)
    for run in (*runs, alone):
        train(run)
    assert without_times(runs[1].metrics) == without_times(alone.metrics)
    prefix = longest_prefix(runs[1], {}, runs[1].metrics["environment"])
    assert prefix
    assert prefix.path == runs[0].path


@pytest.mark.parametrize("decay", [0, 1, -0.5, float("nan")])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    with pytest.raises(UserError, match=r"between 0 and 1 .*\(callbacks\.averaging\.decay\), got"):
        EMA(decay)
