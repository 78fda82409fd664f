"""Files that are whole at any time."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from cvae_lightning.errors import UserError


def write_whole(path: Path, content: str | bytes) -> None:
    """Write beside the place of the file, then rename: whoever reads it finds the old content or the new one."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(partial, path)


def read_json(path: Path) -> Any:
    """Raises UserError where the file holds something else."""
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
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
