"""Files that are whole at any time."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from cvae_lightning.errors import UserError, refuse


def write_whole(path: Path, content: str | bytes) -> None:
    """Write beside the place of the file, then rename: whoever reads it finds the old content or the new one."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(partial, path)


def is_inside(path: Path | str, folder: Path) -> bool:
    """Whether `path` lies in `folder` when all symbolic links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def refuse_links_out_of(folder: Path, key: str, remedy: str) -> None:
    """Raises UserError, naming the `key` of `folder`, where a symbolic link in it leads out of it.

    A command that writes into a directory which somebody else made would follow that link. `folder` itself may be one.
    """
    for place, folders, files in os.walk(os.path.realpath(folder)):
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink() and not is_inside(path, folder):
                refuse("a directory whose links stay within it", key, f"{path} -> {os.path.realpath(path)}", remedy)


def read_json(path: Path) -> Any:
    """Raises UserError where the file holds something else."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"Expected JSON, got something else in {path} ({error}). Delete it, and train again."
        ) from error


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def listed_digests(sums: Path) -> dict[str, str]:
    """File name -> SHA-256, from lines `<digest>  <name>`; empty where there is no such file."""
    if not sums.is_file():
        return {}
    pairs = (line.split(maxsplit=1) for line in sums.read_text().splitlines() if line.strip())
    return {name.strip().removeprefix("*"): digest for digest, name in pairs}
