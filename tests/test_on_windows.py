"""The commands on a pretended Windows (pretended_windows/sitecustomize.py), each as a process of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import QUICK, ROOT, SMALL, command, environment, without_times
from PIL import Image

from cvae_lightning.core.build import PACKAGE
from cvae_lightning.runs.run import Run

WINDOWS = Path(__file__).parent / "pretended_windows"

COMMANDS = {
    "sample": ["labels=[2,7,9]"],
    "reconstruct": [],
    "interpolate": [],
    "traverse": [],
    "embed": [],
    "score": ["split=val", "num_samples=2"],
    "inpaint": [],
    "evaluate": [],
    "export": ["format=html"],
}

GOOD = {
    "a name that is allowed": "open('a b.txt', 'w', encoding='utf-8').close()",
    "a file that is closed": "open('a', 'w').close(); os.replace('a', 'b'); os.remove('b')",
    "a character of the code page": "print('é')",
}

BAD = {
    "a colon in a name": "open('12:30.txt', 'w', encoding='utf-8')",
    "a reserved name": "os.mkdir('con')",
    "a name that ends with a full stop": "Path('a.').mkdir()",
    "an open file is removed": "file = open('a', 'w'); os.remove('a')",
    "an open file is replaced": "file = open('a', 'w'); open('b', 'w').close(); Path('b').replace('a')",
    "a mapped file is replaced": """
Path('a').write_bytes(b'1')
with open('a', 'rb') as file:
    view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
Path('b').touch()
os.replace('b', 'a')""",
    "a folder with an open file is renamed": "os.mkdir('f'); file = open('f/a', 'w'); os.rename('f', 'g')",
    "a file is renamed to one that exists": "Path('a').touch(); Path('b').touch(); os.rename('a', 'b')",
    "a folder is opened": "os.open('.', os.O_RDONLY)",
    "a link": "os.symlink('a', 'b')",
    "a character outside the code page": "print('→')",
    "text outside the code page": "open('a', 'w').write('→')",
    "an encoding that is left open": "exec('open(\"a\", \"w\")', {'__name__': 'cvae_lightning'})",
    "a module that only Unix has": "exec('import fcntl', {'__name__': 'cvae_lightning.core'})",
    "a name that only Unix has": "exec('import os; os.pread', {'__name__': 'cvae_lightning.core'})",
    "a fork": "os.fork()",
}


def on_windows(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """What comes of a Python process there."""
    folders = os.pathsep.join([str(WINDOWS), str(ROOT)])
    env = {**environment(), "PYTHONPATH": folders, "PYTHONWARNDEFAULTENCODING": "1"}
    return subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, encoding="cp1252")


def succeeds(name: str, *words: str, cwd: Path) -> str:
    """What a command prints, which ends well."""
    module = "cvae_lightning" if name == "train" else f"cvae_lightning.{name}"
    answer = on_windows(*command(*words, module=module)[1:], cwd=cwd)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_what_windows_refuses_is_refused(tmp_path: Path, name: str) -> None:
    answer = on_windows("-c", f"import mmap, os\nfrom pathlib import Path\n{(GOOD | BAD)[name]}", cwd=tmp_path)
    assert answer.returncode == (name in BAD), answer.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two epochs, with all its figures."""
    folder = tmp_path_factory.mktemp("windows")
    succeeds("train", *SMALL, "epochs=2", "hydra.run.dir=outputs/run", cwd=folder)
    return folder


@pytest.mark.slow
def test_a_training_gives_the_numbers_that_it_gives_elsewhere(trained: Path, tmp_path: Path) -> None:
    answer = subprocess.run(command(*SMALL, "epochs=2", f"hydra.run.dir={tmp_path}"), cwd=tmp_path, env=environment())
    assert answer.returncode == 0
    assert without_times(Run(trained / "outputs" / "run").metrics) == without_times(Run(tmp_path).metrics)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_a_run(trained: Path, name: str) -> None:
    assert succeeds(name, "run=outputs/run", *COMMANDS[name], cwd=trained)


@pytest.mark.slow
def test_a_sweep_of_runs_that_share_their_epochs_is_made_repeated_and_reported(tmp_path: Path) -> None:
    sweep = ["-m", *QUICK, "epochs=1,2", "lr=0.001,0.01", "hydra.sweep.dir=sweep"]
    succeeds("train", *sweep, cwd=tmp_path)
    runs = [Run(tmp_path / "sweep" / str(number)) for number in range(4)]
    first = [run.metrics for run in runs]
    (runs[-1].path / "metrics.json").unlink()  # as if it had been killed
    succeeds("train", *sweep, cwd=tmp_path)
    assert list(map(without_times, first)) == [without_times(run.metrics) for run in runs]
    assert "report.html" in succeeds("report", "sweep=sweep", cwd=tmp_path)


MISTAKES = [["epochs=0"], ["lr=-1"], ["network.hidden=[999999999]"], ["data=folder", "data.path=nowhere"]]


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES, ids=" ".join)
def test_a_refused_command_says_why_and_leaves_nothing(tmp_path: Path, mistake: list[str]) -> None:
    words = command("data=digits", "accelerator=cpu", *mistake, "hydra.run.dir=outputs/run")
    here = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, encoding="utf-8")
    there = on_windows(*words[1:], cwd=tmp_path)
    assert there.returncode == here.returncode == 1
    assert re.sub(r"[\d.]+ GB are", "", there.stderr) == re.sub(r"[\d.]+ GB are", "", here.stderr)  # it varies
    assert there.stderr.startswith(("Expected ", "The model needs "))
    assert not list(tmp_path.glob("outputs/run/*"))


@pytest.mark.slow
def test_images_of_a_folder_are_decoded_again_when_they_change(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 256, (12, 12), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mine" / label / f"{number}.png")
    words = ["data=folder", "data.path=mine", "data_dir=data", "accelerator=cpu", "network.hidden=[16]", "epochs=1"]
    words += ["evaluators=default", "figures=none", "data.skip_broken=true"]
    digests = []
    for run in ("one", "two"):
        succeeds("train", *words, f"hydra.run.dir={run}", cwd=tmp_path)
        digests.append(json.loads((tmp_path / run / "data.json").read_text("utf-8")))
        (tmp_path / "mine" / "a" / "0.png").write_text("no image", "utf-8")
    assert digests[0] != digests[1]
    assert len(list(tmp_path.glob("data/cache/*/train.bytes"))) == 2


def test_names_have_no_backslashes() -> None:
    """On Windows str() of a path has them, and names of presets, classes and files within others have slashes."""
    for file in PACKAGE.rglob("*.py"):
        assert not re.findall(r"str\([^()\n]*\brelative_to\b.*", file.read_text("utf-8")), file
