"""Decoded images on disk: a folder is decoded once, and then its splits are mapped into memory.

`<data_dir>/cache/<digest>` holds one file of bytes per split and images.json, which is written last: without it, the
others are incomplete. The digest is that of the folder's path, the names and sizes of its files, their order in the
splits, and how they are decoded. Everything in the cache may be deleted at any time; it is then decoded again.
"""

import errno
import hashlib
import json
import logging
import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypedDict, cast

import numpy as np
import torch

from cvae_lightning.core.capacity import check_room, full_disk_explained, readable
from cvae_lightning.core.errors import UserError, refuse
from cvae_lightning.core.files import read_json, write_whole
from cvae_lightning.core.locks import locked
from cvae_lightning.core.shapes import ByteImages
from cvae_lightning.data.decoding import Decoding, Outcome, Place, decode_into, digests_of, headers_of
from cvae_lightning.data.listing import ImageFile
from cvae_lightning.data.mapped import mapped_images
from cvae_lightning.data.workers import in_parallel

log = logging.getLogger(__name__)

FORMAT = 1
"""Rises when the same files are decoded to other bytes."""
RECORD = "images.json"
CACHE = "cache"
MOST_AT_ONCE = 512  # files that a worker takes at a time
BYTES_AT_ONCE = 2**23  # and the bytes that it decodes them to
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class Record(TypedDict):
    """What images.json says of the decoded images."""

    times: str
    """A digest of when each file was changed."""
    content: str
    """The SHA-256 of the lines "<SHA-256>  <name>" of all files."""
    skipped: dict[str, str]
    """Why each file that was left out is not an image, by its name."""
    shared: dict[str, list[str]]
    """The files of val and of test that show the same as a file of train."""


class Survey(TypedDict):
    """What the headers of the files of a folder say together."""

    sizes: list[tuple[int, int]]
    """Each width and height that occurs, sorted."""
    median: float
    """Of the shorter sides."""
    is_grey: bool
    """Whether all images are grey."""
    problems: dict[str, str]
    """Why each file that has no header is not an image, by its name."""


@dataclass(frozen=True)
class DecodedFolder:
    """The decoded images of a folder."""

    folder: Path
    directory: Path
    shape: tuple[int, int, int]
    splits: dict[str, list[ImageFile]]
    """The files of each split, in the order of its images."""
    record: Record

    def images(self, split: str) -> ByteImages:
        """The images of a split, mapped from its file: read-only, and read from the disk when they are used.

        Raises UserError if another process has decoded other images in the meantime.
        """
        if read_json(self.directory / RECORD)["content"] != self.record["content"]:
            raise UserError(f"The images of {self.folder} have changed since this process began. Start it again.")
        size = len(self.splits[split])
        if not size:
            return torch.empty(0, *self.shape, dtype=torch.uint8)
        return mapped_images(self.directory / f"{split}.bytes", (size, *self.shape))


def decoded_folder(
    folder: Path, splits: dict[str, list[ImageFile]], decoding: Decoding, data_dir: Path, skip_broken: bool = False
) -> DecodedFolder:
    """The images of `splits`, decoded now if they are not in the cache of `data_dir` as they are in `folder`.

    Processes that need the same images wait for the first one. Raises UserError if files are not images, naming them,
    unless they are to be skipped; if the disk is full; and if `data_dir` cannot be written.
    """
    named = {split: [[file.name, file.size] for file in files] for split, files in splits.items()}
    key = {"folder": str(folder), "splits": named, "skip_broken": skip_broken, **asdict(decoding)}
    directory = _place(data_dir, key)
    times = _digest([[file.name, file.time] for files in splits.values() for file in files])
    if not (record := _valid_record(directory, folder, splits, decoding, times)):
        with _writing(data_dir), locked(directory, "data_dir", wait=True):
            record = _valid_record(directory, folder, splits, decoding, times)
            if not record:
                (directory / RECORD).unlink(missing_ok=True)
                record = _decode(folder, splits, decoding, directory, times, skip_broken)
                write_whole(directory / RECORD, json.dumps(record, indent=1) + "\n")
    kept = {split: [file for file in files if file.name not in record["skipped"]] for split, files in splits.items()}
    return DecodedFolder(folder, directory, decoding.shape, kept, record)


def survey(folder: Path, files: Sequence[ImageFile], data_dir: Path) -> Survey:
    """What the headers of `files` say together; it is kept in the cache until a file changes."""
    key = {"folder": str(folder), "headers": [list(file) for file in files]}
    place = _place(data_dir, key).with_suffix(".json")
    if place.is_file():
        with suppress(UserError):
            return cast(Survey, read_json(place))
    found = in_parallel(partial(headers_of, folder), [file.name for file in files], MOST_AT_ONCE, "reading headers")
    whole = [header for header in found if header.problem is None]
    read: Survey = {
        "sizes": sorted({header.size for header in whole}),
        "median": statistics.median([min(header.size) for header in whole] or [0]),
        "is_grey": all(header.is_grey for header in whole),
        "problems": {file.name: header.problem for file, header in zip(files, found, strict=True) if header.problem},
    }
    with suppress(OSError):  # it is read again next time
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, json.dumps(read))
    return read


def refuse_broken(problems: dict[str, str], folder: Path, num_files: int) -> NoReturn:
    """Raise the UserError that names the files that are not images, the first three of them with the reason."""
    first = [f"{folder / name} ({problem})" for name, problem in list(problems.items())[:3]]
    more = f" and {len(problems) - len(first)} more" if len(problems) > len(first) else ""
    raise UserError(
        f"Expected images (data.path), got {len(problems)} of {num_files} files that are not: "
        f"{', '.join(first)}{more}. Replace or remove them, or leave them out: data.skip_broken=true."
    )


def _decode(
    folder: Path,
    splits: dict[str, list[ImageFile]],
    decoding: Decoding,
    directory: Path,
    times: str,
    skip_broken: bool,
) -> Record:
    num = sum(map(len, splits.values()))
    needed = num * decoding.num_bytes
    check_room(directory, needed, f"Decoding {num:,} images", "Lower data.size, or name another data_dir.")
    log.info("Decoding %s images of %s once ...", f"{num:,}", folder)
    places = [
        Place(split, position, file.name) for split, files in splits.items() for position, file in enumerate(files)
    ]
    step = max(1, min(MOST_AT_ONCE, BYTES_AT_ONCE // decoding.num_bytes))
    with full_disk_explained(directory, needed):
        for split, files in splits.items():
            with (directory / f"{split}.bytes.part").open("wb") as out:
                out.truncate(len(files) * decoding.num_bytes)
        outcomes = in_parallel(partial(decode_into, directory, decoding, folder), places, step, "decoding")
        named = {place.name: outcome for place, outcome in zip(places, outcomes, strict=True)}
        for split, files in splits.items():
            partial_file = directory / f"{split}.bytes.part"
            _close_gaps(partial_file, [named[file.name].problem is None for file in files], decoding)
            os.replace(partial_file, directory / f"{split}.bytes")
    problems = {name: outcome.problem for name, outcome in sorted(named.items()) if outcome.problem is not None}
    if problems and (not skip_broken or len(problems) == num):
        for split in splits:
            (directory / f"{split}.bytes").unlink()
        refuse_broken(problems, folder, num)
    log.info("... done: %s in %s, which may be deleted at any time.", readable(needed), directory)
    return {
        "times": times,
        "content": _content({name: outcome.content for name, outcome in named.items()}),
        "skipped": problems,
        "shared": _shared(splits, named),
    }


def _close_gaps(file: Path, is_image: Sequence[bool], decoding: Decoding) -> None:
    """Move the images together that others lie between which could not be decoded."""
    if all(is_image):
        return
    kept = np.flatnonzero(is_image)
    images = np.memmap(file, np.uint8, "r+", shape=(len(is_image), *decoding.shape))
    for start in range(0, len(kept), MOST_AT_ONCE):
        part = kept[start : start + MOST_AT_ONCE]  # which never lie before the place that they move to
        images[start : start + len(part)] = images[part]
    images.flush()
    del images  # Windows shortens no file that is mapped
    os.truncate(file, len(kept) * decoding.num_bytes)


def _valid_record(
    directory: Path, folder: Path, splits: dict[str, list[ImageFile]], decoding: Decoding, times: str
) -> Record | None:
    """The record of a complete decoding of these files; None if there is none, or if their content has changed.

    The content is read only if a file has been touched; if it is still the same, the record is renewed.
    """
    try:
        record = cast(Record, read_json(directory / RECORD))
        for split, files in splits.items():
            num = sum(file.name not in record["skipped"] for file in files)
            if (directory / f"{split}.bytes").stat().st_size != num * decoding.num_bytes:
                return None
    except (FileNotFoundError, UserError):  # it is incomplete, or damaged
        return None
    if record["times"] == times:
        return record
    names = [file.name for files in splits.values() for file in files]
    log.info("Files of %s have been touched: comparing their content ...", folder)
    digests = in_parallel(partial(digests_of, folder), names, MOST_AT_ONCE, "comparing")
    if record["content"] != _content(dict(zip(names, digests, strict=True))):
        return None
    record["times"] = times
    with suppress(OSError):  # of a cache that can only be read
        write_whole(directory / RECORD, json.dumps(record, indent=1) + "\n")
    return record


@contextmanager
def _writing(data_dir: Path) -> Iterator[None]:
    """Raise a UserError instead of the system's error if `data_dir` can only be read."""
    try:
        yield
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        what, got = "a folder that can be written, where decoded images are kept", f"{data_dir} ({error.strerror})"
        refuse(what, "data_dir", got, "Name another: data_dir=<folder>.")


def _place(data_dir: Path, key: dict[str, Any]) -> Path:
    return data_dir / CACHE / _digest({"format": FORMAT, **key})[:32]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _content(digests: dict[str, str]) -> str:
    """The SHA-256 of the lines "<SHA-256>  <name>", sorted by name, as sha256sum writes them."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _shared(splits: dict[str, list[ImageFile]], outcomes: dict[str, Outcome]) -> dict[str, list[str]]:
    """The files of val and test whose pixels are those of a file of train."""
    train = {outcomes[file.name].pixels for file in splits["train"]} - {b""}
    held_out = {split: files for split, files in splits.items() if split != "train"}
    return {
        split: [file.name for file in files if outcomes[file.name].pixels in train] for split, files in held_out.items()
    }
