"""A run: what it leaves, that it can be interrupted anywhere, and that its numbers are the same again."""

import copy
import json
import logging
import os
import re
import signal
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from helpers import (
    INTERRUPTIONS,
    MakeRun,
    Stop,
    StopAt,
    composed,
    evaluate_again,
    events,
    leave_checkpoint,
    metrics_of_a_run,
    without_times,
)
from lightning_fabric.utilities.rank_zero import _get_rank, rank_zero_only
from omegaconf import OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file

from cvae_lightning.core import products
from cvae_lightning.core.build import load_group
from cvae_lightning.core.errors import DataUnavailable, NonFiniteLoss, UserError
from cvae_lightning.core.products import exact_products
from cvae_lightning.data.sources import ReadOnce
from cvae_lightning.data.splits import Split
from cvae_lightning.drawing.inputs import split_of
from cvae_lightning.models.latents import DiagonalGaussian
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.configuration import difference
from cvae_lightning.runs.run import Run
from cvae_lightning.training import parts
from cvae_lightning.training.callbacks.averaging import EMA
from cvae_lightning.training.callbacks.checkpoint import LastCheckpoint, WholeCheckpointIO
from cvae_lightning.training.callbacks.history import History
from cvae_lightning.training.train import train

KEYS = ["schema", "model", "network", "hidden", "injection", "likelihood", "variance"]
KEYS += ["binarize", "prior", "prior_components", "bound", "warmup_epochs", "free_bits", "num_samples"]
KEYS += ["parameters", "epochs", "latent_dim", "lr", "batch_size", "beta", "seed", "optimizer", "schedule"]
KEYS += ["sampler", "components", "temperature", "averaging", "averaging_decay", "max_shift"]
KEYS += ["flip", "balance", "labelled", "label_dropout"]
KEYS += ["precision", "backward_precision", "dataset", "val", "test", "absent", "time", "environment"]
KEYS += ["weights_sha256"]
METRICS = ["elbo", "log_likelihood", "kl", "loss", "ssim", "mse", "fid_pixel", "score", "score_uncapped"]


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model=vae",),
        ("network=conv",),
        ("network=residual", "trainer.precision=bf16-mixed"),
        ("likelihood=bernoulli", "model=vae"),
        ("likelihood=gaussian_optimal", "bound=iwae"),
    ],
)
def test_a_run_directory_explains_itself(make_run: MakeRun, overrides: tuple[str, ...]) -> None:
    run = make_run("run", *overrides)
    assert not run.complete
    metrics = train(run)
    assert run.complete
    assert json.loads((run.path / "metrics.json").read_text()) == metrics
    assert list(run.metrics) == KEYS
    conditional = "model=vae" not in overrides
    for split in ("val", "test"):
        numbers = run.metrics[split]
        assert list(numbers) == METRICS
        assert [name for name, value in numbers.items() if value is None] == ([] if conditional else ["fid_pixel"])
        assert numbers["loss"] == pytest.approx(numbers["kl"] - numbers["log_likelihood"], rel=1e-5)
    dataset = run.metrics["dataset"]
    assert [dataset[key] for key in ("name", "train", "val", "test")] == ["mnist", 300, 60, 60]
    assert len(dataset["files"]) == 4
    files = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    figures = {"samples", "reconstructions", "loss"} | ({"samples_2_7_9"} if conditional else set())
    assert {f"figures/{name}.png" for name in figures} | {"checkpoints/last.ckpt", "model.safetensors"} <= files
    assert not [name for name in files if name.endswith(".part")]
    links = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (run.path / "README.md").read_text())
    assert set(links) == {f"figures/{name}.png" for name in figures}, "its card shows them"
    samples = run.sample([2, 7, 9]) if conditional else run.sample(num=3)
    assert samples.shape == (3, 1, 28, 28)


def test_measuring_a_run_again_gives_the_same_numbers(make_run: MakeRun) -> None:
    run = make_run("run")
    train(run)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    assert evaluate_again(Run(run.path), {})._asdict() == {key: run.metrics[key] for key in ("val", "test", "absent")}
    assert before == {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}, "nothing is written"


def test_only_a_run_itself_changes_its_configuration(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("run", "epochs=1")
    train(run)
    before = OmegaConf.to_yaml(run.raw_config)
    evaluate_again(run, {"evaluators": {}})
    with pytest.raises(UserError, match="nowhere"):
        split_of(run, "val", {"data_dir": str(tmp_path / "nowhere")})
    assert OmegaConf.to_yaml(run.raw_config) == before


def test_likelihood_and_latents_of_a_finished_run_can_be_measured(make_run: MakeRun) -> None:
    run = make_run("run", "model=vae", "likelihood=bernoulli", "data.binarize=dynamic")
    train(run)
    files = {"nll": "likelihood", "latents": "full"}
    overrides = {"evaluators": {name: load_group("evaluators", file)[name] for name, file in files.items()}}
    numbers, same = (evaluate_again(Run(run.path), overrides) for _ in range(2))
    assert numbers == same
    for split in ("val", "test"):
        values = {name: float(value or 0) for name, value in numbers._asdict()[split].items()}
        assert values["elbo"] == run.metrics[split]["elbo"], "on the same draws of the images"
        assert 0 < values["nll_iw"] < -values["elbo"]
        assert values["nll_iw_samples"] == 100
        assert values["active_units"] in range(4)
        assert 0 <= values["label_leak"] <= 1


@pytest.mark.parametrize(("hook", "count"), INTERRUPTIONS)
def test_an_interrupted_run_ends_with_the_bits_of_an_undisturbed_one(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, hook: str, count: int
) -> None:
    whole, interrupted = make_run("whole", "epochs=3"), make_run("interrupted", "epochs=3")
    train(whole)
    build_trainer = parts.build_trainer
    with monkeypatch.context() as patch:
        add = lambda config, callbacks, **kw: build_trainer(config, [*callbacks, StopAt(hook, count)], **kw)  # noqa: E731
        patch.setattr(parts, "build_trainer", add)
        with pytest.raises(Stop):
            train(interrupted)
    assert not interrupted.complete
    torch.rand(7)  # whatever happens in between
    train(Run(interrupted.path))
    assert (interrupted.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
    assert without_times(interrupted.metrics) == without_times(whole.metrics)


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("network=residual", "trainer.precision=bf16-mixed"),
        ("model=m2", "data.labelled=50"),
        ("model=m1m2", "data.labelled=50", "model.first_epochs=2"),
    ],
)
def test_the_state_of_all_that_has_one_is_resumed_too(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    settings = ["epochs=3", "likelihood=gaussian_optimal", "bound.warmup_epochs=2", "data.binarize=dynamic"]
    settings += ["data.max_shift=1", "optimizer=adamw", "schedule=one_cycle", "sampler=gaussian", "prior=learned"]
    settings += more
    whole, interrupted = make_run("whole", *settings), make_run("interrupted", *settings)
    train(whole)
    build_trainer = parts.build_trainer
    with monkeypatch.context() as patch:
        stop = StopAt("on_train_batch_end", 8)
        add = lambda config, callbacks, **kw: build_trainer(config, [*callbacks, stop], **kw)  # noqa: E731
        patch.setattr(parts, "build_trainer", add)
        with pytest.raises(Stop):
            train(interrupted)
    train(Run(interrupted.path))
    assert without_times(interrupted.metrics) == without_times(whole.metrics), "the digest of the weights is in it"


def test_a_run_is_the_same_whatever_came_before_it(make_run: MakeRun) -> None:
    first = train(make_run("first"))
    train(make_run("other", "seed=5", "model=vae", "network=conv"))
    assert without_times(train(make_run("again"))) == without_times(first)
    assert without_times(train(make_run("seed", "seed=1")))["val"] != first["val"]


def test_adding_an_evaluator_changes_nothing_in_the_training(make_run: MakeRun) -> None:
    plain, watched = (
        make_run("plain", "~evaluators.grader", "objective=val/elbo"),
        make_run("watched", "evaluators.grader.samples_per_class=7"),
    )
    train(plain)
    train(watched)
    assert (plain.path / "model.safetensors").read_bytes() == (watched.path / "model.safetensors").read_bytes()
    for name in ("elbo", "kl"):
        assert plain.metrics["val"][name] == watched.metrics["val"][name]
    assert "ssim" not in plain.metrics["val"]


def test_the_val_curve_is_drawn_at_the_same_noise_each_epoch(make_run: MakeRun) -> None:
    """The last point of the curve is the final number."""
    run = make_run("run")
    train(run)
    curve = [event.value for event in events(run).Scalars("val/elbo")]
    assert len(curve) == 3, "two epochs and the evaluation"
    assert curve[-1] == curve[-2] == pytest.approx(run.metrics["val"]["elbo"])


def test_tensorboard_has_one_row_of_hyper_parameters_with_the_final_metrics(make_run: MakeRun) -> None:
    rows = {}
    for model in ("vae", "cvae"):
        run = make_run(model, f"model={model}")
        train(run)
        board = events(run)
        assert board.PluginTagToContent("hparams").keys() >= {"_hparams_/experiment", "_hparams_/session_start_info"}
        content = board.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        rows[model] = HParamsPluginData.FromString(content).session_start_info.hparams
        assert rows[model]["latent_dim"].number_value == 3
        assert board.Scalars("final/ssim")[0].value == pytest.approx(run.metrics["val"]["ssim"])
        assert not [tag for tag in board.Tags()["scalars"] if tag == "hp_metric"]
    assert rows["vae"].keys() == rows["cvae"].keys()


def test_a_loss_that_is_not_finite_stops_before_the_step(make_run: MakeRun) -> None:
    run = make_run("run", "lr=1e30", "epochs=5")
    with pytest.raises(
        NonFiniteLoss, match=r"Expected a finite loss, got (nan|inf) at step \d+ \(epoch \d\)\. Lower lr"
    ):
        train(run)
    assert not run.complete
    state = torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(weights.isfinite().all() for weights in state.values())


def test_the_backward_pass_alone_may_round(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[str]] = {"forward": set(), "backward": set(), "evaluation": set()}
    forward = DiagonalGaussian.rsample

    def rsample(q: DiagonalGaussian) -> torch.Tensor:
        seen["forward" if torch.is_grad_enabled() else "evaluation"].add(torch.get_float32_matmul_precision())
        z = forward(q)
        if z.requires_grad:
            z.register_hook(lambda _: seen["backward"].add(torch.get_float32_matmul_precision()))
        return z

    monkeypatch.setattr(DiagonalGaussian, "rsample", rsample)
    train(make_run("run"))
    with exact_products(torch.device("cpu")):
        exact = torch.get_float32_matmul_precision()  # "medium" where that rounds nothing
    assert seen == {"forward": {exact}, "backward": {"medium"}, "evaluation": {exact}}
    assert torch.get_float32_matmul_precision() == "highest", "as it was before"


@pytest.mark.parametrize(("flag", "precision"), [("avx2", "32-true"), ("avx512_bf16", "bf16-mixed"), ("", "32-true")])
def test_auto_is_the_precision_that_is_fastest_here(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str, precision: str
) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags : sse {flag} fxsr\n")
    monkeypatch.setattr(products, "CPUINFO", tmp_path / "cpuinfo")
    products.multiplies_in_bfloat16.cache_clear()
    try:
        run = make_run("run", "trainer.precision=auto", "epochs=1")
        assert train(run)["precision"] == precision
    finally:
        products.multiplies_in_bfloat16.cache_clear()
    assert Run(run.path).raw_config.trainer.precision == precision
    asked = make_run("asked", "trainer.precision=auto", "epochs=1").raw_config
    assert difference(asked, Run(run.path).raw_config) is None, "the same command continues the run"


def test_val_and_test_are_measured_in_float32_whatever_the_training_rounds(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[bool]] = {"training": set(), "evaluation": set()}
    forward = DiagonalGaussian.rsample

    def rsample(q: DiagonalGaussian) -> torch.Tensor:
        if not q.mean.is_meta:  # how much memory a batch needs is found out before the training
            seen["training" if torch.is_grad_enabled() else "evaluation"].add(torch.is_autocast_enabled("cpu"))
        return forward(q)

    monkeypatch.setattr(DiagonalGaussian, "rsample", rsample)
    run = make_run("run", "trainer.precision=bf16-mixed")
    train(run)
    assert seen == {"training": {True}, "evaluation": {False}}
    assert run.metrics["precision"] == "bf16-mixed"


def test_weights_are_unchanged_when_the_loss_is_not_finite(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
            seen.append({name: weights.clone() for name, weights in pl_module.state_dict().items()})
            if len(seen) == 3:
                monkeypatch.setattr(cast(VAE, pl_module).bound, "beta", float("nan"))

        def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
            seen.append(pl_module.state_dict())

    build_trainer = parts.build_trainer
    add = lambda config, callbacks, **kw: build_trainer(config, [*callbacks, Watch()], **kw)  # noqa: E731
    monkeypatch.setattr(parts, "build_trainer", add)
    with pytest.raises(NonFiniteLoss, match="step 2 "):
        train(make_run("run"))
    assert len(seen) == 4
    assert all(torch.equal(seen[2][name], seen[3][name]) for name in seen[2])


class Payload:
    """What a pickle of it would run when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("payload-was-run"),))


def test_a_checkpoint_with_code_in_it_is_refused_and_nothing_runs(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run("run")
    checkpoint = run.path / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir()
    torch.save({"state_dict": Payload()}, checkpoint)
    with pytest.raises(UserError, match=r"Expected a checkpoint of tensors and plain values, got .*last\.ckpt"):
        train(run)
    checkpoint.write_bytes(b"no checkpoint at all")
    with pytest.raises(UserError, match=r"Expected a checkpoint of tensors and plain values, got .*last\.ckpt"):
        train(run)
    assert not Path("payload-was-run").exists()


def test_weights_that_were_exchanged_are_refused(make_run: MakeRun) -> None:
    run = make_run("run")
    train(run)
    weights = run.path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"Expected the weights that metrics\.json names, got others in .*safetensors"):
        Run(run.path).model()
    weights.unlink()
    with pytest.raises(UserError, match=r"Expected the weights that metrics\.json names"):
        Run(run.path).model()


def test_saved_weights_are_those_of_the_last_checkpoint(make_run: MakeRun) -> None:
    run = make_run("run")
    train(run)
    checkpoint = torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)
    weights = load_file(run.path / "model.safetensors")
    assert weights.keys() == checkpoint["state_dict"].keys()
    assert all(torch.equal(weights[name], checkpoint["state_dict"][name]) for name in weights)
    assert checkpoint["epoch"] == 1


def test_a_checkpoint_is_written_while_the_training_goes_on_and_a_failure_is_raised(tmp_path: Path) -> None:
    """It has the state at the time of the call."""
    checkpoint_io, weights, last = WholeCheckpointIO(), torch.zeros(3), tmp_path / "checkpoints" / "last.ckpt"
    checkpoint_io.save_checkpoint({"weights": weights}, last)
    weights += 1
    checkpoint_io.teardown()
    assert torch.equal(torch.load(last, weights_only=True)["weights"], torch.zeros(3))
    (tmp_path / "file").touch()
    checkpoint_io.save_checkpoint({}, tmp_path / "file" / "last.ckpt")
    with pytest.raises(OSError, match="file"):
        checkpoint_io.save_checkpoint({}, tmp_path / "file" / "last.ckpt")
    checkpoint_io.save_checkpoint({}, tmp_path / "file" / "last.ckpt")
    with pytest.raises(OSError, match="file"):
        checkpoint_io.teardown()
    checkpoint_io.teardown()


def test_without_files_and_network_the_digits_are_trained_on(
    make_run: MakeRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run("run", f"data_dir={tmp_path / 'empty'}", "epochs=1", "batch_size=8192")
    with caplog.at_level(logging.WARNING):
        metrics = train(run)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "Expected the files of mnist in" in line
    assert "the tests have no network" in line
    assert "Training on the embedded digits instead" in line
    assert metrics["dataset"]["name"] == "digits"
    assert Run(run.path).config["data"]["name"] == "digits"
    assert evaluate_again(Run(run.path), {}).val == metrics["val"]


def test_the_digits_are_treated_as_the_data_they_stand_for(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("run", f"data_dir={tmp_path / 'empty'}", "data.binarize=dynamic", "data.max_shift=1")
    asked = copy.deepcopy(run.raw_config)
    run.fall_back()
    assert parts.build_data(run.raw_config).binarize == "dynamic"
    assert parts.build_data(run.raw_config).max_shift == 1
    assert Run(run.path).config["data"]["binarize"] == "dynamic"
    leave_checkpoint(run)
    assert Run.begin(run.path, asked).raw_config.data.name == "digits"
    asked.data.binarize = None
    with pytest.raises(UserError, match=r"already holds a run with data\.binarize=dynamic, not data\.binarize=None"):
        Run.begin(run.path, asked)


def test_without_a_fallback_missing_files_are_an_error(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("run", f"data_dir={tmp_path / 'empty'}", "data.fallback=null")
    with pytest.raises(DataUnavailable, match=r"Expected the files of mnist in .* \(data_dir\), got none"):
        train(run)


def test_a_begun_run_and_an_evaluation_never_change_their_data(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("run")
    train(run)
    config = (run.path / ".hydra" / "config.yaml").read_text()
    with pytest.raises(DataUnavailable):
        evaluate_again(Run(run.path), {"data_dir": str(tmp_path / "empty")})
    (run.path / "metrics.json").unlink()
    gone = Run(run.path)
    gone.raw_config.data_dir = str(tmp_path / "empty")
    with pytest.raises(DataUnavailable):
        train(gone)
    assert (run.path / ".hydra" / "config.yaml").read_text() == config


REFUSALS = {
    "lr=0": r"\(lr\), got 0",
    "latent_dim=0": r"\(latent_dim\), got 0",
    "epochs=0": r"\(epochs\), got 0",
    "beta=-1": r"\(beta\), got -1",
    "batch_size=0": r"\(batch_size\), got 0",
    "seed=-1": r"\(seed\), got -1",
    "likelihood.variance=-0.5": r"\(likelihood\.variance\), got -0\.5",
    "data.passes_per_epoch=0": r"\(data\.passes_per_epoch\), got 0",
    "evaluators.grader.samples_per_class=0": r"\(evaluators\.grader\.samples_per_class\), got 0",
    "accelerator=abacus": r"Expected auto, cpu or gpu \(accelerator\), got 'abacus'",
    "data.binarize=grey": r"Expected null, dynamic or static-threshold \(data\.binarize\), got 'grey'",
    "bound.free_bits=-1": r"\(bound\.free_bits\), got -1",
    "backward_precision=low": r"\(backward_precision\), got 'low'",
    "objective=test/score": r"\(objective\), got 'test/score'",
    "objective=val/beauty": r"\(objective\), got 'val/beauty'",
    "seed=4294967296": r"Expected an integer below 2 \*\* 32 \(seed\), got 4294967296",
    "data.max_shift=28": r"Expected fewer than 28 pixels \(data\.max_shift\), got 28",
    "data.fallback=cifar": r"Expected null or digits \(data\.fallback\), got 'cifar'",
    "trainer.devices=2": r"Expected one device \(trainer\.devices\), got 2\. A sweep may use several",
    "trainer.max_epochs=7": r"Expected the number of epochs \(trainer\.max_epochs\), got 7\. Set epochs instead\.",
    "trainer.precision=17": r"Expected arguments that fit \(trainer\), got: ",
    "trainer.precision=bf16-true": r"Expected auto or one of 32-true, .* \(trainer\.precision\), got 'bf16-true'",
    "trainer.precision=64-true": r"Expected auto or one of 32-true, .* \(trainer\.precision\), got '64-true'",
    "trainer.precision=transformer-engine": r"Expected arguments that fit \(trainer\), got: .*transformer_engine",
    "model._target_=os.getcwd": r"\(_target_\), got 'os.getcwd'",
}


@pytest.mark.parametrize(
    ("data", "objective"),
    [
        ("mnist", "score_uncapped"),
        ("emnist", "score_uncapped"),
        ("folder", "elbo"),
        ("cifar100", "elbo"),
        ("npz", "elbo"),
    ],
)
def test_sweeps_rank_by_the_score_where_the_paper_defines_it(data: str, objective: str) -> None:
    assert composed(f"data={data}").objective == f"val/{objective}"
    assert composed(f"data={data}", "objective=val/mse").objective == "val/mse"


@pytest.mark.parametrize("override", REFUSALS)
def test_what_is_out_of_range_is_refused_before_any_data_is_read(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, override: str
) -> None:
    def read(*_: Any) -> None:
        raise AssertionError("data was read")

    monkeypatch.setattr("cvae_lightning.data.idx_source.IdxSource.prepare", read)
    if override.startswith("data.passes"):
        override = "+data.module." + override.removeprefix("data.")
    run = make_run("run", override)
    with pytest.raises(UserError, match=REFUSALS.get(override, r"\(data\.passes_per_epoch\), got 0")):
        train(run)
    run.discard_unless_begun()
    assert not run.path.exists()


def test_a_gpu_that_is_not_there_is_refused(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("cuda", "mps"):
        monkeypatch.setattr(f"pytorch_lightning.accelerators.{library}.{library.upper()}Accelerator.is_available", bool)
    with pytest.raises(UserError, match=r"Expected an accelerator that this machine has \(accelerator\), got 'gpu'"):
        train(make_run("run", "accelerator=gpu"))


def test_a_readme_that_is_no_card_is_not_overwritten(make_run: MakeRun, tmp_path: Path) -> None:
    config = make_run("run").raw_config
    readme = tmp_path / "project" / "README.md"
    readme.parent.mkdir()
    readme.write_text("# A project")
    with pytest.raises(UserError, match=r"Expected a folder without README\.md \(hydra\.run\.dir\), got "):
        Run.begin(readme.parent, config)
    assert list(readme.parent.iterdir()) == [readme]


def test_discarding_spares_begun_runs_and_other_files(make_run: MakeRun) -> None:
    begun, strange = make_run("begun"), make_run("strange")
    leave_checkpoint(begun)
    (strange.path / "thesis.tex").touch()
    for run in (begun, strange):
        run.discard_unless_begun()
    assert (begun.path / ".hydra" / "config.yaml").exists()
    assert [path.name for path in strange.path.iterdir()] == ["thesis.tex"]


def test_what_is_no_run_directory_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", "https://example.org/run"):
        with pytest.raises(UserError, match=r"Expected a run directory, which holds .hydra/config.yaml \(run\), got "):
            Run(path)
    with pytest.raises(UserError, match=r"Expected a complete run, .* Continue it: .* resume="):
        _ = Run(make_run("run").path).metrics


def test_the_checkpoint_comes_after_what_it_is_to_hold(make_run: MakeRun) -> None:
    """So that History's row of the epoch, and the average of the weights, are in it."""
    callbacks: list[Callback] = parts.training_parts(make_run("run", "averaging=ema")).trainer.callbacks  # type: ignore[attr-defined]  # set outside Trainer.__init__
    kinds = [type(callback) for callback in callbacks]
    assert kinds[0] is History
    assert kinds[-2:] == [EMA, LastCheckpoint]


def test_metrics_json_has_no_nan(make_run: MakeRun) -> None:
    run = make_run("run")
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        run.write_result({"weight": torch.zeros(1)}, metrics_of_a_run(val={"elbo": float("nan")}))
    assert not run.complete
    run.write_result({"weight": torch.zeros(1)}, metrics_of_a_run(val={"elbo": None}))
    assert json.loads((run.path / "metrics.json").read_text())["val"]["elbo"] is None


INHERITED = {
    "torchrun": {
        "RANK": "1",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "4",
        "GROUP_RANK": "1",
        "NODE_RANK": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29500",
        "TORCHELASTIC_RUN_ID": "none",
    },
    "Slurm": {
        "SLURM_PROCID": "2",
        "SLURM_LOCALID": "2",
        "SLURM_NODEID": "1",
        "SLURM_NTASKS": "4",
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NAME": "train",
        "SLURM_NODELIST": "n[1-2]",
    },
    "LSF": {
        "LSB_JOBID": "7",
        "LSB_DJOB_RANKFILE": "/nowhere",
        "JSM_NAMESPACE_RANK": "3",
        "JSM_NAMESPACE_LOCAL_RANK": "3",
        "JSM_NAMESPACE_SIZE": "4",
    },
    "Lightning": {"PL_TRAINER_MAX_STEPS": "1", "PL_TRAINER_NUM_NODES": "2", "PL_GLOBAL_SEED": "9"},
}


@pytest.mark.parametrize("scheduler", INHERITED)
def test_a_run_on_one_device_ignores_the_ranks_that_it_inherits(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    for name, value in INHERITED[scheduler].items():
        monkeypatch.setenv(name, value)
    rank: Any = rank_zero_only  # which has an attribute of this name
    monkeypatch.setattr(rank, "rank", _get_rank() or 0)  # as Lightning does when it is imported
    run = make_run("run")
    train(run)
    assert rank.rank == 0
    assert list(run.path.glob("events.out.tfevents.*"))
    assert (run.path / "hparams.yaml").is_file()
    assert [event.step for event in events(run).Scalars("val/elbo")][:2] == [4, 9], "both epochs are whole"
    trainer = parts.build_trainer(run.raw_config, [], logger=False)
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)}
    connector = trainer._signal_connector
    connector.register_signal_handlers()
    assert signal.getsignal(signal.SIGUSR1) == handlers[signal.SIGUSR1], "submitit puts a job into the queue again"
    connector.teardown()
    assert handlers == {signum: signal.getsignal(signum) for signum in handlers}
    for name, value in INHERITED[scheduler].items():
        assert os.environ[name] == value


def test_a_class_that_only_test_has_is_named(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    read = ReadOnce.test_split

    def with_one_more(source: ReadOnce) -> Split:
        split = read(source)
        return split._replace(labels=split.labels + 1)

    monkeypatch.setattr(ReadOnce, "test_split", with_one_more)
    with pytest.raises(UserError, match=r"labels in 0\.\.9 \(data\.condition\), got 10"):
        train(make_run("run", "epochs=1"))
