"""Plug-ins: which modules a person may name, which installed ones are trusted, and what a broken one says."""

import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT, composed
from omegaconf import OmegaConf

from cvae_lightning.core import plugins
from cvae_lightning.core.build import build, part_named, plugins_to_record
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.plugins import PLUGINS, trust

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a file into a folder in which Python looks for modules; nothing is trusted yet."""
    monkeypatch.setenv(PLUGINS, "")
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def write(name: str, content: str) -> Path:
        file = site / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    yield write
    for module in set(sys.modules) - before:
        if str(site) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


def declare(write: Write, *values: str) -> None:
    """An installed package with these entry points."""
    write("mine-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    lines = [f"entry{number} = {value}" for number, value in enumerate(values)]
    write("mine-1.0.dist-info/entry_points.txt", "\n".join(["[cvae_lightning.plugins]", *lines, ""]))


REFUSED: dict[Any, str] = {
    **dict.fromkeys(
        ("a-b", "my_parts.py", "folder/my_parts", "", "a..b", ".a", "a.", "1a", "a b", None, 3), "the name of a module"
    ),
    **dict.fromkeys(("os", "os.path", "builtins", "subprocess", "torch", "torch.hub", "yaml"), "a module of your own"),
    **dict.fromkeys(
        ("cvae_lightning", "cvae_lightning.core.files", "hydra_plugins", "__main__"), "a module of your own"
    ),
    **dict.fromkeys(("nowhere", "nowhere.at_all"), "a module that Python finds"),
}


@pytest.mark.parametrize("module", REFUSED)
def test_a_module_that_cannot_be_a_plug_in_is_refused(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS, "")
    with pytest.raises(
        UserError, match=rf"^Expected {REFUSED[module]}.* \(plugins\), got {re.escape(repr(module))}\. .+\.$"
    ):
        trust(module)
    assert not os.environ[PLUGINS]


EXTRAS = ("cluster", "export", "mlflow", "wandb")


def test_no_library_that_this_package_installs_can_be_a_plug_in() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [
        *project["dependencies"],
        *(name for extra in EXTRAS for name in project["optional-dependencies"][extra]),
    ]
    names = {re.split(r"[^\w-]", requirement)[0].replace("_", "-") for requirement in required}
    modules = {
        module
        for module, packages in packages_distributions().items()
        if names & {package.lower().replace("_", "-") for package in packages}
    }
    assert {"torch", "hydra", "PIL", "sklearn"} <= modules
    for module in modules - {
        "tests",
        "pydevd_plugins",
        "__pycache__",
    }:  # the tests of torch-fidelity, a debugger's part of OmegaConf, and what Python 3.12 says of compiled files
        assert not plugins.may_be_plugin(module), module


def test_a_name_in_the_environment_is_checked_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS, "my_parts, torch")
    with pytest.raises(UserError, match=rf"a module of your own \({PLUGINS}\), got 'torch'"):
        build(composed().network)


def test_an_installed_package_with_an_entry_point_is_trusted_without_being_named(write: Write) -> None:
    write("mine/__init__.py", "")
    write("mine/parts.py", "class Gelu: ...\n")
    write("mine/others.py", "class Gelu: ...\n")
    with pytest.raises(UserError, match=r"add plugins=\[mine\]"):
        part_named("mine.parts.Gelu")
    declare(write, "mine.parts", "mine.parts : Gelu")
    plugins._installed.cache_clear()  # pip does not install in a process that runs
    assert plugins.trusted() == ["mine.parts"]
    assert plugins.named() == []
    assert part_named("mine.parts.Gelu").__module__ == "mine.parts"
    with pytest.raises(UserError, match=r"add plugins=\[mine\]"):
        part_named("mine.others.Gelu")
    assert "mine.others" not in sys.modules
    used = OmegaConf.create({"network": [{"hidden": {"_target_": "mine.parts.Gelu"}}]})
    assert plugins_to_record(used) == ["mine.parts"]
    assert plugins_to_record(composed()) == [], "a run does not need every plug-in that happens to be installed"


def test_an_entry_point_is_checked_as_a_name_is(write: Write) -> None:
    declare(write, "os")
    with pytest.raises(
        UserError, match=r"a module of your own \(an entry point in cvae_lightning\.plugins\), got 'os'"
    ):
        plugins.trusted()


def test_the_folder_of_a_package_is_found_without_executing_it(write: Write) -> None:
    write("mine/__init__.py", "raise RuntimeError\n")
    write("mine/inner/__init__.py", "raise RuntimeError\n")
    write("mine/conf/network/gelu.yaml", "")
    folder = write("mine/inner/conf/network/gelu.yaml", "").parents[1]
    write("single.py", "raise RuntimeError\n")
    trust("mine.inner", "single")
    assert plugins.folders("conf") == [folder]
    trust("mine")
    assert plugins.folders("conf") == [folder, folder.parents[1] / "conf"]


BROKEN = {
    "import nowhere_at_all": r"ModuleNotFoundError: No module named 'nowhere_at_all'\.$",
    "x = 1\ny = z": r"NameError: name 'z' is not defined \(.*broken\.py, line 2\)\.$",
    "def f(:": r"SyntaxError: .*\(broken\.py, line 1\)\.$",
    "raise ValueError('one\\ntwo')": r"ValueError: one two \(.*broken\.py, line 1\)\.$",
    "import sys; sys.exit(2)": r"SystemExit: 2 \(.*broken\.py, line 1\)\.$",
}


@pytest.mark.parametrize("content", BROKEN)
def test_a_plug_in_that_cannot_be_imported_says_why(content: str, write: Write) -> None:
    write("broken.py", content)
    trust("broken")
    with pytest.raises(UserError, match=rf"can be imported \(plugins\), got 'broken', which raises {BROKEN[content]}"):
        part_named("broken.Gelu")


def test_what_to_add_is_all_that_the_run_was_trained_with(write: Write) -> None:
    write("my_parts.py", "class Gelu: ...\n")
    write("more.py", "class Gelu: ...\n")
    trust("more")
    config = OmegaConf.create({"a": {"_target_": "my_parts.Gelu"}, "plugins": ["more", "my_parts"]})
    words = r"plugins=\[more,my_parts\]: if you trust that code, add it to this command"
    with pytest.raises(UserError, match=rf'{words}, or call trust\("more", "my_parts"\) in Python\.$'):
        build(config.a)


@pytest.mark.parametrize("target", ["os.system", "torch.hub.load", "Gelu"])
def test_nobody_is_told_to_trust_what_cannot_be_a_plug_in(target: str) -> None:
    config = OmegaConf.create({"a": {"_target_": target}, "plugins": ["os", "torch"]})
    with pytest.raises(
        UserError, match=rf"got '{target}'\. If it came with somebody else's files, it may run any code\.$"
    ):
        build(config.a)
