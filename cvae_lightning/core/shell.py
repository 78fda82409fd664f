"""Commands that are printed for pasting into a shell."""

import shlex
import sys
from pathlib import Path

SCRIPT = "cvae-lightning"


def path_argument(key: str, path: str | Path) -> str:
    """`key=path`, quoted as one word for a shell, whatever characters the path contains."""
    return shlex.quote(f"{key}={path}")


def command_line(command: str) -> str:
    """What to type to start `command`, in the form in which this process was started: the script or python -m.

    >>> command_line("sample")
    'python -m cvae_lightning.sample'
    """
    if Path(sys.argv[0]).stem == SCRIPT:
        return f"{SCRIPT} {command}"
    return "python -m cvae_lightning" + ("" if command == "train" else f".{command}")
