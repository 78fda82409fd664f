"""Commands that are printed for pasting into a shell."""

import shlex
import sys
from pathlib import Path

SCRIPT = "cvae-lightning"


def path_argument(key: str, path: str | Path) -> str:
    """`key=path` as one word of a shell; `quoted_paths` reads the same path from it, whatever its name contains."""
    return shlex.quote(f"{key}={path}")


def command_line(command: str) -> str:
    """How `command` is started, in the form in which this process was: the script or python -m.

    >>> command_line("sample")
    'python -m cvae_lightning.sample'
    """
    if Path(sys.argv[0]).stem == SCRIPT:
        return f"{SCRIPT} {command}"
    return "python -m cvae_lightning" + ("" if command == "train" else f".{command}")
