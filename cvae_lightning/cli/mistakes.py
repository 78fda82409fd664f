"""Mistakes told in one sentence: what was expected, what came, and what to do."""

import re
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

from cvae_lightning.cli.keys import Keys, choices_of, files_of
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError

MISTAKES = (UserError, HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, MemoryError)
OTHER_NAMES = {"learning_rate": "lr", "max_epochs": "epochs", "dataset": "data", "z_dim": "latent_dim"}
BAD_LOGGING = "^Unable to configure "
NO_MEMORY = r"out of memory|can't allocate memory|Storage size calculation overflowed"


def is_mistake(error: Exception) -> bool:
    """Whether a person can mend it, who then needs no traceback."""
    return isinstance(error, MISTAKES) or bool(re.search(f"{NO_MEMORY}|{BAD_LOGGING}", str(error)))


def sentence(error: Exception, config_name: str) -> str:
    """What is wrong and what to do, in the words of the project."""
    if isinstance(error, ConfigCompositionException):
        return _of_composition(error, config_name)
    if isinstance(error, OverrideParseException):
        remedy = "Put quotes around special characters." if "=" in error.override else "--help lists the keys."
        return f"Expected key=value, got {error.override!r}. {remedy}"
    if isinstance(error, MissingMandatoryValue):
        return f"Expected {error.full_key}=<value>, got none. --help explains the command."
    if isinstance(error, InterpolationResolutionError):
        first = str(error).splitlines()[0]
        return f"Expected a value ({error.full_key}), got: {first}. --cfg job shows the configuration."
    if isinstance(error, ConfigAttributeError | ConfigKeyError):
        return f"Expected the key {error.full_key}, got a configuration without it. --cfg job shows the configuration."
    if isinstance(error, OSError) and error.strerror:
        return f"Expected to read or write {error.filename or 'a file'}, got: {error.strerror}. Name another place."
    if re.search(NO_MEMORY, str(error)) or isinstance(error, MemoryError):
        return f"Expected memory enough, got: {_one_line(error)}. Lower batch_size, latent_dim or the network's widths."
    if re.search(BAD_LOGGING, str(error)):
        return f"Expected a configuration of logging (hydra.job_logging), got: {_one_line(error)}. Leave it as it is."
    plugin = re.match(r"Unknown plugin class : 'hydra_plugins\.([^.]+)", str(error))
    if plugin:
        group = "hydra/sweeper" if plugin[1].endswith("sweeper") else "hydra/launcher"
        name = plugin[1].replace("_", "-")
        install = "Install it: pip install 'cvae_lightning[cluster]'."
        return f"Expected the extra cluster ({group}), got no {name}. {install}"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return f"{_one_line(error)}. --help explains the command."
    return _one_line(error) or type(error).__name__


def _of_composition(error: ConfigCompositionException, config_name: str) -> str:
    if isinstance(error, MissingConfigException):
        return _of_choice(str(error.missing_cfg_file), list(error.options or []))
    if ambiguous := re.match(r"Ambiguous value for argument '([^=]+)=(.*)'", str(error)):
        remedy = "-m sweeps over several." if config_name == "config" else "Give one alone."
        return f"Expected one value ({ambiguous[1]}), got {ambiguous[2]!r}. {remedy}"
    if other := re.match(r"Error merging override ([^=]+)=(.*)", str(error), re.DOTALL):
        return f"Expected a value of another kind ({other[1]}), got {other[2]!r}. --cfg job shows the one it has."
    if unknown := re.match(r"Could not (?:override|delete from config\.) '([^']+)'", str(error)):
        return _of_key(unknown[1], config_name)
    return f"{_one_line(error)}. --help explains the command."


def _of_choice(file: str, options: list[str]) -> str:
    """Of a file that is not there; where there are folders, of those in the folder that was meant."""
    if "/" not in file:
        return f"Expected a command's own configuration (--config-name), got {file!r}. Leave it out."
    parts = 2 if file.startswith("hydra/") else 1
    group, choice = "/".join(file.split("/")[:parts]), "/".join(file.split("/")[parts:])
    files = files_of(group)
    folder, slash, _ = choice.rpartition("/")
    inside = [name for name in files if slash and name.startswith(f"{folder}/")]
    shown = inside or (options if parts == 2 else choices_of(group))
    return f"Expected one of {', '.join(shown)} ({group}), got {choice!r}. Choose one of these."


def _of_key(key: str, config_name: str) -> str:
    if config_name == "resume":
        what = "resume=<run directory>, and data_dir=<folder> if its data have moved"
        return f"Expected {what}, got {key!r} too. The run goes on with its own keys."
    group, _, name = key.partition(".")
    if choices := [
        f"{group}={file.stem}" for file in sorted((CONF / group).glob("*.yaml")) if name in OmegaConf.load(file)
    ]:
        return f"Expected a known key, got {key!r}. It belongs to {' or '.join(choices)}."
    keys = {known.lower(): known for known in Keys(config_name).all}
    keys |= {other: ours for other, ours in OTHER_NAMES.items() if ours in keys}
    if key in keys.values():
        return f"Expected the key {key}, which the command needs, got ~{key}. Leave that out."
    nearest = get_close_matches(key.lower(), keys, n=1, cutoff=0.6)
    hint = f"Did you mean {keys[nearest[0]]}?" if nearest else "--help names the usual keys, --cfg job all."
    return f"Expected a known key, got {key!r}. {hint}"


def _one_line(error: Exception) -> str:
    return ": ".join(line.strip() for line in str(error).splitlines() if line.strip() and "hydra.cc" not in line)
