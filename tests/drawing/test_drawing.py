"""What is drawn from a finished run: the same for the same seed, from the right latents, and written where it says."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import composed, execute, idx_bytes, untrained_run
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.plugins import PLUGINS
from cvae_lightning.data.image_files import read_images
from cvae_lightning.drawing.commands import embed, inpaint, interpolate, reconstruct, sample, score, traverse
from cvae_lightning.drawing.maps import map_of
from cvae_lightning.drawing.paths import spherical, traversal
from cvae_lightning.models import inference
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import RECORD, chosen_run
from cvae_lightning.training.parts import local_data

DRAWINGS = {
    command.__name__: command for command in (sample, reconstruct, interpolate, traverse, embed, score, inpaint)
}
Call = Callable[..., dict[str, Tensor]]


@pytest.fixture
def call(runs: dict[str, Run], tmp_path: Path) -> Call:
    """Runs a drawing command on the CVAE, unless another run is named; returns the arrays that it wrote last."""

    def called(command: str, *overrides: str, run: str = "cvae") -> dict[str, Tensor]:
        DRAWINGS[command](composed(f"run={runs[run].path}", f"out={tmp_path}", *overrides, config_name=command))
        files = sorted(tmp_path.glob("*.npz"), key=lambda path: path.stat().st_mtime_ns)
        with np.load(files[-1], allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
            return {
                name: array if array.dtype.kind == "U" else torch.from_numpy(array) for name, array in arrays.items()
            }

    return called


def val_of(run: Run) -> tuple[Tensor, Tensor]:
    data = local_data(run, {})
    data.setup("fit")
    return data.splits["val"].images / 255, data.splits["val"].labels


def test_samples_are_those_of_the_labels_and_the_seed(call: Call, runs: dict[str, Run]) -> None:
    drawn = call("sample", "labels=[2,7]", "num=3")
    assert drawn["labels"].tolist() == [2, 2, 2, 7, 7, 7]
    assert drawn["images"].shape == (6, 1, 28, 28)
    assert drawn["latents"].shape == (6, 3)
    assert torch.equal(drawn["images"], runs["cvae"].sample([2, 2, 2, 7, 7, 7]))
    assert torch.equal(drawn["images"], call("sample", "labels=[2,7]", "num=3")["images"])
    assert not torch.equal(drawn["images"], call("sample", "labels=[2,7]", "num=3", "seed=1")["images"])


def test_samples_do_not_depend_on_how_many_are_decoded_at_once(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = torch.arange(10).repeat(3)
    whole = runs["cvae"].sample(labels)
    monkeypatch.setattr(inference, "BATCH", 7)
    torch.testing.assert_close(runs["cvae"].sample(labels), whole)


@pytest.mark.parametrize("name", ["cvae", "vae"])
def test_temperature_multiplies_what_is_drawn_around_the_means(runs: dict[str, Run], name: str) -> None:
    model = runs[name].model()
    y = torch.tensor([1, 1, 4])
    cold, half, warm = (inference.sample_latents(model, y, temperature) for temperature in (0.0, 0.5, 1.0))
    torch.testing.assert_close(half - cold, (warm - cold) / 2)
    assert (warm - cold).abs().min() > 0
    assert torch.equal(cold[0], cold[1])


def test_all_classes_are_drawn_where_none_is_named(call: Call) -> None:
    assert call("sample", "num=2")["labels"].tolist() == [label for label in range(10) for _ in range(2)]


def test_a_vae_draws_without_labels_and_says_that_it_ignores_them(call: Call, caplog: Any) -> None:
    drawn = call("sample", "num=30", run="vae")
    assert len(drawn["images"]) == 30
    assert "labels" not in drawn
    assert not caplog.messages or "ignored" not in caplog.text
    again = call("sample", "num=30", "labels=[3]", run="vae")
    assert "not conditioned on the label: labels=[3] is ignored" in caplog.text
    assert torch.equal(drawn["images"], again["images"])


@pytest.mark.parametrize(("kind", "endings"), [("png", {".png"}), ("npz", {".npz"}), ("both", {".png", ".npz"})])
def test_the_format_says_what_is_written_into_the_run(runs: dict[str, Run], kind: str, endings: set[str]) -> None:
    folder = runs["cvae"].path / "samples"
    sample(composed(f"run={runs['cvae'].path}", f"format={kind}", "num=1", config_name="sample"))
    assert {path.suffix for path in folder.iterdir()} == endings
    shutil.rmtree(folder)


REFUSED = {
    "sample labels=11": r"Expected labels in 0\.\.9 \(labels\), got 11\. Leave that label out\.",
    "sample labels=two": r"Expected one of 0, 1, 2, .*, 9 \(labels\), got 'two'\. Leave it out, or name another\.",
    "sample labels=[]": r"Expected an integer, a list .* of integers \(labels\), got \[\]\. Pass for example",
    "sample labels=[1.5]": r"Expected an integer, a list .* of integers \(labels\), got \[1\.5\]\. Pass for example",
    "sample labels=[null]": r"Expected a class \(labels\), got 'none'\. Each image .* model\.label_dropout=0\.1 trains",
    "sample labels=3 condition={label:3}": r"Expected labels or condition, got both\. Leave labels out",
    "sample condition=3": r"Expected values of columns, .* \(condition\), got 3\. .*'condition=\{label: \.\.\.\}'",
    "sample condition={angle:3}": r"Expected the columns label \(condition\), got 'angle'\.",
    "sample condition={label:[]}": r"Expected at least one value \(label\), got 'none'\.",
    "traverse over=angle": r"Expected one of label \(over\), got 'angle'\.",
    "reconstruct condition={label:nine}": r"Expected one of 0, 1, .* \(label\), got 'nine'\.",
    "sample num=0": r"Expected an integer of at least 1 \(num\), got 0\.",
    "sample temperature=-1": r"Expected a finite number of at least 0 \(temperature\), got -1\.",
    "sample format=jpg": r"Expected png, npz or both \(format\), got 'jpg'\.",
    "sample seed=4294967296": r"Expected an integer below 2 \*\* 32 \(seed\), got 4294967296\.",
    "embed projector=perhaps": r"Expected true or false \(projector\), got 'perhaps'\.",
    "sample seed=-1": r"Expected an integer of at least 0 \(seed\), got -1\.",
    "reconstruct split=dev": r"Expected train, val or test \(split\), got 'dev'\.",
    "reconstruct index=60": r"Expected numbers in 0\.\.59 \(index\), got 60\. val has 60 images\.",
    "reconstruct split=test labels=3 index=99": r"Expected numbers in 0\.\.59 \(index\), got 99\.",
    "reconstruct index=first": r"Expected an integer or a list of integers \(index\), got 'first'\.",
    "reconstruct images=nowhere.png labels=1 invert=maybe": r"Expected true or false \(invert\), got 'maybe'\.",
    "reconstruct images=nowhere.png labels=1": r"Expected an image file \(images\), got 'nowhere\.png'\.",
    "interpolate between=words": r"Expected images or samples \(between\), got 'words'\.",
    "interpolate steps=1": r"Expected an integer of at least 2 \(steps\), got 1\.",
    "interpolate index=[1,2,3]": r"Expected pairs of images, .*, got 3 images\.",
    "traverse reach=-1": r"Expected a finite number above 0 \(reach\), got -1\.",
    "embed map=umap": r"Expected pca or tsne \(map\), got 'umap'\.",
}


@pytest.mark.parametrize("command", REFUSED)
def test_an_invalid_value_is_refused_before_anything_is_written(call: Call, tmp_path: Path, command: str) -> None:
    with pytest.raises(UserError, match=REFUSED[command]):
        call(*command.split())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_named(runs: dict[str, Run], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Expected a folder to write to \(out\), got '.*file/in'"):
        sample(composed(f"run={runs['cvae'].path}", f"out={tmp_path}/file/in", config_name="sample"))


def test_an_incomplete_run_is_refused_with_the_command_that_continues_it(runs: dict[str, Run], tmp_path: Path) -> None:
    shutil.copytree(runs["cvae"].path, tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"Expected a complete run.* python -m cvae_lightning resume=.*/run"):
        sample(composed(f"run={tmp_path}/run", config_name="sample"))


def sweep_with(path: Path, run: Run, objective: str, values: list[float | None]) -> Path:
    """A sweep of copies of `run` whose val metric has these values; None: the run is incomplete."""
    for number, value in enumerate(values):
        shutil.copytree(run.path, path / str(number))
        config = run.raw_config.copy()
        config.objective = f"val/{objective}"
        OmegaConf.save(config, path / str(number) / ".hydra" / "config.yaml")
        metrics = {**run.metrics, "val": {**run.metrics["val"], objective: value}}
        file = path / str(number) / "metrics.json"
        file.unlink() if value is None else file.write_text(json.dumps(metrics))
    (path / RECORD).write_text(json.dumps({"command": [], "jobs": [["seed=0"]] * len(values)}))
    return path


@pytest.mark.parametrize(("objective", "best"), [("score_uncapped", "2"), ("mse", "1")])
def test_a_sweep_stands_for_its_best_run_by_the_val_objective(
    runs: dict[str, Run], tmp_path: Path, objective: str, best: str, caplog: Any
) -> None:
    caplog.set_level("INFO")
    path = sweep_with(tmp_path / "sweep", runs["cvae"], objective, [2.0, 1.0, 3.0, None])
    assert chosen_run(path).path == path / best
    assert f"The best run of the sweep by val/{objective}: {path / best}" in caplog.text


def test_a_sweep_without_a_complete_run_is_refused(runs: dict[str, Run], tmp_path: Path) -> None:
    path = sweep_with(tmp_path / "sweep", runs["cvae"], "mse", [None])
    with pytest.raises(UserError, match=r"Expected a sweep with a complete run \(run\)"):
        chosen_run(path)


def test_reconstructions_are_the_runs_and_their_errors_are_theirs(call: Call, runs: dict[str, Run]) -> None:
    x, y = val_of(runs["cvae"])
    drawn = call("reconstruct", "index=[5,17,3]")
    assert torch.equal(drawn["images"], x[[5, 17, 3]])
    assert torch.equal(drawn["reconstructions"], runs["cvae"].reconstruct(x[[5, 17, 3]], y[[5, 17, 3]]))
    torch.testing.assert_close(drawn["mse"], (drawn["images"] - drawn["reconstructions"]).square().mean((1, 2, 3)))
    assert torch.equal(drawn["latents"], runs["cvae"].encode(x[[5, 17, 3]], y[[5, 17, 3]]))


def test_labels_choose_among_the_images_of_a_split(call: Call) -> None:
    assert set(call("reconstruct", "labels=[2,7]", "split=test")["labels"].tolist()) == {2, 7}


def test_the_users_own_images_are_read_from_any_file(call: Call, runs: dict[str, Run], tmp_path: Path) -> None:
    x, y = val_of(runs["cvae"])
    levels = (255 * x[:2, 0]).round().byte().numpy()
    label = int(y[0])
    expected = call("reconstruct", "index=0")["reconstructions"]
    Image.fromarray(levels[0]).save(tmp_path / "one.png")
    Image.fromarray(255 - levels[0]).convert("RGB").save(tmp_path / "dark.png")
    np.savez(tmp_path / "own.npz", images=x[0].numpy())
    (tmp_path / "own-idx3-ubyte").write_bytes(idx_bytes(levels[:1]))
    for name, invert in {"one.png": False, "dark.png": True, "own.npz": False, "own-idx3-ubyte": False}.items():
        drawn = call("reconstruct", f"images={tmp_path}/{name}", f"labels={label}", f"invert={invert}")
        torch.testing.assert_close(drawn["reconstructions"], expected)
        (tmp_path / "reconstructions.npz").unlink()


def test_an_image_of_another_size_is_resized_in_the_middle_with_a_warning(tmp_path: Path, caplog: Any) -> None:
    wide = np.zeros((20, 56), "u1")
    wide[:, 28:] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    (image,) = read_images([tmp_path / "wide.png"], (1, 28, 28))
    assert f"{tmp_path}/wide.png has 20x56 pixels: resized to 28x28." in caplog.text
    assert image[0, 9:19, 16:].min() == 1
    assert image[0, 9:19, :12].max() == 0
    assert image[0, :9].max() == image[0, 19:].max() == 0


def test_an_image_that_is_dark_on_light_is_pointed_out(tmp_path: Path, caplog: Any) -> None:
    Image.new("L", (28, 28), 255).save(tmp_path / "white.png")
    read_images([tmp_path / "white.png"], (1, 28, 28))
    assert "looks dark on light, but the model was trained on light on dark: try invert=true." in caplog.text
    caplog.clear()
    assert read_images([tmp_path / "white.png"], (1, 28, 28), invert=True).max() == 0
    assert not caplog.text


def test_transparency_shows_the_background_and_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    ink = np.zeros((28, 28, 4), "u1")
    ink[10:20, 10:20, 3] = 255  # black ink on nothing
    Image.fromarray(ink).save(tmp_path / "ink.png")
    (image,) = read_images([tmp_path / "ink.png"], (1, 28, 28), invert=True)
    assert image[0, 10:20, 10:20].min() == 1
    assert image.sum() == 100
    Image.fromarray(np.full((28, 28), 30_000, "u2")).save(tmp_path / "deep.png")
    (image,) = read_images([tmp_path / "deep.png"], (1, 28, 28))
    assert image.unique().item() == pytest.approx(30_000 / 65_535, abs=0.003)


def test_a_projector_folder_that_is_not_ours_is_left_alone(call: Call, tmp_path: Path) -> None:
    (tmp_path / "projector").mkdir()
    (tmp_path / "projector" / "mine.txt").touch()
    call("embed")
    assert (tmp_path / "projector" / "mine.txt").exists()


@pytest.mark.parametrize("name", ["text.png", "text.npz", "text-idx3-ubyte"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("no image")
    with pytest.raises(UserError, match=f"Expected .*{name}"):
        read_images([tmp_path / name], (1, 28, 28))


def test_a_cvae_asks_for_the_labels_of_the_users_own_images(call: Call, tmp_path: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    with pytest.raises(UserError, match=r"one per image \(labels\), got None\. .* conditioned on the label"):
        call("reconstruct", f"images={tmp_path}/black.png")


def test_an_arc_has_the_given_ends_and_stays_in_the_shell() -> None:
    first, last = (torch.nn.functional.normalize(torch.randn(5, 8), dim=1) for _ in range(2))
    path = spherical(first, last, 9)
    torch.testing.assert_close(path[:, 0], first)
    torch.testing.assert_close(path[:, -1], last)
    torch.testing.assert_close(path.norm(dim=2), torch.ones(5, 9))
    steps = (path[:, 1:] * path[:, :-1]).sum(2)
    torch.testing.assert_close(steps, steps[:, :1].expand(5, 8))  # equal angles


def test_an_arc_between_parallel_points_is_the_straight_line() -> None:
    point = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(spherical(point, 3 * point, 3)[0], torch.stack([point[0], 2 * point[0], 3 * point[0]]))


def test_an_interpolation_goes_from_the_first_image_and_label_to_the_last(call: Call, runs: dict[str, Run]) -> None:
    x, y = val_of(runs["cvae"])
    drawn = call("interpolate", "index=[4,9]", "steps=5")
    assert drawn["labels"].tolist() == [[int(y[4]), int(y[9])]]
    assert drawn["images"].shape == (1, 5, 1, 28, 28)
    ends = runs["cvae"].encode(x[[4, 9]], y[[4, 9]])
    torch.testing.assert_close(drawn["latents"][0, [0, -1]], ends)
    with torch.no_grad():
        torch.testing.assert_close(drawn["images"][0, [0, -1]], runs["cvae"].model().likelihood(ends, y[[4, 9]]).mean)


def test_samples_can_be_the_ends_with_labels_in_turn(call: Call) -> None:
    assert call("interpolate", "between=samples", "labels=[2,7]", "num=2")["labels"].tolist() == [[2, 7], [7, 2]]
    assert "labels" not in call("interpolate", "between=samples", "num=2", run="vae")


def test_a_traversal_moves_one_latent_at_a_time_by_kl(call: Call, runs: dict[str, Run]) -> None:
    drawn = call("traverse", "labels=4", "steps=5")
    kl = inference.kl_by_latent(runs["cvae"].model())
    assert drawn["order"].tolist() == kl.argsort(descending=True).tolist()
    assert drawn["values"].tolist() == [-3, -1.5, 0, 1.5, 3]
    for row, latent in enumerate(drawn["order"].tolist()):
        moved = drawn["latents"][row]
        assert moved[:, latent].tolist() == drawn["values"].tolist()
        others = [other for other in range(3) if other != latent]
        assert moved[:, others].unique(dim=0).shape[0] == 1
    points = traversal(torch.zeros(3), torch.tensor([2]), torch.tensor([1.0, 2.0]))
    assert points.tolist() == [[[0, 0, 1], [0, 0, 2]]]


def test_a_prior_and_a_sampler_of_ones_own_are_traversed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS, "own_parts")
    own = ["prior._target_=own_parts.SteppedPrior", "sampler._target_=own_parts.HalfSampler"]
    run = untrained_run(tmp_path / "run", *own)
    traverse(composed(f"run={run.path}", "labels=8", "format=npz", config_name="traverse"))
    with np.load(run.path / "samples" / "traversal_8.npz") as drawn:
        assert np.median(drawn["latents"]) == 2, "the mean of the prior of 8"


def test_each_class_has_a_traversal_of_its_own(call: Call, tmp_path: Path) -> None:
    call("traverse", "steps=2", "num=1")
    assert {path.stem for path in tmp_path.glob("*.png")} == {f"traversal_{label}" for label in range(10)}


def test_an_embedding_has_the_posterior_means_of_all_images(call: Call, runs: dict[str, Run], tmp_path: Path) -> None:
    x, y = val_of(runs["cvae"])
    drawn = call("embed")
    assert torch.equal(drawn["means"], runs["cvae"].encode(x, y))
    assert torch.equal(drawn["labels"], y)
    assert drawn["map"].shape == (len(y), 2)
    config = (tmp_path / "projector" / "projector_config.pbtxt").read_text()
    assert "posterior_means" in config
    assert "sprite" in config


def test_a_map_by_pca_keeps_the_largest_variances() -> None:
    z = torch.randn(500, 5) * torch.tensor([0.1, 5.0, 0.2, 2.0, 0.1])
    variances = map_of(z, "pca").var(0)
    torch.testing.assert_close(variances, z[:, [1, 3]].var(0), rtol=0.02, atol=0)
    assert torch.equal(map_of(z[:, :1], "pca"), torch.stack([z[:, 0], torch.zeros(500)], 1))


@pytest.mark.parametrize("command", DRAWINGS)
def test_the_help_names_the_keys_and_gives_examples(command: str) -> None:
    template = OmegaConf.load(CONF / "hydra" / "help" / f"{command}.yaml").template
    keys = [str(key) for key in composed(config_name=command)]
    assert not [key for key in keys if not re.search(rf"^  {key}= ", template, re.MULTILINE)]
    assert template.count(f"python -m cvae_lightning.{command} run=") >= 3


@pytest.mark.parametrize("command", ["sample", "embed"])
def test_a_run_that_does_not_exist_is_refused_at_the_terminal(tmp_path: Path, command: str) -> None:
    answer = execute("run=nowhere", cwd=tmp_path, module=f"cvae_lightning.{command}")
    assert answer.returncode == 1
    assert answer.stderr.startswith("Expected a run directory")
    assert not list(tmp_path.iterdir())
