"""Every file of the configuration composes, builds, and is named where a person looks for it."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from helpers import composed
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger

from cvae_lightning.cli.rewriting import with_files
from cvae_lightning.core.build import CONF, PACKAGE, build, part_named
from cvae_lightning.core.errors import UserError
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.configuration import is_open


def readme_commands() -> list[str]:
    text = (PACKAGE.parent / "README.md").read_text()
    return re.findall(r"^python -m cvae_lightning (?:-m )?(?!resume|--)(.+?)(?: +#.*)?$", text, re.MULTILINE)


@pytest.mark.parametrize("arguments", readme_commands())
def test_the_commands_of_the_readme_compose(arguments: str) -> None:
    words = list(map(with_files, shlex.split(arguments)))
    data = [word for word in words if word.startswith("data=")]  # which may have keys of its own, such as data.path
    for override in words:
        key, _, values = override.partition("=")
        for value in values.split(","):
            assert composed(*(data if key.startswith("data.") else []), f"{key}={value}")


def test_the_page_of_keys_has_a_row_for_each_key_of_the_command() -> None:
    text = (PACKAGE.parent / "docs" / "keys.md").read_text()
    template: str = yaml.safe_load((CONF / "hydra" / "help" / "train.yaml").read_text())["template"]
    keys = set(re.findall(r"^  ([a-z_.]+)= ", template, re.MULTILINE)) - {"resume"}
    assert len(keys) == 23
    assert not [key for key in keys if not re.search(rf"^\|.*`{re.escape(key)}`.*\|", text, re.MULTILINE)]


def groups() -> list[str]:
    files = sorted(path.relative_to(CONF) for path in CONF.glob("*/*.yaml"))
    choices = [f"{path.parent}={path.stem}" for path in files if path.parent.name != "hydra"]
    experiments = sorted((CONF / "experiment").rglob("*.yaml"))
    return [
        *(f"+{choice}" if choice.startswith("sweep=") else choice for choice in choices),
        *(f"experiment={path.relative_to(CONF / 'experiment').with_suffix('')}" for path in experiments),
    ]


FACTS = {"path": "birds", "size": None, "image_shape": [3, 9, 9], "condition": {"species": ["cat", "dog"]}}
"""What the user or the data set says of any images, before which no model is built."""


@pytest.mark.parametrize("choice", groups())
def test_every_choice_composes_and_builds(choice: str) -> None:
    config = composed(choice, "accelerator=cpu")
    if is_open(config):
        for key in FACTS.keys() & config.data.keys():
            OmegaConf.update(config, f"data.{key}", FACTS[key], merge=False)
    if config.trainer.precision == "auto":  # which the training replaces
        config.trainer.precision = "bf16-mixed"
    assert isinstance(build(config.model), VAE)
    assert isinstance(build(config.data.module), DataModule)
    for part in ("callbacks", "evaluators"):
        assert build(config[part]).keys() == config[part].keys()
    for logger in config.logger.values():
        assert part_named(logger._target_) in (CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger)
    trainer = build(config.trainer)(logger=False)
    assert trainer.max_epochs == config.epochs


@pytest.mark.parametrize("path", sorted((CONF / "experiment").rglob("*.yaml")), ids=lambda path: path.stem)
def test_an_experiment_says_what_it_claims_and_how_it_is_run(path: Path) -> None:
    name = path.relative_to(CONF / "experiment").with_suffix("")
    text = path.read_text(encoding="utf-8")
    package, claim, *_ = text.splitlines()
    sweeps = "-m " if "\n    params:\n" in text else ""
    assert package == "# @package _global_"
    assert claim.startswith("# ")
    assert claim.endswith(f": python -m cvae_lightning {sweeps}experiment={name}")


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_every_command_composes(name: str) -> None:
    assert isinstance(composed(config_name=name), DictConfig)


@pytest.mark.parametrize(
    "group",
    [
        "model",
        "network",
        "likelihood",
        "prior",
        "bound",
        "data",
        "schedule",
        "sampler",
        "averaging",
        "evaluators",
        "logger",
    ],
)
def test_the_help_names_all_choices(group: str) -> None:
    template: str = yaml.safe_load((CONF / "hydra" / "help" / "train.yaml").read_text())["template"]
    (text,) = re.findall(rf"^ +({group}=.*(?:\n {{8}}.*)*)", template, re.MULTILINE)
    choices = set(re.findall(r"\w+(?= \|)|(?<=\| )\w+|(?<=\|\n) *\w+", text))
    assert {choice.strip() for choice in choices} == {path.stem for path in (CONF / group).glob("*.yaml")}
    defaults = yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    default = next(entry[group] for entry in defaults if group in entry)
    assert text.split("=")[1].split()[0] == default, "the default stands first"


@pytest.mark.parametrize(
    "target", ["os.system", "builtins.exec", "torch.hub.load", "cvae_lightning_evil.run", "subprocess.run"]
)
def test_a_target_of_another_library_is_not_built(target: str) -> None:
    config = OmegaConf.create(
        {"model": {"_target_": "cvae_lightning.networks.mlp.MLP", "hidden": {"_target_": target}}}
    )
    with pytest.raises(UserError, match=rf"that conf/ names .* \(_target_\), got '{target}'\. If "):
        build(config.model)


def test_an_argument_that_a_class_does_not_have_is_refused() -> None:
    config = OmegaConf.create({"_target_": "cvae_lightning.networks.mlp.MLP", "widths": [400]})
    with pytest.raises(UserError, match="unexpected keyword argument 'widths'"):
        build(config)
