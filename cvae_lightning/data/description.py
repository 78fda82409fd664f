"""What metrics.json says about the data of a run."""

from typing import Any, NotRequired, TypedDict


class DataDescription(TypedDict):
    """The data set of a run: which files it was read from, and how many images each split has."""

    name: str
    sha256: str
    """SHA-256 of the list of `files`, one digest and name per line, sorted by name."""
    files: dict[str, str]
    """The SHA-256 of each file, by its name."""
    train: int
    val: int
    test: int
    image_shape: NotRequired[list[int]]
    """Channels, height and width."""
    skipped: NotRequired[dict[str, str]]
    """Why each file that was left out is not an image, by its name; missing if there is none."""
    images_per_class: NotRequired[list[int]]
    """The number of training images of each class, in the order of the classes; missing without classes."""
    condition: NotRequired[dict[str, Any]]
    """The names and units of the labels, as core/conditions.py describes them; missing for classes without names."""
