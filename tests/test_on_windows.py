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

from cvae_lightning.cli import commands
from cvae_lightning.core.build import PACKAGE
from cvae_lightning.runs.run import Run

WINDOWS = Path(__file__).parent / "pretended_windows"

RUN = "run=outputs/run"

COMMANDS = {
    "sample": [RUN, "labels=[2,7,9]"],
    "reconstruct": [RUN],
    "interpolate": [RUN],
    "traverse": [RUN],
    "embed": [RUN],
    "score": [RUN, "split=val", "num_samples=2"],
    "inpaint": [RUN],
    "evaluate": [RUN],
    "export": [RUN, "format=html"],
    "export to a folder": [RUN, "to=hub"],
    "judge": ["data=digits"],
}
"""What follows each command; `train` and `report` have tests of their own."""

MAPPED = "Path('a').write_bytes(b'1'); f = open('a', 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close()"

GOOD = {
    "a name that is allowed": "open('a b.txt', 'w', encoding='utf-8').close()",
    "a file that is closed": "open('a', 'w').close(); os.replace('a', 'b'); os.remove('b')",
    "a character of the code page": "print('é')",
}

BAD = {
    "a colon in a name": ("open('12:30.txt', 'w', encoding='utf-8')", "WinError 123"),
    "a reserved name": ("os.mkdir('con')", "WinError 123"),
    "a name that ends with a full stop": ("Path('a.').mkdir()", "WinError 123"),
    "an open file is removed": ("file = open('a', 'w'); os.remove('a')", "WinError 32"),
    "an open file is replaced": ("file = open('a', 'w'); Path('b').touch(); Path('b').replace('a')", "WinError 32"),
    "a mapped file is shortened": (f"{MAPPED}; os.truncate('a', 0)", "WinError 32"),
    "a mapped file is replaced": (f"{MAPPED}; Path('b').touch(); os.replace('b', 'a')", "WinError 32"),
    "a folder in use is renamed": (
        "os.mkdir('f'); f = open('f/a', 'w'); os.rename('f', 'g')",
        "WinError 32",
    ),
    "the new name is taken": (
        "Path('a').touch(); Path('b').touch(); os.rename('a', 'b')",
        "WinError 183",
    ),
    "a folder is opened": ("os.open('.', os.O_RDONLY)", "PermissionError"),
    "a link": ("os.symlink('a', 'b')", "WinError 1314"),
    "a character outside the code page": ("print('→')", "UnicodeEncodeError"),
    "text outside the code page": ("open('a', 'w').write('→')", "UnicodeEncodeError"),
    "an encoding that is left open": ("exec('open(\"a\", \"w\")', {'__name__': 'cvae_lightning'})", "EncodingWarning"),
    "a module that only Unix has": ("exec('import fcntl', {'__name__': 'cvae_lightning'})", "ModuleNotFoundError"),
    "a name that only Unix has": ("exec('import os; os.pread', {'__name__': 'cvae_lightning'})", "AttributeError"),
    "a fork": ("os.fork()", "AttributeError"),
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


START = "import mmap, os; from pathlib import Path"


@pytest.mark.slow
@pytest.mark.parametrize("name", GOOD)
def test_what_windows_allows_is_allowed(tmp_path: Path, name: str) -> None:
    answer = on_windows("-c", f"{START}; {GOOD[name]}", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_what_windows_refuses_is_refused(tmp_path: Path, name: str) -> None:
    code, error = BAD[name]
    answer = on_windows("-c", f"{START}; {code}", cwd=tmp_path)
    assert answer.returncode == 1
    assert error in answer.stderr.splitlines()[-1]


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
def test_every_command_runs(trained: Path, name: str) -> None:
    assert succeeds(name.partition(" ")[0], *COMMANDS[name], cwd=trained)


def test_no_command_is_forgotten() -> None:
    assert {name.partition(" ")[0] for name in COMMANDS} | {"train", "report"} == set(commands.COMMANDS)


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
