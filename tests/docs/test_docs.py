"""The pages of docs/: every link leads somewhere, every test and class they name is there, and their code runs."""

import ast
import functools
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import composed
from hydra import compose, initialize_config_dir

from cvae_lightning.cli.rewriting import with_files
from cvae_lightning.core.build import CONF, PACKAGE, PLUGINS
from cvae_lightning.core.errors import UserError
from cvae_lightning.runs.run import Run
from cvae_lightning.training.train import train

ROOT = PACKAGE.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
READMES = [ROOT / "README.md", *sorted((ROOT / "multirun").glob("README.md")), ROOT / "multirun/reference/README.md"]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[([^\]\[]*(?:\[[^\]]*\][^\]\[]*)?)\]\(([^)\s]+)\)")
MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.DOTALL)

by_name = pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """Without code."""
    return FENCED.sub("", page.read_text())


def blocks(page: Path, *languages: str) -> list[str]:
    return [code for language, code in FENCED.findall(page.read_text()) if language in languages]


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
    for node in ast.parse(file.read_text()).body:
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
    for name in re.findall(r"`(test_\w+)`", page.read_text()):
        assert name in tests, name
    for name in re.findall(r"`(?:tests/)?(test_\w+\.py)`", page.read_text()):
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
    for arguments in re.findall(r"^python -m cvae_lightning(?: --config-dir=conf)? +(.+?)(?: +#.*)?$", code, re.M):
        for word in map(with_files, shlex.split(arguments)):
            key, _, values = word.partition("=")
            if values and "(" not in values and not key.startswith(("hydra", "resume")):
                yield from (f"{key}={value}" for value in ([values] if values.startswith("[") else values.split(",")))


def test_the_commands_of_the_pages_compose() -> None:
    found = {override for page in PAGES if page.stem != "extending" for override in overrides(page)}
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
    """A folder with the files of docs/extending.md, whose module may be imported."""
    for code in blocks(ROOT / "docs" / "extending.md", "python", "yaml"):
        name = re.match(r"# (\S+\.(?:py|yaml))\n", code)
        if name:
            file = tmp_path / name[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_parts", None)


def test_the_parts_of_the_page_are_trained_in_python(extended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, object] = {}
    for code in blocks(ROOT / "docs" / "extending.md", "python"):
        if not re.match(r"# \S+\.py\n", code):
            exec(compile(code, "docs/extending.md", "exec"), namespace)
    assert namespace["images"].shape == (3, 1, 28, 28)  # type: ignore[attr-defined]
    elbo, brightness = map(float, capsys.readouterr().out.split())
    assert elbo > -2000
    assert 0.3 < brightness < 3


def test_the_parts_of_the_page_are_trained_by_their_names_once_they_are_trusted(
    extended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = set(overrides(ROOT / "docs" / "extending.md")) - {"network.hidden=128"}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        search = f"hydra.searchpath=[file://{extended / 'conf'}]"
        config = compose("config", overrides=[*sorted(given), search, "accelerator=cpu", "latent_dim=3"])
    run = Run.begin(extended / "run", config)
    with pytest.raises(UserError, match=rf"\(_target_\), got 'my_parts\..*{PLUGINS}=my_parts"):
        train(run)
    assert "my_parts" not in sys.modules
    monkeypatch.setenv(PLUGINS, "my_parts")
    metrics = train(run)
    assert (metrics["val"]["brightness"] or 0) > 0
    assert (metrics["model"], metrics["network"], metrics["likelihood"]) == ("parity_vae", "gelu", "laplace")
    assert run.sample([0, 1]).shape == (2, 1, 28, 28)
