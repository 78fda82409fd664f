"""Where every process starts: `cvae-lightning <command>` and `python -m cvae_lightning[.<command>]`."""

import shlex
import sys
from difflib import get_close_matches

from cvae_lightning.cli.command import run_command
from cvae_lightning.cli.commands import COMMANDS

HELP = ("-h", "--help", "help")


def main(command: str | None = None) -> None:
    """Run `command` on the words that were typed; without it, the first word names the command.

    Ends the process with exit status 0, or 1 after a mistake, or 130 or 143 after SIGINT or SIGTERM.
    """
    if command is None:
        command = _named_command()
    run_command(command)


def _named_command() -> str:
    """The first word, which is removed. Ends the process where it is no command."""
    words = sys.argv[1:]
    if not words or words[0] in HELP:
        print(_overview())
        sys.exit(0)
    if words[0] not in COMMANDS:
        print(f"{_unknown(words)}\n\n{_overview()}", file=sys.stderr)
        sys.exit(1)
    return sys.argv.pop(1)


def _overview() -> str:
    lines = "\n".join(f"  {name:12} {description}" for name, description in COMMANDS.items())
    return f"""usage: cvae-lightning <command> [key=value ...]

{lines}

cvae-lightning <command> --help says more."""


def _unknown(words: list[str]) -> str:
    if "=" in words[0] or words[0].startswith("-"):
        return f"The name of a command comes first. Did you mean: cvae-lightning train {shlex.join(words)}"
    nearest = get_close_matches(words[0], COMMANDS, n=1)
    return f"There is no command {words[0]!r}." + (f" Did you mean {nearest[0]}?" if nearest else "")
