"""Paths on the command line: what a shell takes as a path is one, and printed commands can be pasted into a shell."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import environment
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cvae_lightning.cli.multirun import SweepInProgress
from cvae_lightning.cli.paths import quoted_paths
from cvae_lightning.cli.rewriting import set_in_each_run
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.shell import path_argument
from cvae_lightning.runs.summary import next_commands
from cvae_lightning.runs.sweep import RECORD, Sweep

PARSER = OverridesParser.create()
SPECIAL = " =,#()[]{}'\"\\$%:~+-._1e3nulöo\u0308\n"
NAMES = st.text(SPECIAL, min_size=1, max_size=12) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=20
)
NASTY = "a b=c,(1)#[x]{y}'\"\\$z%:~ é.png "


def read(*arguments: str) -> object:
    """The value that Hydra and OmegaConf read from the last word."""
    (*_, override) = PARSER.parse_overrides([word for word in quoted_paths(arguments) if word != "-m"])
    if override.is_sweep_override():
        return [PARSER.parse_override(f"k={value}").value() for value in override.sweep_string_iterator()]
    config = OmegaConf.create({})
    OmegaConf.update(config, "key", override.value())
    return OmegaConf.to_container(config, resolve=True)["key"]  # type: ignore[index,call-overload]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES)
@example("${x}")
@example("\\${x}\\\\${")
@example("'a'")
@example("[a].png")
@example("null")
@example("1e3")
@example("~")
def test_a_path_that_exists_is_read_as_it_was_typed(name: str) -> None:
    assume(name not in (".", ".."))
    Path(name).mkdir()
    try:
        for key in ("run", "images", "out"):
            assert read(f"{key}={name}") == name
    finally:
        Path(name).rmdir()


@settings(max_examples=300, deadline=None)
@given(NAMES)
@example("007")
@example("true")
@example("a,b")
def test_a_path_that_is_to_be_made_is_read_as_it_was_typed(name: str) -> None:
    assume("${" not in name and "::" not in name and name[0] not in "~'\"" and name != "null")
    assert read(f"hydra.run.dir={name}") == read(f"out={name}") == name


def test_what_is_no_path_as_it_stands_keeps_its_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert read("run='a b'") == "a b"
    assert read("run=~/a b") == "/home/me/a b"
    assert read("out=null") is None
    assert read("run=null") == "null"
    assert read("images=[a (1).png, b=2.png,'c,d.png']") == ["a (1).png", "b=2.png", "c,d.png"]
    assert read("data_dir=${oc.env:HOME}/x y") == "/home/me/x y"
    assert read("-m", "data_dir=a b,c") == ["a b", "c"]
    Path("a b,c").mkdir()
    assert read("-m", "data_dir=a b,c") == "a b,c"
    assert quoted_paths(["lr=0.1", "run=outputs/2026-01-01/12-00-00", "-m"])[1] == "run=outputs/2026-01-01/12-00-00"


@pytest.mark.parametrize("key", ["hydra.run.dir", "hydra.sweep.dir", "out", "data_dir", "run", "resume"])
@pytest.mark.parametrize("path", ["s3://bucket/x", "file:///x", "ch::x", "", "b\udcfccher"])
def test_what_is_no_local_path_in_utf8_is_refused(key: str, path: str) -> None:
    with pytest.raises(UserError, match=rf"Expected a .*path.* \({key}\), got "):
        quoted_paths([f"{key}={path}"])


def test_a_name_that_hydra_would_look_up_twice_is_refused() -> None:
    Path("${x}").mkdir()
    with pytest.raises(UserError, match=r"Expected a path without \$\{ \(data_dir\)"):
        quoted_paths(["data_dir=${x}"])


def test_another_locale_reads_ascii_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    quoted_paths(["run=there"])
    with pytest.raises(UserError, match=r"Expected a path in UTF-8 \(run\), got .*PYTHONUTF8=1"):
        quoted_paths(["run=Bücher"])


def pasted(text: str) -> list[str]:
    """The words that a shell makes of what was printed."""
    program = f"{shlex.quote(sys.executable)} -c 'import sys; print(chr(0).join(sys.argv[1:]), end=str())'"
    shell = f'python() {{ {program} "$@"; }}\n{text}'
    return subprocess.run(["sh", "-c", shell], capture_output=True, check=True).stdout.decode().split("\0")


@pytest.fixture
def nasty() -> Path:
    (Path(NASTY) / ".hydra").mkdir(parents=True)
    (Path(NASTY) / ".hydra" / "config.yaml").touch()
    return Path(NASTY)


def test_printed_commands_mean_the_same_path_in_a_shell(nasty: Path) -> None:
    from cvae_lightning.runs.run import Run

    with pytest.raises(UserError) as incomplete:
        _ = Run(nasty).metrics
    sweep = SweepInProgress()
    sweep.path = nasty
    printed = {
        "run": next_commands(nasty).splitlines()[2],
        "resume": str(incomplete.value).partition("Continue it: ")[2],
        "hydra.sweep.dir": "python " + sweep.how_to_continue().partition(" and ")[2],
        "directory": f"python {path_argument('directory', nasty)}",
    }
    for key, command in printed.items():
        (word,) = [word for word in pasted(command) if word.startswith(f"{key}=")]
        assert read(word) == NASTY


def test_with_m_keys_of_a_swept_group_are_set_in_each_run() -> None:
    given = ["-m", "network=conv,residual", "network.channels=4", "lr=0.1", "network.hidden=[1,2]"]
    assert set_in_each_run(given)[2:] == ["network.channels=choice(4)", "lr=0.1", "network.hidden=choice([1,2])"]
    assert set_in_each_run(given[2:]) == given[2:]


def test_a_long_name_is_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text('{"command": [], "jobs": []}')
    sweep = Sweep(tmp_path)
    names = [sweep.folder_of([f"key{n}={'ä' * 20}" for n in range(20)] + [last], "0") for last in ("seed=1", "seed=2")]
    assert len(set(names)) == 2
    others = (["lr=${lr}", "run=a/b\n"], [".x=1"], ['data.path=D:\\"mine"', "name=what?|*<>"])
    for name in [*names, *(sweep.folder_of(overrides, "1") for overrides in others)]:
        (tmp_path / name).mkdir()
        assert "${" not in name
        assert not name.startswith(".")
        assert not re.search(r'[<>:"\\|?*]|[. ]$', name), "Windows refuses it"


def test_a_name_has_a_number_only_where_two_runs_may_have_the_same(tmp_path: Path) -> None:
    jobs = [["lr=0.1", "seed=1"], ["lr=0.1", "seed=2"], ["lr=0.2", "seed=2"], ["lr=0.2", "seed=2"]]
    (tmp_path / RECORD).write_text(json.dumps({"command": [], "jobs": jobs}))
    names = [Sweep(tmp_path).folder_of(job, str(number)) for number, job in enumerate(jobs)]
    assert names == ["lr=0.1,seed=1", "lr=0.1,seed=2", "lr=0.2,seed=2 (2)", "lr=0.2,seed=2 (3)"]
    (tmp_path / RECORD).write_text('{"command": [], "jobs": null}')
    assert Sweep(tmp_path).folder_of(["lr=0.1"], "7") == "lr=0.1 (7)", "a search may repeat itself"


SCRIPT = """
import logging, sys
from cvae_lightning.cli.output import guard_standard_streams
guard_standard_streams()
logging.basicConfig(stream=sys.stdout, format="%(message)s", level="INFO")
for number in range(20000):
    logging.info("0.5 ± %d b\\udcc3\\udcbccher", number)
print("done", file=open("done", "w"))
"""


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_output_goes_on_without_a_reader_and_in_any_encoding(encoding: str) -> None:
    command = [sys.executable, "-c", SCRIPT]
    env = {**environment(), "PYTHONIOENCODING": encoding}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe) as process:
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b"")
    sign = {"ascii": rb"\xb1", "utf-8": "±".encode(), "latin-1": b"\xb1"}[encoding]
    assert line == b"0.5 " + sign + b" 0 b\xc3\xbccher" + os.linesep.encode()
    assert Path("done").exists()
