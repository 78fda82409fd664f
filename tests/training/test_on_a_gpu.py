"""Training and evaluation on a pretended GPU: every part, no mixed devices, no waiting, and the numbers of the CPU."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from helpers import MakeRun, choices_of, evaluate_again
from pretended_gpu import GPU, Counts, is_on_gpu, pretended_gpu
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from cvae_lightning.core import products
from cvae_lightning.core.errors import NonFiniteLoss, UserError
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.data.digits import Digits
from cvae_lightning.models import inference
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.run import Run
from cvae_lightning.training import parts
from cvae_lightning.training.train import train

SMALL = ("data=digits", "batch_size=256", "objective=val/elbo")
SIZES = {  # small ones for the parts that are large by default
    "model=m1m2": ["model.first_epochs=0"],
    "network=conv": ["network.channels=2", "network.hidden=8"],
    "network=residual": ["network.channels=2"],
    "evaluators=full": [
        "evaluators.nll.num_samples=3",
        "evaluators.judged.num_samples=50",
        "evaluators.inception=null",
    ],
    "evaluators=judged": ["evaluators.judged.num_samples=50"],
    "evaluators=likelihood": ["evaluators.nll.num_samples=3"],
    "evaluators=conditional": [
        "evaluators.bayes.num_samples=3",
        "evaluators.bayes.num_images=100",
        "evaluators.cas.num_samples=50",
    ],
    "evaluators=claims": ["evaluators.gradients.num_draws=2"],
    "sampler=mixture": ["sampler.num_components=2"],
}
GROUPS = (
    "model",
    "network",
    "likelihood",
    "prior",
    "bound",
    "sampler",
    "optimizer",
    "schedule",
    "averaging",
    "evaluators",
)
CHOICES = choices_of(GROUPS)
TOGETHER = [
    "averaging=ema likelihood=gaussian_optimal schedule=one_cycle optimizer=adamw sampler=mixture data.max_shift=1",
    "model=vae bound.free_bits=0.1 data.flip=both data.binarize=dynamic likelihood=bernoulli",
    "model.label_dropout=0.2 prior=learned sampler=gaussian bound=iwae data.balance=true",
    "network=residual network.injection=modulate averaging=ema prior=learned sampler=mixture",
    "model=m2 model.classifier_shift=1 data.labelled=50 data.max_shift=1 data.binarize=dynamic sampler=gaussian",
]
IN_A_STEP = [choice for choice in CHOICES if not choice.startswith(("sampler", "evaluators"))]
SLOW, LATER = pytest.mark.slow, [*CHOICES, *TOGETHER[1:]]
MOST_LAUNCHES = {  # of kernels in a training step, with little room above what was counted
    "": 100,
    "network=conv": 160,
    "network=residual network.channels=2": 400,
    "averaging=ema schedule=one_cycle data.max_shift=1": 110,
    "model.label_dropout=0.2 data.flip=both likelihood=gaussian_optimal": 130,
    "bound=iwae prior=learned": 200,
    "prior=flow": 540,
}


@pytest.fixture(autouse=True)
def _same_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products are computed alike on the CPU and on the pretended GPU."""
    monkeypatch.setattr(products, "_rounds_nothing", lambda: False)


def overrides_of(choices: str) -> list[str]:
    words = choices.split()
    return [*SMALL, *words, *(size for word in words for size in SIZES.get(word, []))]


def numbers(run: Run) -> dict[str, object]:
    return {key: run.metrics[key] for key in ("val", "test", "absent", "weights_sha256")}


@pytest.mark.parametrize(
    "choices", [*TOGETHER[:2], *(pytest.param(each, marks=SLOW) for each in CHOICES + TOGETHER[2:])]
)
def test_a_run_on_a_gpu_has_the_numbers_of_the_cpu(make_run: MakeRun, choices: str) -> None:
    on_gpu, on_cpu = (
        make_run(device, *overrides_of(choices), f"accelerator={device}", "epochs=1") for device in ("gpu", "cpu")
    )
    with pretended_gpu():
        assert train(on_gpu)["environment"]["device"] == "a pretended GPU"
    assert train(on_cpu)["environment"]["device"] == "cpu"
    assert numbers(on_gpu) == numbers(on_cpu)


@SLOW
def test_it_is_measured_again_and_resumed_on_a_gpu(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*overrides_of(TOGETHER[0]), "accelerator=gpu"]
    with pretended_gpu():
        whole, resumed = make_run("whole", *words), make_run("resumed", *words)
        train(whole)
        with monkeypatch.context() as patch:
            patch.setattr(VAE, "on_validation_epoch_end", stop_after(VAE.on_validation_epoch_end, 1))
            with pytest.raises(Interruption):
                train(resumed)
        assert not resumed.complete
        train(resumed)
        assert numbers(resumed) == numbers(whole)
        again = evaluate_again(Run(whole.path), {})
        assert {"val": again.val, "test": again.test} == {key: whole.metrics[key] for key in ("val", "test")}


class Interruption(Exception):
    pass


def stop_after(hook: Callable[[VAE], None], num: int) -> Callable[[VAE], None]:
    def stopping(model: VAE) -> None:
        hook(model)
        if model.current_epoch == num:
            raise Interruption

    return stopping


class Watch(Callback):
    """What was counted from the beginning of each training step to that of the next one in the same epoch."""

    def __init__(self, counts: Counts) -> None:
        self.counts, self.steps = counts, list[Counts]()
        self._before: Counts | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        if self._before is not None:
            self.steps.append(self.counts - self._before)
        self._before = None if trainer.is_last_batch else self.counts.copy()


def watched_steps(run: Run, monkeypatch: pytest.MonkeyPatch) -> list[Counts]:
    build_trainer = parts.build_trainer
    with pretended_gpu() as counts:
        watch = Watch(counts)
        monkeypatch.setattr(
            parts, "build_trainer", lambda config, callbacks, **kw: build_trainer(config, [*callbacks, watch], **kw)
        )
        train(run)
    return watch.steps


@pytest.mark.parametrize(
    "choices", ["", *(pytest.param(each, marks=SLOW) for each in dict.fromkeys([*list(MOST_LAUNCHES)[1:], *IN_A_STEP]))]
)
def test_a_step_waits_for_nothing_copies_nothing_and_launches_few_kernels(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, choices: str
) -> None:
    steps = watched_steps(make_run("run", *overrides_of(choices), "accelerator=gpu"), monkeypatch)
    assert len(steps) >= 2 * 3
    assert {step.waits for step in steps} == {0}
    assert {step.copies_to_gpu for step in steps} == {0}
    assert max(step.launches for step in steps) <= MOST_LAUNCHES.get(choices, 400)


def test_splits_that_were_read_before_there_was_a_trainer_go_to_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_gpu():
        data = DataModule(Digits(), batch_size=64)
        data.setup("fit")
        assert not any(is_on_gpu(split.images) for split in data.splits.values())
        data.trainer = Trainer(accelerator="cuda", devices=1, logger=False, enable_progress_bar=False)
        monkeypatch.setattr(data.source, "fit_splits", None)  # nothing is read again
        data.setup("fit")
        data.setup("test")
        assert data.splits.keys() == {"train", "val", "test"}
        for split in data.splits.values():
            assert is_on_gpu(split.images)
            assert is_on_gpu(split.labels)


class Explosion(Callback):
    """Makes the loss of the second step of the second epoch infinite, and with it the weights and all later losses."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: list[Tensor], batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 1):
            batch[0].fill_(float("inf"))


def test_the_first_loss_that_is_not_finite_is_named_and_no_checkpoint_follows(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_trainer = parts.build_trainer
    more = [Explosion()]
    monkeypatch.setattr(
        parts, "build_trainer", lambda config, callbacks, **kw: build_trainer(config, [*callbacks, *more], **kw)
    )
    messages = []
    for device in ("cpu", "gpu"):
        run = make_run(device, *SMALL, f"accelerator={device}", "epochs=3")
        with pretended_gpu() if device == "gpu" else nullcontext(), pytest.raises(NonFiniteLoss) as error:
            train(run)
        messages.append(str(error.value))
        checkpoint = torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)
        assert f" at step {checkpoint['global_step'] + 1} (epoch 1)" in messages[-1], "the checkpoint is of epoch 0"
        assert all(weight.isfinite().all() for weight in checkpoint["state_dict"].values())
    assert messages[0] == messages[1]


@pytest.mark.parametrize("choices", ["model=cvae", "model=vae", "model=m1m2", "prior=learned", "sampler=mixture"])
def test_a_model_on_a_gpu_draws_encodes_and_scores_there(make_run: MakeRun, choices: str) -> None:
    run = make_run("run", *overrides_of(choices), "accelerator=cpu", "epochs=1")
    train(run)
    with pretended_gpu():
        model = run.model().to(GPU)
        given = {"num": 3} if choices == "model=vae" else {"labels": [2, 7, 9]}
        drawn = inference.sample(model, **given)
        assert is_on_gpu(drawn.images)
        y = drawn.labels
        prior = model.prior(y)
        assert is_on_gpu(prior.log_prob(prior.sample()))
        labels = None if choices == "model=vae" else [2, 7, 9]
        assert is_on_gpu(inference.reconstruct(model, drawn.images.cpu().numpy(), labels))
        assert is_on_gpu(inference.kl_by_latent(model))
        if labels:
            with pytest.raises(UserError, match="labels"):  # and no assertion of a kernel
                inference.sample(model, [2, 10])


@pytest.mark.parametrize("accelerator", ["mps", "tpu"])
def test_other_accelerators_are_refused(make_run: MakeRun, accelerator: str) -> None:
    with pytest.raises(UserError, match=r"Expected auto, cpu or gpu \(accelerator\)"):
        train(make_run("run", f"accelerator={accelerator}"))


def test_the_gpu_refuses_tensors_of_both_devices(tmp_path: Path) -> None:
    with pretended_gpu() as counts:
        there, here = torch.ones(2, device=GPU), torch.ones(2)
        with pytest.raises(RuntimeError, match="same device"):
            there + here
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        before = counts.copy()
        float(there.sum())
        there[there > 0]
        here.to(GPU)
        assert counts - before == Counts(waits=2, copies_to_gpu=1, launches=3)
    assert torch.ones(2).device.type == "cpu"
