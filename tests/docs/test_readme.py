"""README.md is short, and its quick start prints what it shows."""

import re
import shlex
from pathlib import Path

import pytest
from helpers import execute

from cvae_lightning.core.build import PACKAGE

README = (PACKAGE.parent / "README.md").read_text()


def quick_start(language: str) -> str:
    """The code of that language in the quick start."""
    section = re.split(r"^## ", README, flags=re.M)[2]
    found = re.search(rf"^```{language}\n(.*?)^```$", section, re.M | re.S)
    assert section.startswith("Quick start")
    assert found
    return found[1]


def without_numbers(text: str) -> str:
    return re.sub(r"-?\d[\d.,]*", "0", re.sub(r"[ \t]+", " ", text))


def test_the_readme_has_at_most_120_lines() -> None:
    assert len(README.splitlines()) <= 120


@pytest.mark.slow
def test_the_quick_start_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lines, with other digits where the processor rounds otherwise; the code finds the run."""
    printed = ""
    for command in quick_start("").splitlines():
        module, *words = shlex.split(command.removeprefix("python -m "))
        answer = execute(*words, cwd=tmp_path, module=module)
        assert answer.returncode == 0, answer.stderr
        printed += answer.stdout + answer.stderr
    lines = without_numbers(printed).splitlines()
    for line in without_numbers(quick_start("text")).splitlines():
        assert line == "..." or line in lines, line
    monkeypatch.chdir(tmp_path)
    exec(compile(quick_start("python"), "README.md", "exec"), {})


def test_the_code_of_the_quick_start_has_six_lines() -> None:
    assert len([line for line in quick_start("python").splitlines() if line]) == 6
