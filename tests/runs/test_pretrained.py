"""The models that come with the package are whole, small, and drawn from without data, and stay as they are."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from helpers import ROOT, composed, execute

from cvae_lightning.core.errors import DataUnavailable, UserError
from cvae_lightning.core.files import sha256_of
from cvae_lightning.data.idx_source import IdxSource
from cvae_lightning.drawing.commands import sample
from cvae_lightning.exporters.standalone import check_standalone
from cvae_lightning.runs import pretrained
from cvae_lightning.runs.run import Run
from cvae_lightning.training.parts import local_data

NAMES = sorted(pretrained.WEIGHTS_SHA256)


def files() -> dict[Path, str]:
    return {path: sha256_of(path) for path in sorted(pretrained.FOLDER.rglob("*")) if path.is_file()}


def test_each_model_has_a_folder_and_together_they_are_small() -> None:
    assert sorted(path.name for path in pretrained.FOLDER.iterdir()) == NAMES
    assert sum(path.stat().st_size for path in files()) <= 6_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_whole_and_draws_what_is_asked(name: str) -> None:
    run = Run(f"pretrained:{name}")
    assert sha256_of(run.path / "model.safetensors") == pretrained.WEIGHTS_SHA256[name]
    check_standalone(run.model(), run.path)
    images = run.sample([2, 7, 9])
    assert images.shape == (3, 1, 28, 28)
    assert images.amax((1, 2, 3)).min() > 0.9
    assert torch.equal(images, run.sample([2, 7, 9]))


@pytest.mark.parametrize("name", NAMES)
def test_a_card_is_complete(name: str) -> None:
    run = Run(f"pretrained:{name}")
    card = (run.path / "README.md").read_text()
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata["license"] == "mit"
    assert {metric["type"] for metric in metadata["model-index"][0]["results"][0]["metrics"]} >= {
        "mse",
        "elbo",
        "nll_iw",
    }
    links = re.findall(r"\]\(([^)]+)\)", card)
    assert {"figures/samples.webp", "figures/reconstructions.webp", "model.py", "preprocessing.json"} <= set(links)
    assert all((run.path / link).is_file() for link in links)
    assert re.search(r"commit [0-9a-f]{40}\.", card)
    assert f"experiment={name}" in card


def test_other_names_and_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"Expected one of pretrained:best.* \(resume\), got 'pretrained:worst'\."):
        Run("pretrained:worst", key="resume")
    shutil.copytree(pretrained.FOLDER, tmp_path / "theirs")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "theirs")
    weights = tmp_path / "theirs" / "best" / "model.safetensors"
    other = bytearray(weights.read_bytes())
    other[-1] ^= 1
    weights.write_bytes(other)
    record = weights.with_name("metrics.json")
    record.write_text(record.read_text().replace(pretrained.WEIGHTS_SHA256["best"], sha256_of(weights)))
    with pytest.raises(UserError, match=r"Expected the weights that metrics\.json names, got others"):
        Run("pretrained:best").model()


def test_a_command_writes_beside_its_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files()
    monkeypatch.chdir(tmp_path)
    sample(composed("run='pretrained:best'", "labels=[2,7,9]", config_name="sample"))
    assert {path.name for path in Path("outputs/pretrained/best/samples").iterdir()} == {"samples.npz", "samples.png"}
    assert files() == before


@pytest.mark.slow
def test_the_demo_needs_no_data_and_no_network(tmp_path: Path) -> None:
    """The commands of `make demo`, but for the last, which opens a browser."""
    recipe = (ROOT / "Makefile").read_text().partition("\ndemo:")[2].partition("\n\n")[0]
    commands = [shlex.split(line) for line in recipe.splitlines()[1:] if line.startswith("\t.venv/bin/python")]
    assert len(commands) == 3
    for _, *words in commands:
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs/pretrained/best/export/explorer.html").stat().st_size > 1_000_000
    assert (tmp_path / "outputs/pretrained/best/samples/reconstructions.png").is_file()


def test_a_pretrained_model_is_named_on_the_command_line(tmp_path: Path) -> None:
    done = execute("run=pretrained:nothing", module="cvae_lightning.sample", cwd=tmp_path)
    assert done.returncode == 1
    assert "Expected one of pretrained:best" in done.stderr


def test_data_are_downloaded_for_a_model_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(IdxSource, "prepare", lambda source: asked.append(source.directory))
    local_data(Run("pretrained:best"), {"data_dir": str(tmp_path)})
    assert asked == [tmp_path / "MNIST" / "raw"]
    shutil.copytree(pretrained.FOLDER / "best", tmp_path / "theirs")
    with pytest.raises(DataUnavailable, match=r"Say where they are: data_dir=<path>\."):
        local_data(Run(tmp_path / "theirs"), {"data_dir": str(tmp_path)})
    assert len(asked) == 1
