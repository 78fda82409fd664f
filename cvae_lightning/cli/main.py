"""Where every process starts: `cvae-lightning <command>` and `python -m cvae_lightning[.<command>]`."""

import atexit
import os
import shlex
import sys
import threading
from contextlib import suppress
from difflib import get_close_matches
from typing import NoReturn

from cvae_lightning.cli.commands import COMMANDS
from cvae_lightning.cli.invocation import Invocation
from cvae_lightning.cli.output import guard_standard_streams, print_errors_once
from cvae_lightning.cli.signals import interrupt_on_signals
from cvae_lightning.core.versions import all_versions

HELP = ("-h", "--help", "help")
VERSION = "--version"  # of any command; Hydra would print its own


def main(command: str | None = None) -> NoReturn:
    """Run `command` with the words that were typed, then end the process. If it is None, the first word names it."""
    guard_standard_streams()
    print_errors_once()
    interrupt_on_signals()
    words = sys.argv[1:]
    if VERSION in words:
        print(all_versions())
        sys.exit(0)
    if command is None:
        command, *words = command_and_words(words)
    _end(Invocation(command, words).run())


def _end(status: int) -> NoReturn:
    """End the process as Python does, but leave its memory to the operating system.

    Threads are waited for, what was registered for the end is called, and output is written. Python would then look
    through a million objects of torch, and take them apart one by one, which takes more than a second.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError as error:
        print(f"The output cannot be written: {error.strerror}.", file=sys.stderr)
        status = status or 1
    if sys.stderr:
        with suppress(OSError):
            sys.stderr.flush()
    os._exit(status)


def command_and_words(words: list[str]) -> list[str]:
    """`words`, if the first one is a command; otherwise list the commands and end the process."""
    if not words or words[0] in HELP:
        print(_overview())
        sys.exit(0)
    if words[0] not in COMMANDS:
        print(f"{_unknown(words)}\n\n{_overview()}", file=sys.stderr)
        sys.exit(1)
    return words


def _overview() -> str:
    lines = "\n".join(f"  {name:12} {description}" for name, description in COMMANDS.items())
    return f"""usage: cvae-lightning <command> [key=value ...]

{lines}

cvae-lightning <command> --help says more, and --version which versions are installed."""


def _unknown(words: list[str]) -> str:
    if "=" in words[0] or words[0].startswith("-"):
        return f"The name of a command comes first. Did you mean: cvae-lightning train {shlex.join(words)}"
    nearest = get_close_matches(words[0], COMMANDS, n=1)
    return f"There is no command {words[0]!r}." + (f" Did you mean {nearest[0]}?" if nearest else "")
