"""Mistakes on the command line, each told in one sentence."""

import signal
from pathlib import Path

import pytest
from helpers import composed
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from cvae_lightning.cli import command, multirun
from cvae_lightning.cli.interruption import Interrupted
from cvae_lightning.cli.mistakes import is_mistake, sentence

TOLD = {
    ("config", "max_epochs=3"): "Expected a known key, got 'max_epochs'. Did you mean epochs?",
    ("config", "learning_rate=3"): "Expected a known key, got 'learning_rate'. Did you mean lr?",
    ("config", "LATENT_DIM=3"): "Expected a known key, got 'LATENT_DIM'. Did you mean latent_dim?",
    ("config", "lr:0.01"): "Expected key=value, got 'lr:0.01'. --help lists the keys.",
    ("config", "sampler.num_components=3"): "Expected a known key, got 'sampler.num_components'. "
    "It belongs to sampler=gaussian or sampler=mixture.",
    ("config", "epochs=1,2"): "Expected one value (epochs), got '1,2'. -m sweeps over several.",
    ("sample", "seed=1,2"): "Expected one value (seed), got '1,2'. Give one alone.",
    ("config", "experiment=table2/gan"): "Expected one of table2/cvae, table2/vae (experiment), got 'table2/gan'. "
    "Choose one of these.",
    ("resume", "lr=0.1"): "Expected resume=<run directory>, and data_dir=<folder> if its data have moved, got 'lr' "
    "too. The run goes on with its own keys.",
}


@pytest.mark.parametrize("command", TOLD, ids=" ".join)
def test_it_says_what_was_expected_and_what_to_do(command: tuple[str, str]) -> None:
    name, override = command
    with pytest.raises((HydraException, OmegaConfBaseException)) as raised:
        composed(override, config_name=name)
    assert sentence(raised.value, name) == TOLD[command]


def test_what_the_machine_lacks_is_a_mistake_too() -> None:
    error = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    assert is_mistake(error)
    assert sentence(error, "config").startswith("Expected memory enough, got: CUDA out of memory.")
    assert sentence(PermissionError(13, "Permission denied", "/there"), "config") == (
        "Expected to read or write /there, got: Permission denied. Name another place."
    )
    assert not is_mistake(RuntimeError("a fault of the program"))


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_report_of_a_sweep_ends_as_any_other(
    signum: signal.Signals, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> bool:
        raise Interrupted(signum)

    monkeypatch.setattr(multirun, "finish", interrupted)
    monkeypatch.setattr(multirun, "_directory", [Path("sweep")])
    with pytest.raises(SystemExit) as end:
        command._report_failures("config")
    assert end.value.code == status
    assert f"Interrupted by {signum.name}. Continue with" in capsys.readouterr().err
