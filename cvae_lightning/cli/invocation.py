"""One invocation of a command, from the words that were typed to an exit status."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from typing import Any

import hydra
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig

from cvae_lightning.cli import completion, plugins
from cvae_lightning.cli.checks import (
    check_added_keys,
    check_parts,
    check_words,
    leave_out_settings_of_others,
    shows_configuration,
)
from cvae_lightning.cli.commands import task_of
from cvae_lightning.cli.escape import errors_unwrapped, errors_wrapped
from cvae_lightning.cli.mistakes import is_mistake, sentence
from cvae_lightning.cli.multirun import SweepInProgress
from cvae_lightning.cli.rewriting import rewritten
from cvae_lightning.cli.signals import Interrupted
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.plugins import named, word
from cvae_lightning.core.shell import program

FULL_ERROR = "HYDRA_FULL_ERROR"


class Invocation:
    """A command and the words that were typed after it.

    >>> Invocation("sample", ["run=outputs/2026-01-01/12-00-00", "num=4"]).run()
    0
    """

    def __init__(self, command: str, words: Sequence[str]) -> None:
        """`command` is one of COMMANDS."""
        self.words = list(words)
        self.config_name = _config_name(command, words)
        self.sweep = SweepInProgress()
        self.shows_tracebacks = os.environ.get(FULL_ERROR) == "1"

    def run(self) -> int:
        """Do what was asked and return the exit status: 0, 1 after a mistake, 130 or 143 after SIGINT or SIGTERM.

        A mistake becomes one sentence on stderr. Any other error is raised; with HYDRA_FULL_ERROR=1, every error is.
        """
        with plugins.left_as_it_was():
            try:
                with self.sweep:
                    return self._answer()
            except Interrupted as interruption:
                message, status = f"{interruption}{self.sweep.how_to_continue()}", 128 + interruption.signum
            except Exception as error:
                if self.shows_tracebacks or not is_mistake(error):
                    raise
                message, status = sentence(error, self.config_name), 1
        print(message, file=sys.stderr)
        return status

    def _answer(self) -> int:
        modules, words = plugins.split(self.words)
        plugins.trust(modules)
        words = rewritten(words, self.config_name)
        if completion.asked(words):
            print(completion.answer(words, self.config_name))
            return 0
        check_words(words, self.config_name)
        if not {"-h", "--help"}.isdisjoint(words):
            self._print_help(words)
            return 0
        try:
            self._start_hydra(words)
        except Exception as error:
            reasons = self.sweep.finish()
            if self.shows_tracebacks or not self.sweep.path:
                raise
            message = sentence(error, self.config_name)
            if message not in reasons:  # no run failed, but the launcher, for example because a worker died
                raise UserError(message) from error
            return 1
        return 1 if self.sweep.finish() else 0

    def _start_hydra(self, words: list[str]) -> None:
        """Let Hydra compose the configuration and call the task: once, once for each run of a sweep, or not at all."""
        prefer_our_presets()
        start = hydra.main(version_base="1.3", config_path=str(CONF), config_name=self.config_name)
        if shows_configuration(words):  # a Job, which notes the plug-ins otherwise, is not called
            words = [*words, word(named())]
        with errors_unwrapped(), _process_for_hydra(words), suppress(SystemExit):  # --help ends with SystemExit
            start(Job(self.config_name, tuple(named())))()

    def _print_help(self, words: list[str]) -> None:
        """Print the help of the command, which names commands in the form in which this process was started."""
        with redirect_stdout(StringIO()) as text, _presets_not_listed():
            self._start_hydra(words)
        as_started = re.compile(r"python -m cvae_lightning(?:\.(\w+))?")
        print(as_started.sub(lambda found: program(found[1] or "train"), text.getvalue()), end="")


@dataclass(frozen=True)
class Job:
    """What Hydra calls with each configuration. Launchers pickle it for other processes, so it holds only names."""

    config_name: str
    modules: tuple[str, ...] = ()
    """The plug-ins that the person named at this command: a worker may not inherit the environment."""

    def __call__(self, config: DictConfig) -> Any:
        """Check what was composed, then do the work of the command."""
        with nullcontext() if HydraConfig.get().mode == RunMode.MULTIRUN else errors_wrapped():
            self.check(config)
            return task_of(self.config_name)(config)

    def check(self, config: DictConfig) -> None:
        """Raises UserError for what is wrong with the composed configuration; trust and note the plug-ins."""
        overrides = HydraConfig.get().overrides.task
        check_added_keys(overrides, self.config_name)
        plugins.trust(self.modules)
        plugins.note(config)
        leave_out_settings_of_others(config, overrides)
        check_parts(config, self.config_name)


def prefer_our_presets() -> None:
    """Remove the presets of plugins that conf/hydra also has, which Hydra would take for the schemas of ours."""
    Plugins.instance()  # plugins store their presets when they are discovered
    for group, presets in ConfigStore.instance().repo["hydra"].items():
        for file in (CONF / "hydra" / group).glob("*.yaml"):
            presets.pop(file.name, None)


def _config_name(command: str, words: Sequence[str]) -> str:
    """The name of the command's configuration in conf/."""
    if command != "train":
        return command
    return "resume" if any(word.startswith("resume=") for word in words) else "config"


@contextmanager
def _presets_not_listed() -> Iterator[None]:
    """A context in which Hydra does not look for the presets of every group; our help names them itself."""
    listing = Hydra.format_config_groups
    Hydra.format_config_groups = lambda *_, **__: ""  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.format_config_groups = listing  # type: ignore[method-assign]


@contextmanager
def _process_for_hydra(words: list[str]) -> Iterator[None]:
    """A context with `words` in sys.argv, and with HYDRA_FULL_ERROR=1, so that Hydra does not print exceptions."""
    argv, full_error = sys.argv, os.environ.get(FULL_ERROR)
    sys.argv, os.environ[FULL_ERROR] = [argv[0], *words], "1"
    try:
        yield
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = full_error
