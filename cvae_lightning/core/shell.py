"""Commands that are printed for pasting into a shell."""

import shlex
import sys
from pathlib import Path

from cvae_lightning.core import plugins

SCRIPT = "cvae-lightning"


def path_argument(key: str, path: str | Path) -> str:
    """`key=path`, quoted as one word for a shell, whatever characters the path contains."""
    return shlex.quote(f"{key}={path}")


def program(command: str) -> str:
    """What starts `command`, in the form in which this process was started: the script or python -m.

    >>> program("sample")
    'python -m cvae_lightning.sample'
    """
    if Path(sys.argv[0]).stem == SCRIPT:
        return f"{SCRIPT} {command}"
    return "python -m cvae_lightning" + ("" if command == "train" else f".{command}")


def command_line(command: str) -> str:
    """`program(command)`, with the plug-ins that were named for this process."""
    named = plugins.named()
    return f"{program(command)} {shlex.quote(plugins.word(named))}" if named else program(command)
