"""What all commands share: Hydra started on conf/, mistakes told in one sentence, exit statuses."""

import logging
import os
import re
import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig

from cvae_lightning.cli import completion, multirun
from cvae_lightning.cli.arguments import check_added_keys, check_choices, check_options, check_parts, in_order, per_job
from cvae_lightning.cli.commands import task_of
from cvae_lightning.cli.interruption import Interrupted
from cvae_lightning.cli.mistakes import is_mistake, sentence
from cvae_lightning.cli.output import guard_standard_streams
from cvae_lightning.cli.paths import check_surroundings, quoted_paths
from cvae_lightning.core.build import CONF

FULL_ERROR = "HYDRA_FULL_ERROR"


def run_command(name: str) -> None:
    """Run the command `name` on its configuration with the overrides of the command line.

    A mistake ends as one sentence on stderr and exit status 1 (the whole traceback where HYDRA_FULL_ERROR=1), SIGINT
    and SIGTERM with 130 and 143. In a multirun the other jobs go on after a mistake in one.
    """
    config_name = name
    if name == "train":
        config_name = "resume" if any(word.startswith("resume=") for word in sys.argv[1:]) else "config"
    if name == "report":  # Hydra takes the value of sweep= for a file of the group conf/sweep
        sys.argv[1:] = [f"directory={word[6:]}" if word.startswith("sweep=") else word for word in sys.argv[1:]]
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt)
    guard_standard_streams()
    show_traceback = os.environ.get(FULL_ERROR) == "1"
    os.environ[FULL_ERROR] = "1"  # Hydra is to pass exceptions on, not to print them
    tell_errors_once()
    sys.argv[1:] = in_order([expanded(word) for word in sys.argv[1:]])
    prefer_our_presets()

    def job(config: DictConfig) -> Any:
        try:
            check_added_keys(HydraConfig.get().overrides.task, config_name)
            check_parts(config, config_name)
            return task_of(config_name)(config)
        except Exception as error:
            if show_traceback or HydraConfig.get().mode == RunMode.MULTIRUN or not is_mistake(error):
                raise
            _end(sentence(error, config_name), 1)

    try:
        if completion.asked(sys.argv[1:]):
            print(completion.answer(sys.argv[1:], config_name))
            return
        sys.argv[1:] = for_hydra(sys.argv[1:], config_name)
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
    except Interrupted as interruption:
        _end_interrupted(interruption)
    except Exception as error:
        if show_traceback or not (multirun.begun() or is_mistake(error)):
            raise
        if not _report_failures(config_name):
            _end(sentence(error, config_name), 1)
        sys.exit(1)
    if _report_failures(config_name):
        sys.exit(1)


def _report_failures(config_name: str) -> bool:
    """Whether a run of the multirun failed, of which the report is written; a full disk is a mistake like any other."""
    try:
        return multirun.finish()
    except Interrupted as interruption:
        _end_interrupted(interruption)
    except Exception as error:
        if not is_mistake(error):
            raise
        _end(sentence(error, config_name), 1)


def for_hydra(arguments: list[str], config_name: str) -> list[str]:
    """The words of a command line as Hydra is to read them. Raises UserError for what Hydra would take wrongly."""
    check_options(arguments, config_name)
    check_choices(arguments)
    check_surroundings(config_name)
    return per_job(quoted_paths(arguments))


def tell_errors_once() -> None:
    """Keep tracebacks of a full disk from the terminal that come beside the sentence about it.

    TensorBoard's thread prints one, and raises the same error in whoever writes next; logging prints one for each line
    that train.log does not take.
    """
    threading.excepthook = lambda told: None if isinstance(told.exc_value, OSError) else threading.__excepthook__(told)
    logging.raiseExceptions = False


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


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signum, signal.SIG_DFL)  # a second one ends the process at once
    raise Interrupted(signum)


def _end_interrupted(interruption: Interrupted) -> NoReturn:
    _end(f"{interruption}{multirun.how_to_continue()}", 128 + interruption.signum)


def _end(message: str, status: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(status)
