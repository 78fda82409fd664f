"""Mistakes in one sentence, and the messages of other libraries that are read to write it."""

import logging.config
import re
from collections.abc import Callable

import pytest
import torch
from helpers import composed
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from cvae_lightning.cli import foreign_messages
from cvae_lightning.cli.mistakes import is_mistake, sentence

SENTENCES = {
    ("config", "max_epochs=3"): "Unknown key 'max_epochs'. Did you mean epochs?",
    ("config", "learning_rate=3"): "Unknown key 'learning_rate'. Did you mean lr?",
    ("config", "LATENT_DIM=3"): "Unknown key 'LATENT_DIM'. Did you mean latent_dim?",
    ("config", "lr:0.01"): "Expected key=value, got 'lr:0.01'. --help lists the keys.",
    ("config", "sampler.num_components=3"): "Unknown key 'sampler.num_components'. "
    "It belongs to sampler=gaussian or sampler=mixture.",
    ("config", "epochs=1,2"): "Expected one value (epochs), got '1,2'. -m sweeps over several.",
    ("sample", "seed=1,2"): "Expected one value (seed), got '1,2'. Give one.",
    ("config", "hydra.sweep=3"): "Expected another kind of value (hydra.sweep), got '3'. --cfg job shows the default.",
    ("config", "experiment=table2/gan"): "Expected one of table2/cvae, table2/vae (experiment), got 'table2/gan'. "
    "Choose one of these, or add plugins=[<module>] if a plug-in has it.",
    ("config", "latent_dim=${x}"): "model.latent_dim has no value: Interpolation key 'x' not found. "
    "--cfg job shows the configuration.",
    ("resume", "lr=0.1"): "A run continues with its own 'lr'. If its data has moved, set data_dir or data_path.",
}


@pytest.mark.parametrize("mistake", SENTENCES, ids=" ".join)
def test_it_says_what_is_wrong_and_what_to_do(mistake: tuple[str, str]) -> None:
    name, override = mistake
    with pytest.raises((HydraException, OmegaConfBaseException)) as raised:
        OmegaConf.to_container(composed(override, config_name=name), resolve=True)
    assert sentence(raised.value, name) == SENTENCES[mistake]


def test_a_reference_without_a_place_is_explained_too() -> None:
    message = sentence(InterpolationKeyError("Interpolation key 'x' not found"), "config")
    assert message == "Interpolation key 'x' not found. --cfg job shows the configuration."


def test_what_the_machine_lacks_is_a_mistake_too() -> None:
    error = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    assert is_mistake(error)
    assert re.match("Out of memory: .*2 GiB.* batch_size", sentence(error, "config"))
    denied = sentence(PermissionError(13, "Permission denied", "/there"), "config")
    assert denied == "Could not read or write /there: Permission denied. Choose another place."
    assert not is_mistake(RuntimeError("a fault of the program"))


def configure_logging() -> None:
    logging.config.dictConfig({"version": 1, "handlers": {"x": {"class": "nowhere.Handler"}}})


PROVOKED: dict[str, list[Callable[[], object]]] = {
    "SEVERAL_VALUES": [lambda: composed("epochs=1,2")],
    "WRONG_KIND": [lambda: composed("hydra.sweep=3")],
    "UNKNOWN_KEY": [lambda: composed("nonsense=3"), lambda: composed("~nonsense")],
    "MISSING_PLUGIN": [
        lambda: Plugins.instance()._instantiate(OmegaConf.create({"_target_": "hydra_plugins.nowhere.Nothing"}))
    ],
    "BAD_LOGGING": [configure_logging],
    "NO_MEMORY": [lambda: torch.empty(2**50), lambda: torch.empty(2**62)],
}


@pytest.mark.parametrize(("name", "provoke"), [(name, call) for name, calls in PROVOKED.items() for call in calls])
def test_the_installed_libraries_still_say_what_we_read(name: str, provoke: Callable[[], object]) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 # each library has its own
        provoke()
    assert getattr(foreign_messages, name).search(str(raised.value))


def test_each_pattern_is_provoked_and_names_what_was_typed() -> None:
    patterns = {name for name, value in vars(foreign_messages).items() if isinstance(value, re.Pattern)}
    assert patterns == PROVOKED.keys()
