"""Commands that are printed for pasting into a shell."""

import shlex
from pathlib import Path


def path_argument(key: str, path: str | Path) -> str:
    """`key=path` as one word of a shell; `quoted_paths` reads the same path from it, whatever its name contains."""
    return shlex.quote(f"{key}={path}")
