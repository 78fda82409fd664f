"""Checks of a command line before Hydra reads it, for shorter messages than its own, and of what Hydra composes."""

import logging
import re
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from cvae_lightning.cli.keys import choices_of, files_of
from cvae_lightning.cli.paths import check_surroundings
from cvae_lightning.cli.plugins import conf_folders
from cvae_lightning.cli.rewriting import is_group
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError, check_seed, refuse
from cvae_lightning.runs.choices import PLACES

log = logging.getLogger(__name__)

SETTABLE_BELOW_HYDRA = r"(run\.|sweep\.|sweeper\.|launcher\.|job\.|job_logging\.|hydra_logging\.).+|searchpath|verbose"
PARTS = {  # keys of a group that must be parts too
    "model": ("network", "likelihood", "optimizer", "bound", "schedule", "sampler", "prior"),
    "data": ("module", "module.source"),
}
NO_NAME = r"(?i)(^|[,(\[])\s*(null\b|true\b|false\b|[-+.\d])"  # not the name of a file; Hydra would print a traceback
SEVERAL = r"(^|[,(])\s*\["  # a list of files, which Hydra would merge
NAMES = ("data.name", "data.module.source.name", "data.module.source.dataset")
LISTS = ("sweep", "logger")  # groups that take several files, as in logger=[tensorboard,csv]
MAY_BE_NULL = ("callbacks", "logger")  # groups of which null leaves a part out
COLLECTIONS = ("callbacks", "evaluators", "logger")  # groups in which each part has a name of its own


def check_words(words: Sequence[str], config_name: str) -> None:
    """Raises UserError for a mistake that can be seen before anything is composed."""
    check_options(words, config_name)
    check_choices(words)
    check_surroundings(config_name)


def check_options(words: Sequence[str], config_name: str) -> None:
    """Raises UserError for options that Hydra does not have, that do not fit together, or that the command lacks."""
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        options, unknown = parser.parse_known_args(words)
    except ArgumentError as error:
        raise UserError(f"The option {error.argument_name}: {error.message}. --hydra-help explains it.") from error
    if unknown:
        raise UserError(f"There is no option {unknown[0]}. Keys have no dashes: key=value. --help lists them.")
    if options.multirun and config_name != "config":
        raise UserError("This command takes one run; remove -m.")
    if options.experimental_rerun:  # which would unpickle a file
        raise UserError("--experimental-rerun is not supported. Use resume=<run directory>, or repeat the command.")
    if options.resolve and not (options.cfg or options.help):
        raise UserError("--resolve says how --cfg shows values; add --cfg job, or leave it out.")
    if sum(map(bool, (options.run, options.multirun, options.cfg, options.info))) > 1:
        raise UserError(f"-m, --cfg and --info exclude each other, got {' '.join(words)!r}. Keep one.")


def shows_configuration(words: Sequence[str]) -> bool:
    """Whether `words`, which `check_options` has accepted, ask for the configuration itself, with --cfg."""
    return bool(get_args_parser().parse_known_args(words)[0].cfg)


def check_added_keys(overrides: Sequence[str], config_name: str) -> None:
    """Raises UserError for a new key, +key=value, that nothing reads. New keys of a part are refused by the part."""
    known = {*map(str, OmegaConf.load(CONF / f"{config_name}.yaml")), *(path.name for path in CONF.iterdir())}
    for override in overrides:
        added = re.match(r"\+{1,2}([^.=@/]+)=", override)
        if added and added[1] not in known:
            refuse("a known key", "after +", added[1], "Nothing reads it; --cfg job lists all keys.")


def check_choices(words: Sequence[str]) -> None:
    """Raises UserError for several files of a group that takes one, and for a part of Hydra that is replaced."""
    for word in words:
        key, equals, value = word.lstrip("+~").partition("=")
        if equals and not key:
            raise UserError(f"There is no key before = in {word!r}. --help lists the keys.")
        if is_group(key) and (re.search(NO_NAME, value) or (key not in LISTS and re.search(SEVERAL, value))):
            refuse(f"one of {', '.join(choices_of(key))}", key, value, "Choose one of these, or leave it out.")
        if key.startswith("hydra.") and not re.fullmatch(SETTABLE_BELOW_HYDRA, key.removeprefix("hydra.")):
            remedy = "Set keys below it, choose hydra/launcher=<name> or hydra/sweeper=<name>, or leave it out."
            refuse("hydra.run.dir, hydra.sweep.dir or another key that a command may set", key, value, remedy)


def leave_out_settings_of_others(config: DictConfig, overrides: Sequence[str]) -> None:
    """Remove what a preset sets of parts that the command has replaced by others.

    These are evaluators, callbacks and loggers that are not among those chosen instead, and keys that another network,
    prior and so on does not have; the log names such keys. What an override itself sets is kept, and refused later.
    """
    for group in COLLECTIONS:
        known = {str(key) for name in files_of(group) for key in OmegaConf.load(_file_of(group, name))}
        for name in map(str, list(config.get(group) or ())):
            part = config[group][name]
            asked = any(override.lstrip("+").startswith(f"{group}.{name}.") for override in overrides)
            if name in known and not asked and isinstance(part, DictConfig) and "_target_" not in part:
                with open_dict(config):
                    del config[group][name]
    asked_keys = [override.lstrip("+").partition("=")[0] for override in overrides]
    for group, choice in (override.split("=", 1) for override in overrides if "=" in override):
        if group not in ("model", *PARTS["model"]) or choice not in files_of(group):
            continue
        own = _settings_of(group, choice)
        for name, value in list(_raw(config[group]).items()):
            key = f"{group}.{name}"
            fits = name in own and not (isinstance(value, dict) and str(own[name]).startswith("${"))
            if fits or any(asked == key or asked.startswith(f"{key}.") for asked in asked_keys):
                continue
            with open_dict(config):
                config[group].pop(name)
                config[group].update({name: own[name]} if name in own else {})  # such as ${network}, without more keys
            log.info("%s=%s has no key %s as the experiment sets it: it is left out.", group, choice, key)


def _settings_of(group: str, name: str) -> dict[str, Any]:
    """The keys and values of a file of conf/<group>, and of those of its group on which it is built."""
    node = _raw(OmegaConf.load(_file_of(group, name)))
    bases = [str(entry).removeprefix(f"/{group}/").partition("@")[0] for entry in node.pop("defaults", ())]
    own = node.get(group, node)  # below the name of the group where the package is _global_
    return {key: value for base in bases if base != "_self_" for key, value in _settings_of(group, base).items()} | own


def _raw(node: DictConfig | ListConfig) -> dict[str, Any]:
    """A part of the configuration as plain values, its interpolations kept."""
    values = OmegaConf.to_container(node, resolve=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _file_of(group: str, name: str) -> Path:
    return next(file for folder in conf_folders() if (file := folder / group / f"{name}.yaml").is_file())


def check_parts(config: DictConfig, config_name: str) -> None:
    """Raises UserError if a part of the configuration, such as a network, was replaced by something else."""
    for group in _groups(config_name):
        _check_part(config, group, has_target=group not in (*COLLECTIONS, "data"))
        for name in config[group] if group in COLLECTIONS else PARTS.get(group, ()):
            if group not in MAY_BE_NULL or config[group].get(name) is not None:
                _check_part(config, f"{group}.{name}")
    for key, value in _leaves(config):
        if key.endswith("seed"):
            check_seed(key, value)
        elif key in NAMES and not (isinstance(value, str) and value):
            refuse("a name", key, value, "For example mnist, or MNIST for a class of torchvision.datasets.")


def _leaves(node: DictConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Full key and value of each leaf that does not refer to another key."""
    for name in map(str, node):
        key = f"{prefix}{name}"
        if OmegaConf.is_interpolation(node, name) or OmegaConf.is_missing(node, name):
            continue
        if isinstance(node[name], DictConfig):
            yield from _leaves(node[name], f"{key}.")
        else:
            yield key, node[name]


def _groups(config_name: str) -> list[str]:
    """The groups from which the command needs a file; what configures a callback may be left out."""
    defaults = OmegaConf.load(CONF / f"{config_name}.yaml").defaults
    entries = (entry for entry in defaults if isinstance(entry, DictConfig))
    choices = ((str(group), choice) for entry in entries for group, choice in entry.items())
    return [str(group) for group, choice in choices if choice is not None and " " not in group and group not in PLACES]


def _check_part(config: DictConfig, key: str, has_target: bool = True) -> None:
    part = OmegaConf.select(config, key)
    if not isinstance(part, DictConfig) or (has_target and "_target_" not in part):
        remedy = f"Choose one of {', '.join(choices_of(key))}." if is_group(key) else "Leave it as it is."
        refuse("a part of the configuration", key, part, remedy)
