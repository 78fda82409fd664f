"""What does not fit, on the disk or in memory, is refused before the work, and what is written in parts is the same."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import MakeRun, composed

from cvae_lightning.core import capacity
from cvae_lightning.core.archives import Parts, write_npz
from cvae_lightning.core.build import build
from cvae_lightning.core.capacity import available_memory, check_memory, readable
from cvae_lightning.core.errors import UserError
from cvae_lightning.drawing.commands import interpolate, sample, traverse
from cvae_lightning.models import inference
from cvae_lightning.models.bounds import ELBOBound
from cvae_lightning.runs.run import Run
from cvae_lightning.training.memory import saved_for_backward
from cvae_lightning.training.parts import check_model_fits
from cvae_lightning.training.train import check_batch_fits, train

COMMANDS = {"sample": sample, "interpolate": interpolate, "traverse": traverse}
MANY = 10**12


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, idx_dir: Path) -> Run:
    small = ["network.hidden=[16]", "epochs=1", "latent_dim=3", "accelerator=cpu"]
    made = Run.begin(tmp_path_factory.mktemp("run"), composed(f"data_dir={idx_dir}", *small))
    train(made)
    return made


@pytest.mark.parametrize(
    "given",
    [
        ("sample", f"num={MANY}"),
        ("sample", f"num={MANY}", "format=png"),
        ("interpolate", "between=samples", f"num={MANY}"),
        ("interpolate", "between=samples", f"steps={MANY}"),
        ("traverse", f"steps={MANY}"),
        ("traverse", f"steps={MANY}", "format=png"),
    ],
    ids=" ".join,
)
def test_what_cannot_fit_is_refused_with_its_size(run: Run, tmp_path: Path, given: tuple[str, ...]) -> None:
    command, *overrides = given
    key = next(override for override in overrides if override.endswith(str(MANY)))
    with pytest.raises(
        UserError, match=rf"^{key} needs [\d.]+ [TP]B .* [\d.]+ [kMGT]B are (free|available)\. Lower it"
    ):
        COMMANDS[command](composed(f"run={run.path}", f"out={tmp_path / 'out'}", *overrides, config_name=command))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "override",
    [
        f"latent_dim={MANY}",
        f"network.hidden=[{MANY}]",
        "sampler=mixture sampler.num_components=1000000000",
        "prior=learned prior.num_components=1000000000000",
        "network=conv network.channels=100000000",
        "network=residual network.blocks=1000000000",
    ],
)
def test_a_model_larger_than_the_memory_is_refused_before_it_is_built(override: str) -> None:
    with pytest.raises(UserError, match=r"needs [\d.]+ [TPE]B of memory, where [\d.]+ [MGT]B are available"):
        check_model_fits(composed(*override.split(), "accelerator=cpu"))


@pytest.mark.parametrize(
    "override",
    ["grader.samples_per_class", "+nll.num_samples", "+gradients.num_draws"],
)
def test_an_evaluator_that_needs_more_than_the_memory_is_refused(override: str) -> None:
    name, key = override.lstrip("+").split(".")
    choice = {"grader": "default", "nll": "likelihood", "gradients": "claims"}[name]
    config = composed(f"evaluators={choice}", f"evaluators.{name}.{key}={MANY}")
    with pytest.raises(UserError, match=rf"evaluators\.{name}\.{key}={MANY} needs .* of memory"):
        build(config.evaluators)


def test_a_batch_larger_than_the_memory_is_refused() -> None:
    iwae, elbo = (build(composed(*words).model) for words in (["bound=iwae", f"bound.num_samples={MANY}"], []))
    with pytest.raises(UserError, match=rf"A batch of 7 images, {MANY} draws each, needs .* Lower bound\.num_samples"):
        check_batch_fits(iwae, 7)
    with pytest.raises(UserError, match=rf"A batch of {MANY} images needs [\d.]+ PB of memory, .* Lower batch_size\."):
        check_batch_fits(elbo, MANY)
    check_batch_fits(elbo, 100)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_learned", "gaussian_optimal", "continuous_bernoulli"])
@pytest.mark.parametrize("network", ["mlp", "conv", "residual"])
def test_what_a_batch_keeps_for_its_gradient_is_known_without_computing_it(network: str, likelihood: str) -> None:
    given = [f"network={network}", f"likelihood={likelihood}", "data.image_shape=[3,30,20]"]
    model = build(composed(*given).model)
    own = {parameter.data_ptr() for parameter in model.parameters()}
    before, state = torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}
    expected = saved_for_backward(model, 7)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())

    kept: dict[int, torch.Tensor] = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.setdefault(one.data_ptr(), one), lambda one: one):
        model.bound.loss(model, torch.rand(7, 3, 30, 20), torch.arange(7), epoch=0)
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage() for one in kept.values()}
    assert expected == sum(storage.nbytes() for place, storage in storages.items() if place not in own)


def test_a_batch_of_large_images_whose_feature_maps_do_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are many times as large as the images."""
    model = build(composed("network=residual", "data.image_shape=[3,256,256]", "model=vae").model)
    per_image = saved_for_backward(model, 1)
    assert per_image > 20 * 4 * math.prod(model.image_shape)
    assert saved_for_backward(model, 10) == pytest.approx(10 * per_image, rel=0.01)
    num = 10**9 // per_image
    monkeypatch.setattr(capacity, "available_memory", lambda: 10**9)
    check_batch_fits(model, num // 2)
    check_batch_fits(model, num, "bf16-mixed")
    with pytest.raises(UserError, match=rf"A batch of {2 * num} images needs .* Lower batch_size\."):
        check_batch_fits(model, 2 * num)


def test_a_part_that_reads_values_is_not_refused_for_it() -> None:
    class Reading(ELBOBound):
        def loss(self, *given: Any, **named: Any) -> Any:
            loss, elbo = super().loss(*given, **named)
            assert math.isfinite(loss.item())
            return loss, elbo

    model = build(composed("model=vae").model)
    model.bound = Reading()
    assert saved_for_backward(model, 7) == 0
    check_batch_fits(model, 7)


def test_passes_whose_order_is_larger_than_the_memory_are_refused(make_run: MakeRun) -> None:
    with pytest.raises(UserError, match=r"data\.passes_per_epoch=1000000000 needs"):
        train(make_run("run", "+data.module.passes_per_epoch=1000000000"))


def test_memory_is_what_the_system_or_the_container_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit, info = tmp_path / "memory.max", tmp_path / "meminfo"
    monkeypatch.setattr(capacity, "CGROUP_LIMIT", limit)
    monkeypatch.setattr(capacity, "MEMINFO", info)
    whole = available_memory()
    for content, expected in (("max\n", whole), ("4096\n", 4096)):
        limit.write_text(content)
        assert available_memory() == expected
    info.write_text("MemTotal:       1000 kB\nMemAvailable:       3 kB\n")
    assert available_memory() == 3 * 1024
    check_memory(3 * 1024, "It", "")
    with pytest.raises(UserError, match=r"It needs 3\.07 kB of memory, where 3\.07 kB are available"):
        check_memory(3 * 1024 + 1, "It", "")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (999_600, "1 MB"), (313 * 10**9, "313 GB"), (5 * 10**21, "5e+03 EB")],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert readable(size) == text


def test_an_archive_in_parts_has_the_bytes_of_numpys(tmp_path: Path) -> None:
    images, labels = np.random.default_rng(0).random((7, 1, 28, 28), np.float32), np.arange(7)
    np.savez_compressed(tmp_path / "whole.npz", images=images, labels=labels)
    parts = Parts(images.shape, (images[start : start + 3] for start in (0, 3, 6)))
    write_npz(tmp_path / "parts.npz", {"images": parts, "labels": labels})
    assert (tmp_path / "parts.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_latents_of_a_normal_are_the_same_however_many_are_drawn_at_once(run: Run, monkeypatch: Any) -> None:
    """In blocks of whole vectors of 16 numbers, from which torch draws."""
    model, labels = run.model(), torch.arange(10).repeat(20)
    whole = inference.sample_latents(model, labels, seed=4)
    monkeypatch.setattr(inference, "DRAWS", 32)
    assert torch.equal(inference.sample_latents(model, labels, seed=4), whole)


def test_a_picture_shows_the_first_rows_and_steps_spread_evenly(run: Run, tmp_path: Path) -> None:
    """However many there are, it is one that matplotlib can draw."""
    given = ["between=samples", "num=300", "steps=2", f"run={run.path}", f"out={tmp_path}"]
    interpolate(composed(*given, config_name="interpolate"))
    traverse(composed("steps=1000", "labels=3", f"run={run.path}", f"out={tmp_path}", config_name="traverse"))
    with np.load(tmp_path / "interpolations.npz") as archive:
        assert archive["images"].shape[:2] == (300, 2)
    assert {path.name for path in tmp_path.glob("*.png")} == {"interpolations.png", "traversal_3.png"}


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("0::/user/run", "user/memory.max"),
        ("0::/user/run", "user/run/memory.max"),
        ("0::/", "memory.max"),
        ("5:cpu,memory:/user/run", "memory/user/run/memory.limit_in_bytes"),
        ("5:memory:/user/run", "memory/memory.limit_in_bytes"),
    ],
)
def test_the_limits_of_all_groups_of_the_process_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, file: str
) -> None:
    """As `systemd-run --scope -p MemoryMax=5000` sets one, by the second version of control groups or by the first."""
    (tmp_path / "cgroup").write_text(f"1:cpu:/elsewhere\n{line}\n")
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("5000\n")
    monkeypatch.setattr(capacity, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(capacity, "CGROUP", tmp_path)
    assert capacity.available_memory() == 5000
    (tmp_path / file).write_text("max\n")
    assert capacity.available_memory() > 5000


@pytest.mark.parametrize(
    ("line", "limit", "held"),
    [
        ("0::/run", "run/memory.max", "anon 1000\nfile 3000\nshmem 200\n"),
        (
            "5:memory:/run",
            "memory/run/memory.limit_in_bytes",
            "rss 1\ntotal_cache 3000\ntotal_rss 1000\ntotal_shmem 200\n",
        ),
    ],
)
def test_what_the_processes_of_a_group_hold_is_not_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, limit: str, held: str
) -> None:
    """What they only read from files, such as mapped images, is."""
    (tmp_path / "cgroup").write_text(f"{line}\n")
    (tmp_path / limit).parent.mkdir(parents=True)
    (tmp_path / limit).write_text("5000\n")
    (tmp_path / limit).with_name("memory.stat").write_text(held)
    monkeypatch.setattr(capacity, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(capacity, "CGROUP", tmp_path)
    assert capacity.available_memory() == 3800
    (tmp_path / limit).write_text("1000\n")
    assert capacity.available_memory() == 0
