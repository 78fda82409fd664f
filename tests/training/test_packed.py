"""Runs that are trained as one stacked model have the numbers of runs alone, to the rounding of float32."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from allpairspy import AllPairs
from helpers import MakeRun, MakeSweep, Stop, choices_of, composed
from labelled_data import KINDS
from pretended_gpu import Counts, pretended_gpu
from torch import Tensor

from cvae_lightning.core import products
from cvae_lightning.core.errors import NonFiniteLoss, UserError
from cvae_lightning.core.plugins import PLUGINS
from cvae_lightning.runs.run import Run
from cvae_lightning.training.packed import train as pack_training
from cvae_lightning.training.packed.choice import kind, why_alone
from cvae_lightning.training.packed.members import Member
from cvae_lightning.training.packed.stack import Stack
from cvae_lightning.training.packed.train import train_packed
from cvae_lightning.training.train import train

SMALL = [
    *("data=digits", "data.module.passes_per_epoch=1", "batch_size=256", "backward_precision=highest"),
    *("objective=val/elbo", "callbacks.figures=null"),
]
OWN = [["lr=0.001", "beta=1"], ["lr=0.005", "beta=2"], ["lr=0.002", "beta=0.5", "seed=7"]]
GROUPS = [
    "model",
    "network",
    "likelihood",
    "prior",
    "bound",
    "sampler",
    "optimizer",
    "schedule",
    "averaging",
    "figures",
    "logger",
]
CHOICES = choices_of(GROUPS)
ALONE = {
    "model=m2",
    "model=m1m2",
    "network=conv",
    "network=residual",
    "bound=iwae",
    "optimizer=adamw",
    "schedule=cosine",
    "schedule=one_cycle",
    "averaging=ema",
    "logger=wandb",
}
PAIRS: list[list[str]] = [
    ["digits", *KINDS],
    ["model=cvae", "model=vae"],
    choices_of(["likelihood"]),
    ["prior=normal", "prior=learned", "prior=learned prior.num_components=1", "prior=flow prior.hidden=[8]"],
    [f"network.injection={name}" for name in ("concatenate", "add", "modulate")],
    ["network.hidden=[16]", "network.hidden=[]", "network.hidden=[8,8]"],
    ["", "bound.warmup_epochs=3"],
    ["data.binarize=null", "data.binarize=static-threshold"],
    ["data.balance=false", "data.balance=true"],
    ["batch_size=256", "batch_size=200", "batch_size=5000"],
]
NUM_FAST = 4  # of the pairs, in make test
TOLERANCE = 1e-4  # of some twenty steps; other noise, order of images or lr makes differences of 0.1
TIMES = {"seconds", "train/images_per_second"}


def labelled(row: list[str]) -> bool:
    """A model that is conditioned on labels needs some."""
    return not {"nothing", "model=cvae"} <= set(row)


ROWS = [
    pytest.param(row, marks=pytest.mark.slow if number >= NUM_FAST else (), id=" ".join(filter(None, row)))
    for number, row in enumerate(map(list, AllPairs(PAIRS, filter_func=labelled)))
]


def data_of(name: str) -> list[str]:
    if name == "digits":
        return SMALL
    source = ["data.module.source={_target_: labelled_data.Labelled}", f"+data.module.source.kind={name}"]
    return [*SMALL, *source, "data.image_shape=null", "data.condition=null"]


def members_of(runs: list[Run]) -> list[Member]:
    members: list[Member] = []
    for run in runs:
        members.append(Member(run, members))
    return members


def checkpoint_of(run: Run) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)
    return content


def differences(a: Any, b: Any, place: str = "", tolerance: float = TOLERANCE) -> list[str]:
    """Where two checkpoints differ by more than the rounding of float32, a few steps on."""
    if isinstance(a, dict) and isinstance(b, dict):
        unknown = [f"{place}/{key}" for key in a.keys() ^ b.keys() if key != "packed"]
        shared = ((f"{place}/{key}", a[key], b[key]) for key in a if key in b and key not in TIMES)
        return [*unknown, *itertools.chain(*(differences(x, y, name, tolerance) for name, x, y in shared))]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return differences(dict(enumerate(a)), dict(enumerate(b)), place, tolerance)
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a.is_floating_point() and a.shape == b.shape:
        apart, largest = (float(value.abs().max()) if a.numel() else 0.0 for value in (a - b, a))
        return [] if apart <= tolerance * max(largest, 1.0) else [f"{place}: {apart:.2g} of {largest:.2g}"]
    if isinstance(a, float) and isinstance(b, float):
        return [] if math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance) else [f"{place}: {a} and {b}"]
    same = torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b
    return [] if same else [f"{place}: {a} and {b}"]


def check_alike(alone: Run, packed: Run) -> None:
    assert differences(checkpoint_of(alone), checkpoint_of(packed)) == []


@pytest.mark.parametrize("row", ROWS)
def test_a_pack_leaves_the_checkpoints_of_runs_alone(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, row: list[str]
) -> None:
    monkeypatch.setenv(PLUGINS, "labelled_data")
    name, *choices = row
    words = [*data_of(name), *" ".join(choices).split()]
    alone, packed = ([make_run(f"{way}{n}", *words, *own) for n, own in enumerate(OWN)] for way in ("alone", "packed"))
    assert why_alone(packed[0].raw_config) is None
    train_packed(members_of(packed))
    for one, other in zip(alone, packed, strict=True):
        train(one)
        check_alike(one, other)


@pytest.mark.parametrize("choice", CHOICES)
def test_each_choice_is_packed_or_trained_alone(make_run: MakeRun, choice: str) -> None:
    small = "network.channels=2" if choice in {"network=conv", "network=residual"} else "network.hidden=[8]"
    words = [*SMALL[:-1], choice, small, "epochs=1"]
    reason = why_alone(composed(*words))
    assert (reason is not None) == (choice in ALONE), reason
    if reason is None:
        if choice == "logger=mlflow":
            pytest.importorskip("mlflow")
        alone, packed, other = (make_run(name, *words) for name in ("alone", "packed", "other"))
        train(alone)
        train_packed(members_of([packed, other]))
        check_alike(alone, packed)
    else:
        assert reason.split("=")[0].split(".")[0] in {choice.split("=")[0], "callbacks"}


@pytest.mark.parametrize(
    "change",
    [
        *(f"data.{key}" for key in ("max_shift=1", "flip=both", "binarize=dynamic")),
        *(f"data.module.{key}" for key in ("max_shift=1", "flip=both", "binarize=dynamic")),
        "model.label_dropout=0.1",
        "trainer.precision=bf16-mixed",
        "+trainer.gradient_clip_val=1",
        "+trainer.accumulate_grad_batches=2",
        "+callbacks.mine={_target_: own_parts.Mine}",
        "likelihood={_target_: own_parts.Mine}",
    ],
)
def test_what_a_pack_does_not_know_is_trained_alone(change: str) -> None:
    key = change.lstrip("+").partition("=")[0].replace("data.module.", "data.")
    assert str(why_alone(composed(change))).replace("data.module.", "data.").startswith(key)
    assert why_alone(composed()) is None


def test_runs_of_a_pack_differ_in_lr_beta_and_seed_only() -> None:
    of = kind(composed())
    changes = "lr=0.1 beta=3 seed=5 optimizer.lr=0.2 evaluators=full sampler=mixture figures=none logger=csv"
    for same in [*changes.split(), "logger.tensorboard.name=mine"]:
        assert kind(composed(same)) == of, same
    for other in (
        "epochs=11",
        "latent_dim=3",
        "batch_size=3",
        "network.hidden=[3]",
        "likelihood=bernoulli",
        "backward_precision=highest",
        "data=digits",
        "data.module.source.split_seed=${seed} seed=1",
        "bound.free_bits=0.1",
        "prior=learned",
    ):
        assert kind(composed(*other.split())) != of, other


def test_the_run_is_then_complete_by_the_ordinary_training(make_run: MakeRun) -> None:
    alone, packed, other = (make_run(name, *SMALL) for name in ("alone", "packed", "other"))
    train_packed(members_of([packed, other]))
    for run in (alone, packed):
        train(run)
    assert differences(alone.metrics["val"], packed.metrics["val"], tolerance=1e-3) == []
    assert differences(alone.metrics["test"], packed.metrics["test"], tolerance=1e-3) == []
    assert [run.metrics["environment"].get("packed") for run in (alone, packed)] == [False, True]
    assert packed.metrics["time"]["fit_seconds"] > 0


def test_a_longer_run_goes_on_from_a_packed_one_only_in_a_pack(make_sweep: MakeSweep) -> None:
    jobs = [[*SMALL, f"epochs={epochs}", f"seed={seed}"] for epochs in (1, 2) for seed in (0, 1)]
    short, other, long, last = make_sweep(*jobs)
    train_packed(members_of([short, other]))
    for run in (short, other):
        train(run)
    members = members_of([long])
    assert members[0].epochs == 1
    train(last)
    assert checkpoint_of(last)["callbacks"]["History"]["rows"][0].keys().isdisjoint({"packed"}), (
        "trained from the start"
    )


def test_a_pack_goes_on_from_an_epoch_as_a_run_alone_does(make_sweep: MakeSweep, make_run: MakeRun) -> None:
    short, long = make_sweep([*SMALL, "epochs=1"], [*SMALL, "epochs=3"])
    train(short)
    packed = [Run.begin(short.path.parent / str(2 + n), long.raw_config) for n in range(2)]
    for run in packed:
        (run.path / "checkpoints").mkdir()
        (run.path / "checkpoints" / "last.ckpt").write_bytes((short.path / "checkpoints" / "last.ckpt").read_bytes())
    train(long)
    members = members_of(packed)
    assert [member.epochs for member in members] == [1, 1]
    train_packed(members)
    check_alike(long, packed[0])


def test_a_pack_that_was_killed_goes_on(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [[*SMALL, "epochs=4", *own] for own in OWN]
    whole, killed = ([make_run(f"{name}{n}", *word) for n, word in enumerate(words)] for name in ("whole", "killed"))
    train_packed(members_of(whole))
    monkeypatch.setattr(pack_training, "MOST_OF_TIME", math.inf)  # write after each epoch
    with monkeypatch.context() as patch:
        patch.setattr(Stack, "step", stopping(Stack.step, count=checkpoint_of(whole[0])["global_step"] // 2 + 1))
        with pytest.raises(Stop):
            train_packed(members_of(killed))
    assert {checkpoint_of(run)["epoch"] + 1 for run in killed} == {2}
    train_packed(members_of(killed))
    for one, other in zip(whole, killed, strict=True):
        check_alike(one, other)


def stopping(step: Callable[..., Any], count: int) -> Callable[..., Any]:
    numbers = itertools.count()

    def counted(*arguments: Any) -> Any:
        if next(numbers) == count:
            raise Stop
        return step(*arguments)

    return counted


def test_a_diverging_run_does_not_harm_the_others(make_run: MakeRun, caplog: pytest.LogCaptureFixture) -> None:
    words = [*SMALL, "likelihood=bernoulli"]
    lrs = ("0.001", "1e30", "0.005")
    packed = [make_run(f"packed{lr}", *words, f"lr={lr}") for lr in lrs]
    train_packed(members_of(packed))
    assert f"{packed[1].path} leaves the pack: its loss is not finite." in caplog.text
    for run, lr in zip(packed[::2], lrs[::2], strict=True):
        alone = make_run(f"alone{lr}", *words, f"lr={lr}")
        train(alone)
        check_alike(alone, run)
    weights = checkpoint_of(packed[1])["state_dict"]
    assert all(weight.isfinite().all() for weight in weights.values()), "its last good checkpoint"
    with pytest.raises(NonFiniteLoss, match="Lower lr"):
        train(packed[1])


def test_a_pack_of_diverging_runs_ends(make_run: MakeRun) -> None:
    runs = [make_run(f"run{seed}", *SMALL, "likelihood=bernoulli", "lr=1e30", f"seed={seed}") for seed in range(2)]
    train_packed(members_of(runs))
    assert [checkpoint_of(run)["global_step"] for run in runs] == [0, 0]


def test_a_pack_that_does_not_fit_is_refused(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    members = members_of([make_run(f"run{n}", *SMALL) for n in range(2)])
    monkeypatch.setattr("cvae_lightning.core.capacity.available_memory", lambda: 1000)
    with pytest.raises(UserError, match="memory"):
        train_packed(members)


def test_on_a_gpu_a_pack_launches_as_few_kernels_as_one_run(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_rounds_nothing", lambda: False)
    monkeypatch.setattr(Member, "_own_stream", 0)  # all generators of a pretended GPU are the CPU's
    steps: list[Counts] = []
    step = Stack.step
    num = 6
    on_cpu, on_gpu = (
        [make_run(f"{device}{n}", *SMALL, f"accelerator={device}", f"seed={n}") for n in range(num)]
        for device in ("cpu", "gpu")
    )
    with pretended_gpu() as counts:

        def counted(*arguments: Any) -> Any:
            before = counts.copy()
            result = step(*arguments)
            steps.append(counts - before)
            return result

        members = members_of(on_gpu)
        before = counts.copy()
        with monkeypatch.context() as patch:
            patch.setattr(Stack, "step", counted)
            train_packed(members)
        epochs = counts - before
    train_packed(members_of(on_cpu))
    for one, other in zip(on_cpu, on_gpu, strict=True):
        assert differences(checkpoint_of(one), checkpoint_of(other), tolerance=0) == []
    assert {(step.waits, step.copies_to_gpu) for step in steps} == {(0, 0)}
    assert max(step.launches for step in steps) <= 105
    around = epochs.launches / len(steps) - steps[-1].launches
    assert around <= 2 * num + 40, "noise is drawn run by run; images are taken for all at once"


def test_a_run_whose_training_had_ended_is_done(make_run: MakeRun) -> None:
    run, other = (make_run(name, *SMALL) for name in ("run", "other"))
    train_packed(members_of([run, other]))
    before = checkpoint_of(run)
    (member,) = members_of([run])
    assert member.done
    assert differences(before, checkpoint_of(run), tolerance=0) == []
