"""Every kind of data with every choice, in pairs: what trains in one epoch goes through every command.

The sources are small files of each kind: 1 to 40 classes, grey and colour, square and not, labelled with classes,
numbers and flags, partly or not at all.
"""

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from allpairspy import AllPairs
from helpers import begun, idx_bytes
from PIL import Image
from test_pairs import FEW_IMAGES, check_explorer, command_config

from cvae_lightning.core.errors import UserError
from cvae_lightning.drawing.commands import embed, inpaint, interpolate, reconstruct, sample, score, traverse
from cvae_lightning.evaluators import cas, sample_quality
from cvae_lightning.exporters.export import export
from cvae_lightning.judging import store as judge_files
from cvae_lightning.judging.classifier import fit
from cvae_lightning.reports.content import compose_report
from cvae_lightning.reports.markdown import markdown
from cvae_lightning.reports.sweep_frame import sweep_frame
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep
from cvae_lightning.training.evaluate import evaluate
from cvae_lightning.training.train import train

NUM_FAST = 10  # runs in make test
UNLABELLED = "flat"

KEYS: dict[str, list[str]] = {
    "data": ["folder", UNLABELLED, "table", "half", "flags", "number", "npz", "forty", "idx"],
    "model": [
        "model=cvae",
        "model=vae",
        "model=cvae model.label_dropout=0.3",
        "model=m2 data.labelled=40",
        "model=m1m2 model.first_epochs=0 model.network.first_latent_dim=3 model.network.hidden=[8]",
    ],
    "network": [
        "network=mlp network.hidden=[16]",
        "network=conv network.channels=2 network.hidden=8",
        "network=residual network.channels=2",
    ],
    "likelihood": [
        f"likelihood={name}"
        for name in ("gaussian", "gaussian_optimal", "gaussian_learned", "bernoulli", "continuous_bernoulli")
    ],
    "prior": ["prior=normal", "prior=learned", "prior=learned prior.num_components=1", "prior=flow prior.hidden=[8]"],
    "sampler": ["sampler=prior", "sampler=gaussian", "sampler=mixture"],
    "injection": [f"network.injection={name}" for name in ("concatenate", "add", "modulate")],
    "bound": ["bound=elbo", "bound=iwae"],
    "size": ["", "data.size=8", "data.size=[9,6] data.fit=crop", "data.size=1"],
    "channels": ["", "data.channels=1", "data.channels=3"],
    "flip": ["data.flip=null", "data.flip=both"],
    "balance": ["data.balance=false", "data.balance=true"],
    "binarize": ["data.binarize=null", "data.binarize=dynamic"],
    "evaluators": [
        "evaluators=full evaluators.nll.num_samples=3",
        "evaluators=default",
        "evaluators=claims evaluators.gradients.num_draws=2",
        f"evaluators=conditional {FEW_IMAGES}",
    ],
}


def allowed(values: list[str]) -> bool:
    """A model that is conditioned on labels needs some, and one that sums over classes needs those of val."""
    if any(value.startswith(("model=m2", "model=m1m2")) for value in values):
        return not {UNLABELLED, "half", "flags", "number", "bound=iwae"} & set(values)
    return not (UNLABELLED in values and any(value.startswith("model=cvae") for value in values))


ROWS = [list(row) for row in AllPairs(list(KEYS.values()), filter_func=allowed)]
RUNS = [
    pytest.param(*row[:1], " ".join(filter(None, row[1:])), marks=pytest.mark.slow if place >= NUM_FAST else ())
    for place, row in enumerate(ROWS)
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The overrides that choose each data set."""
    root = tmp_path_factory.mktemp("sources")
    draw = np.random.default_rng(0)
    colour = draw.integers(0, 256, (84, 12, 10, 3), np.uint8)
    for number, image in enumerate(colour):
        kind = ("a cat", "dog", "grey_parrot$")[number % 3]
        write_image(root / "folder" / kind / f"{number}.png", image)
        write_image(root / UNLABELLED / f"{number}.png", image)
    faces = ("none", "hat", "beard", "hat;beard", "")
    tables: dict[str, list[list[Any]]] = {
        "table": [["digit", "angle"], *([number % 5, f"{number / 7 - 3:.3f}"] for number in range(84))],
        "half": [
            ["digit", "angle"],
            *(["" if number % 2 else number % 5, "" if number % 3 else number / 7] for number in range(84)),
        ],
        "flags": [["face"], *([faces[number % 5]] for number in range(84))],
        "number": [["age"], *([f"{number / 3:.2f}"] for number in range(84))],
    }
    for name, (header, *rows) in tables.items():
        for number, image in enumerate(colour):
            write_image(root / name / f"{number}.png", image)
        lines = [["file_name", *header], *([f"{number}.png", *row] for number, row in enumerate(rows))]
        (root / name / "metadata.csv").write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    grey = draw.integers(0, 256, (84, 9, 7), np.uint8)
    np.savez(root / "two.npz", images=grey, labels=np.arange(84) % 2)
    np.savez(root / "forty.npz", images=draw.integers(0, 256, (280, 6, 6), np.uint8), labels=np.arange(280) % 40)
    (root / "idx").mkdir()
    for part, size in (("train", 84), ("t10k", 20)):
        images, labels = draw.integers(0, 256, (size, 11, 11), np.uint8), (np.arange(size) % 3).astype("u1")
        (root / "idx" / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (root / "idx" / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    paths = {"npz": "two.npz", "forty": "forty.npz"}
    kinds = {"npz": "npz", "forty": "npz", "idx": "idx"}
    return {
        name: [f"data={kinds.get(name, 'folder')}", f"data.path='{root / paths.get(name, name)}'"]
        for name in KEYS["data"]
    }


def write_image(file: Path, image: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (judge_files, cas):
        monkeypatch.setattr(module, "fit", functools.partial(fit, epochs=1))
    monkeypatch.setattr(sample_quality, "SAMPLES_PER_CLASS", 5)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(("data", "overrides"), RUNS)
def test_a_run_on_any_data_goes_through_every_command(
    tmp_path: Path, sources: dict[str, list[str]], data: str, overrides: str, caplog: pytest.LogCaptureFixture
) -> None:
    small = ["epochs=1", "latent_dim=2", "batch_size=32", "accelerator=cpu", "evaluators.grader.samples_per_class=3"]
    run = begun(tmp_path / "sweep", [*sources[data], *overrides.split(), *small, f"data_dir={tmp_path}"])
    train(run)
    check_record(run, data)
    check_arrays(run, tmp_path / "drawn")
    check_explorer(run, tmp_path / "export")
    check_hub_folder(run, tmp_path / "hub")
    with caplog.at_level("INFO"):
        evaluators = [override for override in overrides.split() if override.startswith("evaluators")]
        evaluate(command_config(evaluate, run, *evaluators, small[-1]))
    assert "All numbers that metrics.json has are the same, to the last digit." in caplog.text


def test_unlabelled_images_have_no_conditional_model(tmp_path: Path, sources: dict[str, list[str]]) -> None:
    with pytest.raises(UserError, match=r"labelled images \(data\.condition\), got 'none'. model=vae needs no labels"):
        train(begun(tmp_path / "sweep", [*sources[UNLABELLED], "accelerator=cpu", f"data_dir={tmp_path}"]))


def check_hub_folder(run: Run, folder: Path) -> None:
    """The folder is a run with the same samples, whose code computes what the model does, and names no place here."""
    export(command_config(export, run, f"to='{folder}'"))
    drawn = run.sample(**example(run))
    assert torch.equal(Run(folder).sample(**example(run)), drawn)
    for file in folder.iterdir():
        assert file.suffix not in (".json", ".md", ".py", ".yaml") or str(folder.parent) not in file.read_text()


def example(run: Run) -> dict[str, Any]:
    condition = run.condition
    return {"labels": condition.spread(3)} if condition else {"num": 3}


def check_record(run: Run, data: str) -> None:
    """metrics.json describes the data, each number exists or has a reason, and the report of the sweep has them."""
    metrics = run.metrics
    condition = metrics["dataset"]["condition"]
    assert list(condition) == list(run.config["data"]["condition"])
    assert (not condition) == (data == UNLABELLED)
    assert metrics["dataset"]["image_shape"] == run.config["data"]["image_shape"]
    for split in ("val", "test"):
        for name, value in metrics[split].items():
            assert (value is None) == (f"{split}/{name}" in metrics["absent"])
            assert value is None or math.isfinite(value)
    sweep = Sweep(run.path.parent)
    assert "1 complete" in markdown(compose_report(sweep, sweep_frame(sweep)))
    assert (run.path / "README.md").is_file()


def check_arrays(run: Run, out: Path) -> None:
    """What the commands that draw write: finite, and images in [0, 1] of the shape of the data."""
    shape = tuple(run.config["data"]["image_shape"])
    drawn = {
        sample: ["num=2"],
        reconstruct: ["num=3"],
        interpolate: ["num=2", "steps=3"],
        traverse: ["steps=3"],
        embed: ["projector=false"],
        score: ["num=4", "num_samples=2"],
        inpaint: ["num=2", "draws=3", "proposals=20"],
    }
    for command, overrides in drawn.items():
        config = command_config(command, run, *overrides)
        config.out = str(out / command.__name__)
        command(config)
        for file in (out / command.__name__).glob("*.npz"):
            with np.load(file, allow_pickle=False) as arrays:
                for name in {"images", "reconstructions", "latents", "means", "map"} & set(arrays.files):
                    assert np.isfinite(arrays[name]).all()
                for name in {"images", "reconstructions"} & set(arrays.files):
                    assert arrays[name].shape[-3:] == shape
                    assert 0 <= arrays[name].min() <= arrays[name].max() <= 1
