"""What all commands share: Hydra started on conf/, mistakes told in one sentence, exit statuses."""

import functools
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from cvae_lightning import multirun
from cvae_lightning.build import CONF
from cvae_lightning.errors import UserError

MISTAKES = (UserError, HydraException, OmegaConfBaseException)
FULL_ERROR = "HYDRA_FULL_ERROR"


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"Interrupted by {signal.Signals(signum).name}.")


def run_command(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Run `task` on the configuration conf/<config_name>.yaml with the overrides of the command line.

    A mistake ends as one sentence on stderr and exit status 1 (the whole traceback where HYDRA_FULL_ERROR=1), SIGINT
    and SIGTERM with 130 and 143. In a multirun the other jobs go on after a mistake in one.
    """
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt)
    show_traceback = os.environ.get(FULL_ERROR) == "1"
    os.environ[FULL_ERROR] = "1"  # Hydra is to pass exceptions on, not to print them
    sys.argv[1:] = map(expanded, sys.argv[1:])
    prefer_our_presets()

    @functools.wraps(task)
    def job(config: DictConfig) -> Any:
        try:
            return task(config)
        except (UserError, OmegaConfBaseException) as error:
            if show_traceback or HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            _end(sentence(error, config_name), 1)

    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
    except Interrupted as interruption:
        _end(f"{interruption}{multirun.how_to_continue()}", 128 + interruption.signum)
    except Exception as error:
        if show_traceback or not (multirun.begun() or isinstance(error, MISTAKES)):
            raise
        if not multirun.finish():
            _end(sentence(error, config_name), 1)
        sys.exit(1)
    if multirun.finish():
        sys.exit(1)


def expanded(argument: str) -> str:
    """group=glob(folder/pattern) as group=folder/a,folder/b,...: Hydra's own glob doesn't look into folders."""
    glob = re.fullmatch(r"([^=]+)=glob\((\w[^()]*/[^()]*)\)", argument)
    if not glob:
        return argument
    files = sorted((CONF / glob[1]).glob(f"{glob[2]}.yaml"))
    names = [str(file.relative_to(CONF / glob[1]).with_suffix("")) for file in files]
    return f"{glob[1]}={','.join(names)}" if names else argument


def prefer_our_presets() -> None:
    """Forget a plugin's own preset where conf/hydra has one of its name: Hydra would take it for a schema of ours."""
    Plugins.instance()  # they store theirs when they are found
    for group, presets in ConfigStore.instance().repo["hydra"].items():
        for file in (CONF / "hydra" / group).glob("*.yaml"):
            presets.pop(file.name, None)


def log_to_file(path: Path) -> None:
    """Let the log go on in the train.log of an earlier part of the run."""
    config = OmegaConf.load(CONF / "hydra" / "job_logging" / "train.yaml")
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(config.formatters.timed.format))
    logging.getLogger().addHandler(handler)


def sentence(error: Exception, config_name: str) -> str:
    """What is wrong and what to do, in the words of the project."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return f"Expected one of {', '.join(error.options)} ({group}), got {choice!r}. Choose one of these."
    if isinstance(error, OverrideParseException):
        return f"Expected key=value, got {error.override!r}. Put quotes around special characters."
    if isinstance(error, MissingMandatoryValue):
        return f"Expected {error.full_key}=<value>, got none. --help explains the command."
    plugin = re.match(r"Unknown plugin class : 'hydra_plugins\.([^.]+)", str(error))
    if plugin:
        group = "hydra/sweeper" if plugin[1].endswith("sweeper") else "hydra/launcher"
        name = plugin[1].replace("_", "-")
        install = "Install it: pip install 'cvae_lightning[cluster]'."
        return f"Expected the extra cluster ({group}), got no {name}. {install}"
    unknown = re.match(r"Could not (?:override|delete from config\.) '([^']+)'", str(error))
    if isinstance(error, ConfigCompositionException) and unknown:
        key = unknown[1]
        nearest = get_close_matches(key, known_keys(config_name), n=1, cutoff=0.5)
        hint = f"Did you mean {nearest[0]}?" if nearest else "--cfg job lists all keys."
        return f"Expected a known key, got {key!r}. {hint}"
    text = ": ".join(line.strip() for line in str(error).splitlines() if line.strip() and "hydra.cc" not in line)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return f"{text}. --help explains the command."
    return text or type(error).__name__


def known_keys(config_name: str) -> list[str]:
    """All keys that may be set, short and full, and the groups of which one file is chosen."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose(config_name)
    groups = [path.name for path in CONF.iterdir() if path.is_dir()]
    return [*groups, *_paths(config)]


def _paths(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, DictConfig):
        for key in map(str, node):
            yield f"{prefix}{key}"
            yield from _paths(node._get_node(key), f"{prefix}{key}.")


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signum, signal.SIG_DFL)  # a second one ends the process at once
    raise Interrupted(signum)


def _end(message: str, status: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(status)
