"""The pages of docs/: every link leads somewhere, every test and class they name is there, and their code runs."""

import ast
import functools
import math
import re
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from helpers import composed, execute
from pytorch_lightning import Trainer

from cvae_lightning import DataModule
from cvae_lightning.cli.rewriting import with_files
from cvae_lightning.core.build import PACKAGE
from cvae_lightning.models import inference
from cvae_lightning.models.bounds import ELBOBound
from cvae_lightning.models.likelihoods import Gaussian
from cvae_lightning.models.optimizers import adam
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep
from cvae_lightning.training.parts import Parts
from cvae_lightning.training.train import measure

ROOT = PACKAGE.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
READMES = [ROOT / "README.md", *sorted((ROOT / "multirun").glob("README.md")), ROOT / "multirun/reference/README.md"]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[([^\]\[]*(?:\[[^\]]*\][^\]\[]*)?)\]\(([^)\s]+)\)")
MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.DOTALL)

by_name = pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """Without code."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path, *languages: str) -> list[str]:
    return [code for language, code in FENCED.findall(page.read_text(encoding="utf-8")) if language in languages]


def anchors(page: Path) -> set[str]:
    """Of the headings, as forges make them."""
    headings = re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Text, file and anchor of all that stay in the repository."""
    for text, target in LINK.findall(prose(page)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield text, (page.parent / path).resolve() if path else page, anchor


@functools.cache
def defined(file: Path) -> set[str]:
    """Functions, classes and methods (Class.method) of a module, and the names it assigns."""
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{method.name}" for method in node.body if isinstance(method, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


@by_name
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for text, file, anchor in links(page):
        assert file.exists(), f"{text}: {file}"
        assert file.is_relative_to(ROOT)
        assert not anchor or anchor in anchors(file), f"{text}: {file.name}#{anchor}"


@by_name
def test_what_a_link_names_is_defined_in_its_file(page: Path) -> None:
    for text, file, _ in links(page):
        name = re.fullmatch(r"`([\w.]+)`", text)
        if file.suffix == ".py" and name and not name[1].endswith(".py"):
            assert name[1] in defined(file), f"{file.name} has no {name[1]}"


@by_name
def test_a_test_that_is_named_without_a_link_is_there_too(page: Path) -> None:
    tests = set().union(*(defined(file) for file in (ROOT / "tests").rglob("test_*.py")))
    for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8")):
        assert name in tests, name
    for name in re.findall(r"`(?:tests/)?(test_\w+\.py)`", page.read_text(encoding="utf-8")):
        assert (ROOT / "tests" / name).is_file(), name


def test_the_table_of_contents_has_every_page() -> None:
    contents = ROOT / "docs" / "README.md"
    listed = {file for _, file, _ in links(contents)}
    assert not [page.name for page in PAGES if page != contents and page not in listed]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_formulas_survive_markdown(page: Path) -> None:
    """Which takes a backslash before punctuation away, and a bar for the border of a cell."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    formulas = [display or inline for display, inline in MATH.findall(text)]
    assert "$" not in MATH.sub("", text), "a formula that does not end"
    for formula in formulas:
        assert not re.search(r"\\[^a-zA-Z ]", formula), formula
        assert formula.count("{") == formula.count("}"), formula
        assert formula.count(r"\left") == formula.count(r"\right"), formula
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert not [row for row in rows if any("|" in "".join(formula) for formula in MATH.findall(row))]


def overrides(page: Path) -> Iterator[str]:
    """key=value of all training commands in blocks of their own, lists taken apart, but for what Hydra expands."""
    code = "\n".join(blocks(page, "", "bash")).replace("\\\n", " ")
    for arguments in re.findall(r"^python -m cvae_lightning +(.+?)(?: +#.*)?$", code, re.M):
        for word in map(with_files, shlex.split(arguments)):
            key, _, values = word.partition("=")
            if values and "(" not in values and not key.startswith(("hydra", "resume")):
                yield from (f"{key}={value}" for value in ([values] if values.startswith("[") else values.split(",")))


def test_the_commands_of_the_pages_compose() -> None:
    found = {override for page in PAGES if page.stem not in ("extending", "own_data") for override in overrides(page)}
    assert len(found) > 12
    for override in sorted(found):
        assert composed(override), override


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "extending" and blocks(page, "python")])
def test_the_code_of_the_pages_runs(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec"), {})


@pytest.fixture
def extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files of docs/extending.md, as the working directory."""
    for block in blocks(ROOT / "docs" / "extending.md", "python", "yaml"):
        for name, content in re.findall(
            r"^# (\S+\.(?:py|yaml))\n(.*?)(?=^# \S+\.(?:py|yaml)\n|\Z)", block, re.M | re.S
        ):
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_parts", None)


def test_the_parts_of_the_page_need_no_configuration_in_python(extended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(extended))
    parts = import_module("my_parts")
    names: dict[str, Any] = {**vars(parts), **{part.__name__: part for part in (DataModule, Gaussian, ELBOBound, adam)}}
    page = (ROOT / "docs" / "extending.md").read_text()
    model, data = (eval(code, names) for code in re.findall(r"`((?:ParityVAE|DataModule)\(.+\))`", page))
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = Trainer(max_epochs=2, accelerator="cpu", **quiet)
    trainer.fit(model, datamodule=data)
    results = measure(Parts(model, data, [parts.Brightness()], trainer), data)
    assert (results.val["elbo"] or -math.inf) > -2000
    assert 0.3 < (results.val["brightness"] or 0) < 3
    assert inference.sample(model, [0, 1, 2]).images.shape == (3, 1, 28, 28)


TRAINED_WITH = "It was trained with plugins=[my_parts]: if you trust that code, add it to this command"


def test_the_commands_of_the_page_work_where_they_name_the_plug_in(extended: Path) -> None:
    commands = re.findall(r"^python -m (\S+) (.+)$", "\n".join(blocks(ROOT / "docs" / "extending.md", "")), re.M)
    assert len(commands) == 3
    small = {
        "train": ["accelerator=cpu", "latent_dim=3", "hydra.run.dir=run", "hydra.sweep.dir=sweep"],
        "sample": ["num=1"],
    }
    for module, text in commands:
        words = shlex.split(text.replace("<run directory>", "run"))
        answer = execute(*words, *small[module.partition(".")[2] or "train"], cwd=extended, module=module)
        assert answer.returncode == 0, answer.stderr
        unnamed = [word for word in words if not word.startswith("plugins=")]
        answer = execute(*unnamed, cwd=extended, module=module)
        assert answer.returncode == 1
        assert ("add plugins=[<module>]" if "data=stripes" in words else TRAINED_WITH) in answer.stderr
    run = Run(extended / "run")
    assert (run.metrics["val"]["brightness"] or 0) > 0
    assert (run.metrics["model"], run.metrics["network"], run.config["data"]["name"]) == ("parity", "gelu", "stripes")
    assert [run.config["network"]["hidden"] for run in Sweep(extended / "sweep").runs] == [64, 128]


def test_a_file_beside_its_yaml_files_is_a_plug_in_too(extended: Path) -> None:
    (extended / "my_parts" / "__init__.py").rename(extended / "parts.py")
    (extended / "my_parts" / "conf").rename(extended / "conf")
    for file in (extended / "conf").rglob("*.yaml"):
        file.write_text(file.read_text().replace("my_parts.", "parts."))
    words = [
        "data=stripes",
        "network=gelu",
        "epochs=1",
        "accelerator=cpu",
        "hydra.run.dir=run",
        "callbacks.figures=null",
    ]
    answer = execute("plugins=parts", "--config-dir=conf", *words, cwd=extended)
    assert answer.returncode == 0, answer.stderr
    assert Run(extended / "run").metrics["network"] == "gelu"
