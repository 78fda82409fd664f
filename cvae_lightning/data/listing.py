"""The image files in a folder, and which subfolder holds which split and which class."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cvae_lightning.core.errors import refuse

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
SPLITS = {"train": ("train",), "val": ("val", "valid", "validation", "dev"), "test": ("test",)}
"""The names of the subfolders that hold each split."""


class ImageFile(NamedTuple):
    """A file that is named like an image."""

    name: str
    """Its path in the folder, with / on every system."""
    size: int
    time: int
    """When it was last changed, in nanoseconds."""


def image_files(folder: Path) -> list[ImageFile]:
    """The images in `folder` and its subfolders, sorted by name; hidden ones are ignored, links are followed."""
    return sorted(_image_files(folder, "", ()))


def split_folders(files: Sequence[ImageFile], folder: Path) -> dict[str, str]:
    """The subfolder of each split by the split's name; empty if `folder` has no such subfolders.

    Raises UserError for a folder whose subfolders are partly splits and partly something else.
    """
    tops = sorted({file.name.partition("/")[0] for file in files if "/" in file.name})
    found = [(split, top) for split, names in SPLITS.items() for top in tops if top.lower() in names]
    folders = dict(found)
    others = [top for top in tops if top not in folders.values()]
    if len(found) < 2 and ("train" not in folders or others):  # one class may be called train
        return {}
    what, remedy = "train, and at most one val and test beside it", "Move, rename or name the folder that is meant."
    if len(found) > len(folders) or "train" not in folders or others:
        refuse(what, f"subfolders of {folder}", tops[:10], remedy)
    if loose := next((file.name for file in files if "/" not in file.name), None):
        refuse("every image in train, val or test", "data.path", str(folder / loose), "Move it into one of them.")
    return folders


def class_names(files: Sequence[ImageFile], folders: dict[str, str], folder: Path) -> list[str] | None:
    """The class of each file: its first subfolder below the split's, or below `folder`. None for flat folders.

    Raises UserError if some files lie in such a subfolder and some do not.
    """
    depth = 1 if folders else 0
    parts = [file.name.split("/")[depth:] for file in files]
    flat = [len(part) == 1 for part in parts]
    if all(flat):
        return None
    if any(flat):
        got = str(folder / files[flat.index(True)].name)
        remedy = "Move it into one; an empty cell in a metadata.csv stands for an unknown class."
        refuse("every image in the subfolder of a class, or none", "data.path", got, remedy)
    names = [part[0] for part in parts]
    inner = {part[1] for part in parts if len(part) > 2}
    if len(set(names)) == 1 and len(inner) > 1 and all(len(part) > 2 for part in parts):
        remedy = f"Name that one: data.path={folder / names[0]}." if not folders else "Move its subfolders up."
        refuse("a subfolder per class", "data.path", f"{folder}, whose only one, {names[0]}, has folders", remedy)
    return names


def _image_files(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[ImageFile]:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in above:  # a link to a folder that contains it
        return
    within = (*above, (status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _image_files(folder / entry.name, f"{prefix}{entry.name}/", within)
            elif entry.name.lower().endswith(EXTENSIONS):
                yield _image_file(entry, prefix)


def _image_file(entry: os.DirEntry[str], prefix: str) -> ImageFile:
    try:
        status = entry.stat()
    except OSError:  # a link that leads nowhere: reading it will say so
        status = entry.stat(follow_symlinks=False)
    return ImageFile(prefix + entry.name, status.st_size, status.st_mtime_ns)
