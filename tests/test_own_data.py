"""Images of one's own: the data sets that benchmarks/ draws, and every command on colour letters drawn from fonts."""

import colorsys
import csv
import re
import shlex
import shutil
import sys
from pathlib import Path

import fonts
import matplotlib
import numpy as np
import pytest
import torch
import turned_digits
from helpers import ROOT, execute, without_times, write_idx_files
from PIL import Image

from cvae_lightning.data.idx_source import IdxSource
from cvae_lightning.runs.run import Run

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(scope="module")
def faces() -> list[fonts.Face]:
    """The fonts that come with matplotlib."""
    return fonts.faces_in([FONTS])


def test_a_font_is_used_once_and_only_with_letters(faces: list[fonts.Face], tmp_path: Path) -> None:
    names = {face.name for face in faces}
    assert {"DejaVuSans", "DejaVuSerif-Bold", "STIXGeneral", "cmr10"} <= names
    assert not names & {"cmex10", "cmsy10", "LastResortHE-Regular", "STIXSizFourSymBol", "STIXNonUni"}
    (tmp_path / "A.ttf").write_bytes((FONTS / "DejaVuSans.ttf").read_bytes())
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    assert fonts.faces_in([tmp_path, FONTS])[0].name == "A"
    assert len(fonts.faces_in([tmp_path, FONTS])) == len(faces)


@pytest.mark.parametrize("seed", range(5))
def test_a_family_of_fonts_is_in_one_split(faces: list[fonts.Face], seed: int) -> None:
    splits = fonts.split_by_family(faces, seed)
    families = [{face.family for face in part} for part in splits.values()]
    assert sum(map(len, families)) == len(set.union(*families))
    assert sorted(face for part in splits.values() for face in part) == sorted(faces)
    assert len(splits["train"]) > len(splits["val"]) > 0 < len(splits["test"]) < len(splits["train"])
    with pytest.raises(SystemExit, match="at least three families, got cmr10"):
        fonts.split_by_family([face for face in faces if face.family == "cmr10"], seed)


def test_the_folders_are_those_of_the_classes_and_the_same_each_time(faces: list[fonts.Face], tmp_path: Path) -> None:
    few = [face for face in faces if face.family in ("cmr10", "cmss10", "STIXGeneral")]
    counts = fonts.draw(tmp_path / "a", few, size=12, images=300, metadata=True)
    assert counts == {"train": 300, "val": 75, "test": 75}
    assert counts == fonts.draw(tmp_path / "b", few, size=12, images=300, metadata=True)
    for split, count in counts.items():
        files = sorted((tmp_path / "a" / split).rglob("*.png"))
        assert len(files) == count
        assert sorted(path.name for path in (tmp_path / "a" / split).iterdir() if path.is_dir()) == sorted(
            map(fonts.class_of, fonts.LETTERS)
        )
        for path in [*files, tmp_path / "a" / split / "metadata.csv"]:
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    with Image.open(files[0]) as image:
        assert (image.size, image.mode) == ((12, 12), "RGB")


def test_the_metadata_state_the_hue_of_the_letter(faces: list[fonts.Face], tmp_path: Path) -> None:
    bold = [face for face in faces if face.name in ("DejaVuSans-Bold", "STIXGeneralBol", "cmb10")]
    fonts.draw(tmp_path / "letters", bold, size=48, metadata=True, flat=True)
    folder = tmp_path / "letters" / "train"
    rows = list(csv.DictReader((folder / "metadata.csv").read_text().splitlines()))
    assert len(rows) == 62
    assert {row["letter"] for row in rows} == set(map(fonts.class_of, fonts.LETTERS))
    for row in rows:
        with Image.open(folder / row["file_name"]) as image:
            pixels = np.asarray(image).reshape(-1, 3) / 255
        red, green, blue = pixels[np.argmax(np.ptp(pixels, 1))]  # the most saturated one
        hue = 360 * colorsys.rgb_to_hsv(red, green, blue)[0]
        assert min(abs(hue - float(row["hue"])), 360 - abs(hue - float(row["hue"]))) < 4


def test_an_angle_is_anticlockwise() -> None:
    right = torch.zeros(2, 1, 29, 29, dtype=torch.uint8)
    right[:, :, 14, 22:26] = 255
    up, corner = turned_digits.turned(right, torch.tensor([90.0, 45.0]))[:, 0]
    assert torch.equal(up.nonzero(), torch.stack([torch.arange(3, 7), torch.full((4,), 14)], 1))
    rows, columns = (corner > 60).nonzero().float().mean(0).tolist()
    assert (14 - rows, columns - 14) == pytest.approx((9.5 / 2**0.5, 9.5 / 2**0.5), abs=0.5)
    assert torch.equal(turned_digits.turned(right, torch.zeros(2)), right)


def test_the_turned_digits_are_those_of_the_splits_with_their_angles(tmp_path: Path) -> None:
    write_idx_files(tmp_path)
    source = IdxSource("mnist", "MNIST", str(tmp_path))
    found = turned_digits.arrays(source, most=45, seed=0)
    train, val = source.fit_splits()
    for name, split in {"train": train, "val": val, "test": source.test_split()}.items():
        images, angles = found[f"{name}_images"], torch.from_numpy(found[f"{name}_angle"])
        assert np.array_equal(found[f"{name}_digit"], split.labels)
        assert images.shape == (len(split.labels), 28, 28)
        back = turned_digits.turned(torch.from_numpy(images)[:, None], -angles).float() - split.images.float()
        assert back[:, :, 6:22, 6:22].abs().mean() < 3
        assert 30 < angles.abs().max() <= 45
    assert not np.array_equal(found["val_angle"], found["test_angle"])


TINY = ["data=folder", "data.path=letters", "data_dir=data", "accelerator=cpu", "network.hidden=[32]", "latent_dim=3"]
TINY += ["batch_size=64", "likelihood=gaussian_optimal", "sampler=mixture", "sampler.num_components=2"]
TINY += ["model.label_dropout=0.1", "data.balance=true", "epochs=2", "objective=val/elbo"]
QUICKLY = ["evaluators=judged"]
COMMANDS = {
    "judge": ("judge", ["data=folder", "data.path=letters", "data_dir=data", "epochs=1"], "data/judges"),
    "evaluate": ("evaluate", ["run=run", *QUICKLY], "run/metrics.json"),
    "evaluate_a_sweep": ("evaluate", ["run=sweep/1", *QUICKLY], "sweep/1/metrics.json"),
    "sample": ("sample", ["run=run", "condition={letter: [A, a_lower, 7], hue: 120}"], "run/samples/samples.npz"),
    "sample_the_unknown": ("sample", ["run=sweep", "condition={hue: [0, 240]}", "out=unknown"], "unknown/samples.npz"),
    "reconstruct": ("reconstruct", ["run=run", "split=test", "num=6"], "run/samples/reconstructions.npz"),
    "reconstruct_a_file": (
        "reconstruct",
        ["run=run", "images=mine.png", "condition={letter: A, hue: 30}", "out=own"],
        "own/reconstructions.npz",
    ),
    "interpolate": ("interpolate", ["run=run", "num=4", "steps=5"], "run/samples/interpolations.npz"),
    "traverse": (
        "traverse",
        ["run=run", "over=hue", "condition={letter: [A, Q]}", "num=4", "steps=5"],
        "run/samples/traversal_over_hue.npz",
    ),
    "traverse_latents": ("traverse", ["run=run", "labels=[A]", "out=latents"], "latents"),
    "embed": ("embed", ["run=run"], "run/samples/embedding.npz"),
    "html": ("export", ["run=run"], "run/export/explorer.html"),
    "onnx": ("export", ["run=run", "format=onnx"], "run/export/decoder.onnx"),
    "report": ("report", ["sweep=sweep"], "sweep/report.html"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small letters, a run on them, and a sweep of two seeds."""
    folder = tmp_path_factory.mktemp("own")
    fonts.draw(folder / "letters", fonts.faces_in([FONTS]), size=12, metadata=True)
    shutil.copy(min((folder / "letters" / "test" / "A").iterdir()), folder / "mine.png")
    for where in (["hydra.run.dir=run"], ["-m", "seed=0,1", "hydra.sweep.dir=sweep"]):
        answer = execute(*where, *TINY, cwd=folder)
        assert answer.returncode == 0, answer.stderr
    return folder


@pytest.mark.slow
def test_a_folder_of_letters_is_trained_on(trained: Path) -> None:
    run = Run(trained / "run")
    condition = run.metrics["dataset"]["condition"]
    assert list(condition) == ["letter", "hue"]
    assert set(condition["letter"]["classes"]) == set(map(fonts.class_of, fonts.LETTERS))
    assert 0 <= condition["hue"]["low"] < 10 < 290 < condition["hue"]["high"] <= 300
    assert run.model().image_shape == (3, 12, 12)
    assert run.sample({"letter": ["A", None], "hue": 10}).shape == (2, 3, 12, 12)
    assert Run(trained / "sweep" / "0").metrics["val"] == run.metrics["val"], "the same command, so the same numbers"


@pytest.mark.slow
def test_a_training_on_a_folder_that_was_killed_goes_on_to_the_same_numbers(trained: Path) -> None:
    run = Run(trained / "sweep" / "1")
    metrics, weights = run.metrics, (run.path / "model.safetensors").read_bytes()
    for name in ("metrics.json", "model.safetensors"):
        (run.path / name).unlink()
    answer = execute("resume=sweep/1", cwd=trained)
    assert answer.returncode == 0, answer.stderr
    assert without_times(Run(run.path).metrics) == without_times(metrics)
    assert (run.path / "model.safetensors").read_bytes() == weights


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_a_run_on_a_folder_of_letters(trained: Path, name: str) -> None:
    module, arguments, written = COMMANDS[name]
    answer = execute(*arguments, cwd=trained, module=f"cvae_lightning.{module}")
    assert answer.returncode == 0, answer.stderr
    assert (trained / written).exists()
    if written.endswith(".npz") and "images" in (arrays := np.load(trained / written)):
        images = arrays["images"]
        assert images.shape[-3:] == (3, 12, 12)
        assert 0 <= images.min() < images.max() <= 1


def commands_of_the_page() -> list[list[str]]:
    """The words of each command in docs/own_data.md, in the order of the page."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", (ROOT / "docs" / "own_data.md").read_text(), re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On small images of few fonts, with a small network, and for one epoch."""
    monkeypatch.chdir(tmp_path)
    small = ["data_dir=data", "accelerator=cpu", "epochs=1", "network.hidden=[16]", "evaluators=default"]
    commands = commands_of_the_page()
    assert len(commands) > 8
    for python, *words in commands:
        assert python == "python"
        if words[0] == "benchmarks/fonts.py":
            monkeypatch.setattr(sys, "argv", [*words, "--fonts", str(FONTS), "--size", "8"])
            fonts.main()
            continue
        module, *arguments = words[1:]
        training = module == "cvae_lightning"
        answer = execute(*arguments, *(small if training else []), cwd=tmp_path, module=module)
        assert answer.returncode == 0, (words, answer.stderr)
    assert (tmp_path / "outputs" / "letters_hue" / "export" / "explorer.html").is_file()
    assert (tmp_path / "outputs" / "letters_hue" / "samples" / "traversal_over_hue.png").is_file()
