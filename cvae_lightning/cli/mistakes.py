"""Errors that a person can fix, in one sentence each: what is wrong, where, and what to do."""

from difflib import get_close_matches

import yaml
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from cvae_lightning.cli.foreign_messages import (
    BAD_LOGGING,
    LINK_TO_HYDRA,
    MISSING_PLUGIN,
    NO_MEMORY,
    SEVERAL_VALUES,
    UNKNOWN_KEY,
    WRONG_KIND,
)
from cvae_lightning.cli.keys import Keys, choices_of, files_of
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError, quoted
from cvae_lightning.core.plugins import trusted

MISTAKES = (UserError, HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, MemoryError)
OTHER_NAMES = {"learning_rate": "lr", "max_epochs": "epochs", "dataset": "data", "z_dim": "latent_dim"}


def is_mistake(error: Exception) -> bool:
    """Whether a person can fix what caused the error, and so needs no traceback."""
    return isinstance(error, MISTAKES) or bool(NO_MEMORY.search(str(error)) or BAD_LOGGING.match(str(error)))


def sentence(error: Exception, config_name: str) -> str:
    """The message for an `error` of the command whose configuration is conf/<config_name>.yaml."""
    text = str(error)
    match error:
        case MissingConfigException():
            return _unknown_file(str(error.missing_cfg_file), list(error.options or []))
        case ConfigCompositionException():
            return _not_composed(text, config_name)
        case OverrideParseException():
            remedy = "Put quotes around special characters." if "=" in error.override else "--help lists the keys."
            return f"Expected key=value, got {quoted(error.override)}. {remedy}"
        case MissingMandatoryValue():
            return f"This command needs {error.full_key}=<value>. --help explains it."
        case InterpolationResolutionError():
            where = f"{error.full_key} has no value: " if error.full_key else ""
            return f"{where}{text.splitlines()[0]}. --cfg job shows the configuration."
        case ConfigAttributeError() | ConfigKeyError():
            return f"The configuration has no key {error.full_key}. --cfg job shows it."
        case OSError(strerror=str(reason)):
            return f"Could not read or write {error.filename or 'a file'}: {reason}. Choose another place."
    if NO_MEMORY.search(text) or isinstance(error, MemoryError):
        return f"Out of memory: {_one_line(text)}. Lower batch_size, latent_dim or the widths of the network."
    if BAD_LOGGING.match(text):
        return f"hydra.job_logging does not configure logging: {_one_line(text)}. Leave it as it is."
    if missing := MISSING_PLUGIN.match(text):
        name = missing["plugin"].replace("_", "-")
        group = "hydra/sweeper" if name.endswith("sweeper") else "hydra/launcher"
        return f"{group} needs {name}, which is not installed: pip install 'cvae_lightning[cluster]'."
    if isinstance(error, HydraException | OmegaConfBaseException):
        return f"{_one_line(text)}. --help explains the command."
    return _one_line(text) or type(error).__name__


def _not_composed(text: str, config_name: str) -> str:
    """Say why Hydra could not compose a configuration from the words of the command line."""
    if several := SEVERAL_VALUES.match(text):
        remedy = "-m sweeps over several." if config_name == "config" else "Give one."
        return f"Expected one value ({several['key']}), got {quoted(several['value'])}. {remedy}"
    if other := WRONG_KIND.match(text):
        got = quoted(other["value"])
        return f"Expected another kind of value ({other['key']}), got {got}. --cfg job shows the default."
    if unknown := UNKNOWN_KEY.match(text):
        return _unknown_key(unknown["key"], config_name)
    return f"{_one_line(text)}. --help explains the command."


def _unknown_file(file: str, options: list[str]) -> str:
    """Say that conf/ lacks a file, and list those that it has: of a group with folders, those of the same folder."""
    if "/" not in file:
        return f"A command has its own configuration, not {file!r}. Leave --config-name out."
    parts = 2 if file.startswith("hydra/") else 1
    group, choice = "/".join(file.split("/")[:parts]), "/".join(file.split("/")[parts:])
    files = files_of(group)
    folder, slash, _ = choice.rpartition("/")
    inside = [name for name in files if slash and name.startswith(f"{folder}/")]
    shown = inside or (options if parts == 2 else choices_of(group))
    remedy = (
        "Choose one of these." if trusted() else "Choose one of these, or add plugins=[<module>] if a plug-in has it."
    )
    return f"Expected one of {', '.join(shown)} ({group}), got {quoted(choice)}. {remedy}"


def _unknown_key(key: str, config_name: str) -> str:
    """Say that the configuration lacks a key, and name the one that was probably meant."""
    if config_name == "resume":
        return f"A run continues with its own {key!r}. If its data has moved, set data_dir or data_path."
    group, _, name = key.partition(".")
    if choices := [
        f"{group}={file.stem}" for file in sorted((CONF / group).glob("*.yaml")) if name in OmegaConf.load(file)
    ]:
        return f"Unknown key {key!r}. It belongs to {' or '.join(choices)}."
    keys = {known.lower(): known for known in Keys(config_name).all}
    keys |= {other: ours for other, ours in OTHER_NAMES.items() if ours in keys}
    if key in keys.values():
        return f"The command needs the key {key!r}; leave ~{key} out."
    nearest = get_close_matches(key.lower(), keys, n=1, cutoff=0.6)
    hint = f"Did you mean {keys[nearest[0]]}?" if nearest else "--help lists the usual keys, --cfg job all."
    return f"Unknown key {key!r}. {hint}"


def _one_line(text: str) -> str:
    return ": ".join(line.strip() for line in text.splitlines() if line.strip() and LINK_TO_HYDRA not in line)
