"""What a shell completes, and what stands on the command line before Hydra reads it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import environment

from cvae_lightning.cli.checks import check_added_keys, check_options
from cvae_lightning.cli.completion import answer
from cvae_lightning.cli.keys import Keys, files_of
from cvae_lightning.cli.rewriting import options_first
from cvae_lightning.core.errors import UserError

COMPLETED = {
    "latent_d": ["latent_dim="],
    "likelihood": ["likelihood.", "likelihood="],
    "network=": ["network=conv", "network=mlp", "network=residual"],
    "network=mlp,r": ["network=mlp,residual"],
    "experiment=table2/": ["experiment=table2/cvae", "experiment=table2/vae"],
    "+sweep=s": ["+sweep=seeds"],
    "callbacks.averaging": [],
}


@pytest.mark.parametrize("word", COMPLETED)
def test_a_word_becomes_a_key_or_a_value_that_it_may_have(word: str) -> None:
    assert Keys("config").completed(word) == COMPLETED[word]


def test_paths_are_completed_where_no_value_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outputs" / "run").mkdir(parents=True)
    (tmp_path / "outputs" / "run.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert Keys("sample").completed("run=out") == ["run=outputs/"]
    assert Keys("sample").completed("run=outputs/r") == ["run=outputs/run.txt", "run=outputs/run/"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_after_the_line_that_the_readme_gives(tmp_path: Path) -> None:
    script = r"""
    cvae-lightning() { "$PYTHON" -c 'from cvae_lightning.cli.main import main; main()' "$@"; }
    eval "$("$PYTHON" -m cvae_lightning -sc install=bash)"
    for line in "$PYTHON -m cvae_lightning.ev" "$PYTHON -m cvae_lightning epochs=3 network=c" "$PYTHON other.py netw" \
            "cvae-lightning reco" "cvae-lightning sample run=x temp"; do
        COMP_LINE="$line"; COMP_POINT=${#line}; COMPREPLY=()
        _cvae_lightning "${line%% *}"
        echo "[${COMPREPLY[*]}]"
    done
    complete -p python
    complete -p cvae-lightning
    """
    given = {**environment(), "PYTHON": sys.executable}
    answered = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=given, capture_output=True, text=True, check=True
    )
    assert not answered.stderr
    modules, network, other, command, key, *installed = answered.stdout.splitlines()
    assert modules == "[cvae_lightning.evaluate]"
    assert network == "[conv]", "bash has the part up to = already"
    assert other == "[]"
    assert command == "[reconstruct]"
    assert key == "[temperature=]"
    assert [line.split()[-1] for line in installed] == ["python", "cvae-lightning"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    script = answer(["-sc", f"install={shell}"], "config")
    assert "-sc query=" in script or '-sc "query=' in script
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_another_shell_is_refused() -> None:
    with pytest.raises(UserError, match=r"Expected install=bash, install=zsh or install=fish \(-sc\), got"):
        answer(["-sc", "install=csh"], "config")


REFUSED = {
    ("--lr", "0.01"): "--lr.*no dashes",
    ("-m", "--cfg", "job"): "-m, --cfg and --info exclude each other.*-m --cfg job",
    ("--cfg",): "--cfg.*--hydra-help",
    ("--resolve",): "add --cfg job",
    ("--experimental-rerun", "file"): "--experimental-rerun is not supported.*resume=",
}


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_options_that_hydra_would_explain_at_length_are_refused_in_a_sentence(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=REFUSED[arguments]):
        check_options(arguments, "config")
    check_options(["-m", "lr=0.1"], "config")


def test_only_training_takes_several_runs() -> None:
    with pytest.raises(UserError, match="takes one run; remove -m"):
        check_options(["-m", "run=a,b"], "evaluate")


def test_options_may_stand_anywhere() -> None:
    assert options_first(["lr=0.1", "-m", "~callbacks.averaging", "--cfg", "job"])[:3] == ["-m", "--cfg", "job"]


def test_a_new_key_that_nothing_reads_is_refused() -> None:
    with pytest.raises(UserError, match=r"Expected a known key \(after \+\), got 'learning_rate'\. Nothing reads it"):
        check_added_keys(["+learning_rate=0.1"], "config")
    check_added_keys(["+sweep=seeds", "+trainer.limit_val_batches=2", "lr=0.1"], "config")


def test_files_of_a_group_are_named_with_their_folders() -> None:
    assert "table2/cvae" in files_of("experiment")
