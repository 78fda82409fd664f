"""A folder for a model hub holds the run, names no place of its machine, and its code computes what the model does."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from helpers import MakeRun, composed, randomised, untrained_model, write_code
from safetensors.torch import load_file, save_file

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import UserError
from cvae_lightning.exporters import hub
from cvae_lightning.exporters.export import export
from cvae_lightning.exporters.standalone import check_standalone
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.likelihoods import Gaussian
from cvae_lightning.models.optimizers import adam
from cvae_lightning.models.samplers import PriorSampler
from cvae_lightning.networks.mlp import MLP
from cvae_lightning.runs.run import Run
from cvae_lightning.training.train import train

SMALL = ["data=digits", "data.image_shape=[1,8,8]", "latent_dim=3"]
MODELS = {
    "an MLP": "network.hidden=[8]",
    "a residual network with a flow as its prior": "network=residual network.channels=2 prior=flow prior.hidden=[8]",
    "a convolutional network without labels": "model=vae network=conv network.channels=2 network.hidden=8",
    "a mixture for each class": "network.hidden=[8] sampler=mixture sampler.num_components=3",
    "a class or none": "network.hidden=[8] model.label_dropout=0.2",
    "a classifier": "network.hidden=[8] model=m2 data.labelled=40",
    "two stages": "model=m1m2 data.labelled=40 model.network.first_latent_dim=3 model.network.hidden=[8]",
}
KINDS = Condition.from_config(
    {
        "angle": {"mean": 3.0, "std": 26.0, "low": -45.0, "high": 45.0},
        "species": ["wren", '"""\nimport os', "'\\"],
        "tags": {"flags": ["day", "wet"]},
    }
)
FORBID = "import sys; sys.modules.update(dict.fromkeys(['cvae_lightning', 'pytorch_lightning', 'hydra', 'numpy']))\n"


def exported(run: Run, to: Path, *overrides: str) -> Run:
    export(composed(f"run={run.path}", f"to={to}", *overrides, config_name="export"))
    return Run(to)


@pytest.fixture
def trained(make_run: MakeRun) -> Run:
    run = make_run("run")
    train(run)
    return run


@pytest.mark.parametrize("overrides", MODELS.values(), ids=MODELS)
def test_the_code_computes_what_the_model_does(tmp_path: Path, overrides: str) -> None:
    model = untrained_model(*SMALL, *overrides.split())
    functions = write_code(model, tmp_path)
    check_standalone(model, tmp_path)
    drawn = functions["sample"](torch.tensor([0, 1, 1]) if model.condition else 3)
    assert drawn.shape == (3, *model.image_shape)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert not torch.equal(drawn[1], drawn[2])


def test_code_that_computes_something_else_is_noticed(tmp_path: Path) -> None:
    model = untrained_model(*SMALL, "network.hidden=[8]")
    write_code(model, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["decoder.layers.1.bias"] += 1e-2
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"Expected outputs of decode in model\.py within 1e-05 of the model's, got"):
        check_standalone(model, tmp_path)


def test_names_of_classes_are_text_in_the_code(tmp_path: Path) -> None:
    of_one_class = untrained_model(*SMALL, "network.hidden=[8]")
    of_one_class.condition = Condition.from_config({"bird": [*KINDS.class_names, *"abcdefg"]})
    assert write_code(of_one_class, tmp_path / "class")["CLASSES"] == list(of_one_class.condition.class_names)
    parts = MLP([8]), Gaussian(), adam(0.001)
    of_kinds = randomised(CVAE(*parts, image_shape=(1, 8, 8), latent_dim=3, sampler=PriorSampler, condition=KINDS))
    functions = write_code(of_kinds, tmp_path / "kinds")
    assert functions["VALUES"] == ["angle", "species", "tags: day", "tags: wet"]
    assert functions["sample"](torch.tensor([[30.0, 1, 0, 1]])).shape == (1, 1, 8, 8)


def test_the_code_needs_only_torch_and_safetensors(tmp_path: Path) -> None:
    write_code(untrained_model(*SMALL, "network.hidden=[8]"), tmp_path)
    code = f"{FORBID}import torch\nfrom model import sample\nprint(tuple(sample(torch.tensor([2, 7, 9])).shape))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("(3, 1, 8, 8)\n", 0), done.stderr


def test_a_folder_is_read_like_the_run(trained: Run, tmp_path: Path) -> None:
    folder = exported(trained, tmp_path / "hub")
    assert folder.metrics == trained.metrics
    assert torch.equal(folder.sample([2, 7, 9]), trained.sample([2, 7, 9]))
    again = exported(folder, tmp_path / "again", "dtype=float16")
    assert again.metrics["val"] == trained.metrics["val"]
    assert {path.name for path in (again.path / "figures").iterdir()} == {
        path.name for path in (folder.path / "figures").iterdir()
    }
    assert again.metrics["weights_sha256"] != trained.metrics["weights_sha256"]
    assert {weight.dtype for weight in load_file(again.path / "model.safetensors").values()} >= {torch.float16}
    torch.testing.assert_close(again.sample([2, 7, 9]), trained.sample([2, 7, 9]), atol=0.02, rtol=0)
    assert {path.name for path in tmp_path.iterdir()} >= {"hub", "again"}
    assert not list(tmp_path.glob(".export-*"))


def test_a_card_has_the_metadata_of_a_hub_and_an_example_that_runs(trained: Run, tmp_path: Path) -> None:
    folder = exported(trained, tmp_path / "hub", "license=cc-by-4.0", "dtype=float16").path
    card = (folder / "README.md").read_text()
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata["license"] == "cc-by-4.0"
    (result,) = metadata["model-index"][0]["results"]
    stated = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert stated["mse"] == trained.metrics["test"]["mse"]
    assert "rounded to float16" in card
    (example,) = [part for part in card.split("```python\n") if part.startswith("import torch")]
    code = f"{FORBID}{example.partition('```')[0]}\nprint(tuple(images.shape))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=folder, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("(3, 1, 28, 28)\n", 0), done.stderr
    for name in ("model.py", "preprocessing.json"):
        assert f"]({name})" in card
        assert (folder / name).is_file()
    assert json.loads((folder / "preprocessing.json").read_text())["image_shape"] == [1, 28, 28]


def test_a_folder_names_no_place_of_its_machine(trained: Run, tmp_path: Path) -> None:
    config = trained.raw_config
    config.data.path = "/home/somebody/birds"
    config.evaluators.grader.folder = r"C:\Users\somebody\judges"
    config.logger = {"mlflow": {"tracking_uri": "file:///home/somebody/mlruns"}}
    trained.overrides.extend(["data.path=/home/somebody/birds", "hydra.run.dir=/home/somebody/run", "+data_dir=/home"])
    written = exported_by_hand(trained, tmp_path / "hub")
    kinds = (".md", ".json", ".yaml", ".py")
    texts = {file.name: file.read_text() for file in written.rglob("*") if file.suffix in kinds}
    assert "birds" in texts["config.yaml"]
    assert "data.path=birds" in texts["README.md"]
    for name, text in texts.items():
        for place in (str(trained.path.parent), str(tmp_path), "/home", "somebody", "Users"):
            assert place not in text, name


def exported_by_hand(run: Run, folder: Path) -> Path:
    """As the command does it, for a run whose configuration was changed in memory."""
    list(hub.write_hub_folder(run, folder, "float32", None))
    return folder


@pytest.mark.parametrize("what", ["a file", "a folder with a file"])
def test_nothing_is_overwritten(trained: Run, tmp_path: Path, what: str) -> None:
    to = tmp_path / "hub"
    if what == "a file":
        to.write_text("mine")
    else:
        to.mkdir()
        (to / "mine").write_text("mine")
    before = {path: path.read_text() for path in tmp_path.rglob("mine")}
    with pytest.raises(UserError, match=r"Expected a new or an empty folder \(to\), got"):
        exported(trained, to)
    assert {path: path.read_text() for path in tmp_path.rglob("mine")} == before


def test_a_failure_leaves_nothing(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise UserError("Expected the same.")

    monkeypatch.setattr(hub, "check_standalone", fail)
    with pytest.raises(UserError, match="the same"):
        exported(trained, tmp_path / "new" / "hub")
    assert not list((tmp_path / "new").iterdir())


def test_a_weight_that_float16_cannot_hold_is_refused() -> None:
    with pytest.raises(UserError, match=r"that float16 can hold, got larger ones in b\. Use dtype=float32\."):
        hub.rounded({"a": torch.ones(2000), "b": torch.full((2000,), 1e5)}, torch.float16)


def test_only_what_takes_space_is_rounded() -> None:
    weights = {"bias": torch.tensor([0.1]), "matrix": torch.full((40, 40), 0.1), "count": torch.tensor(3)}
    dtypes = {name: weight.dtype for name, weight in hub.rounded(weights, torch.float16).items()}
    assert dtypes == {"bias": torch.float32, "matrix": torch.float16, "count": torch.int64}


def test_a_folder_of_configurations_is_no_run(trained: Run, tmp_path: Path) -> None:
    """Only beside metrics.json is config.yaml that of a run."""
    (tmp_path / "conf").mkdir()
    shutil.copyfile(trained.config_file, tmp_path / "conf" / "config.yaml")
    with pytest.raises(UserError, match=r"Expected a run directory, which holds \.hydra/config\.yaml \(run\)"):
        Run(tmp_path / "conf")
