"""The features of real images in the eyes of a judge, which all runs on the same data share.

They are kept as long as the process runs, and those of many images also in a file, for the next command. A file is
believed only if this process computes the same features, to the last digit, for some of its images: with another
processor or another version of torch, it may not.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from cvae_lightning.core.errors import UserError
from cvae_lightning.core.files import write_whole
from cvae_lightning.core.shapes import Batch, ByteImages, Features
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.samples import CHUNK, chosen, images_of, in_parts, rounded
from cvae_lightning.judging.classifier import NUM_FEATURES, Classifier

FEWEST_STORED, MOST_KEPT = 5_000, 200_000  # images of a split; the features of the fewest take half a second, or 2 MB
COMPARED = 100  # images of a file whose features are computed again

_kept: dict[str, Features] = {}


def train_features(judge: Classifier, train: Split, index: Tensor, folder: Path) -> Features:
    """The features of the images of `train` with the numbers in `index`, for floors. Files are in `folder`.

    Each is computed when it is first asked for: val and test need those of most training images, but not of all.
    """

    def read(places: Tensor) -> Features:
        return judge.features_of(images_of(train, places.to(train.images.device)))

    if len(train.images) > MOST_KEPT:
        return read(index)
    return _completed(_name(judge, [train.images]), len(train.images), index.cpu(), read, folder).to(judge.device)


def split_features(judge: Classifier, batches: Iterable[Batch], num_images: int, folder: Path) -> Features:
    """The features of all images of a split, which are never held all at once. Files are in `folder`."""

    def parts() -> Iterable[ByteImages]:
        return (rounded(x) for x, _ in in_parts(batches, CHUNK))

    def read(places: Tensor) -> Features:
        return judge.features_of(rounded(x) for x, _ in in_parts(chosen(batches, places), CHUNK))

    if num_images > MOST_KEPT:
        return judge.features_of(parts())
    return _completed(_name(judge, parts()), num_images, torch.arange(num_images), read, folder).to(judge.device)


def _name(judge: Classifier, parts: Iterable[ByteImages]) -> str:
    """What tells these images and this judge, on such a device, from all others."""
    sha256 = hashlib.sha256(judge.device.type.encode())
    for tensor in (*judge.state_dict().values(), *parts):
        sha256.update(str(tensor.shape[1:]).encode())
        sha256.update(tensor.cpu().contiguous().numpy().data)
    return sha256.hexdigest()


def _completed(name: str, num_images: int, index: Tensor, read: Callable[[Tensor], Features], folder: Path) -> Features:
    """The features, on the CPU, of the images with the numbers in `index`; `read` computes those that are unknown."""
    file = folder / f"features-{name[:16]}.safetensors"
    if name not in _kept:
        stored = _stored(file, name, num_images)
        with torch.inference_mode(False):  # so that every caller may add to them
            _kept[name] = torch.full((num_images, NUM_FEATURES), torch.nan)
            if stored is not None:
                some = _known(stored).nonzero()[:COMPARED, 0]
                if torch.equal(read(some).cpu(), stored[some]):
                    _kept[name].copy_(stored)
    features = _kept[name]
    new = index[~_known(features[index])].unique()
    if len(new):
        features[new] = read(new).cpu()
        if num_images >= FEWEST_STORED:
            _store(file, name, features)
    return features[index]


def _known(features: Features) -> Tensor:
    return ~features[:, 0].isnan()


def _stored(file: Path, name: str, num_images: int) -> Features | None:
    """The features in a file; None if it is missing or damaged, or of other images."""
    with suppress(OSError, SafetensorError):
        stored = load_file(file).get(name)
        if stored is not None and (stored.shape, stored.dtype) == ((num_images, NUM_FEATURES), torch.float32):
            return stored
    return None


def _store(file: Path, name: str, features: Features) -> None:
    """Write them for the next process, if there is room. Processes that write at the same time do no harm."""
    own = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    with suppress(OSError, UserError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(own, save({name: features}))
        own.replace(file)
