"""Judges on disk: those that come with the package, and those that were trained once and stored beside the data."""

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from cvae_lightning.core.errors import UserError
from cvae_lightning.core.files import listed_digests, sha256_of, write_whole
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.data.splits import Split
from cvae_lightning.judging.classifier import STRIDE, Classifier, fit
from cvae_lightning.judging.values import Values, fit_values

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "judges"
SUMS = "SHA256SUMS"

Fit: TypeAlias = Callable[..., Classifier]

_in_use: dict[str, Classifier] = {}


def judge_for(train: Split, folder: Path, device: torch.device | None = None) -> Classifier:
    """Return the judge that was fitted to exactly these images and their classes, a train split.

    The judge comes with the package or is in `folder`. Otherwise it is trained now, and stored in `folder` if that is
    writable. Judges are found by the content of the tensors, so a judge never evaluates images that it was fitted to,
    however the splits are drawn. It is returned on `device`, by default that of the images. Raises UserError for a file
    that differs from the SHA256SUMS beside it.
    """
    return _kept("A judge", fit, train, digest_of(train), folder, device or train.images.device)


def reader_for(train: Split, folder: Path, device: torch.device | None = None) -> Classifier:
    """Return the network that was fitted to the numbers and flags of exactly these images, as `judge_for` does."""
    digest = digest_of(train, Values.of(train.condition, train.labels).targets)
    return _kept("A judge of numbers and flags", fit_values, train, digest, folder, device or train.images.device)


def digest_of(train: Split, labels: Tensor | None = None) -> str:
    """The SHA-256 of the bytes of the images and of their labels, by default their classes."""
    sha256 = hashlib.sha256(train.images.cpu().contiguous().numpy().data)
    sha256.update((train.classes if labels is None else labels).cpu().contiguous().numpy().data)
    return sha256.hexdigest()


def find(folder: Path, digest: str) -> Classifier | None:
    """The judge in `folder` that was fitted to a train split of this digest; None if there is none."""
    for name, sha256 in listed_digests(folder / SUMS).items():
        path = folder / name
        if path.is_file() and _fitted_to(path, sha256) == digest:
            return _load(path)
    return None


def keep(judge: Classifier, folder: Path, name: str, digest: str) -> Path:
    """Write the judge to <name>.safetensors in `folder`, in float16, and its SHA-256 to SHA256SUMS; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    state = {key: weights.cpu().half().contiguous() for key, weights in judge.state_dict().items()}
    metadata = {"fitted_to": digest} | ({} if judge.stride == STRIDE else {"stride": str(judge.stride)})
    write_whole(path, save(state, metadata))
    sums = listed_digests(folder / SUMS) | {path.name: sha256_of(path)}
    write_whole(folder / SUMS, "".join(f"{sha256}  {file}\n" for file, sha256 in sorted(sums.items())))
    return path


def _kept(what: str, fit_to: Fit, train: Split, digest: str, folder: Path, device: torch.device) -> Classifier:
    """The network of this digest, from this process or from disk, or trained now."""
    if digest not in _in_use:
        found = find(SHIPPED, digest) or find(folder, digest)
        _in_use[digest] = found or _trained(what, lambda: fit_to(train, device=device), train, digest, folder)
    return _in_use[digest].to(device)


def _trained(what: str, fit_now: Callable[[], Classifier], train: Split, digest: str, folder: Path) -> Classifier:
    """Train a network and store it; processes that need the same one at the same time wait for the first of them."""
    judge = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if judge := find(folder, digest):
                return judge
            judge = _fitted(what, fit_now, train)
            log.info("The judge was stored as %s.", keep(judge, folder, digest[:16], digest))
    except OSError as error:
        log.warning("The judge cannot be stored in %s (%s): the next process trains it again.", folder, error.strerror)
    return judge or _fitted(what, fit_now, train)


def _fitted(what: str, fit_now: Callable[[], Classifier], train: Split) -> Classifier:
    log.info("%s is being trained on %d images, once for this train split ...", what, len(train.labels))
    start = time.perf_counter()
    judge = fit_now()
    log.info("... done in %.0f s.", time.perf_counter() - start)
    return judge


def _fitted_to(path: Path, sha256: str) -> str | None:
    if (got := sha256_of(path)) != sha256:
        raise UserError(f"{path} is damaged: its SHA-256 is {got[:12]}..., not {sha256[:12]}... Delete or replace it.")
    with safe_open(path, "pt") as file:
        return (file.metadata() or {}).get("fitted_to")


def _load(path: Path) -> Classifier:
    state = {key: weights.float() for key, weights in load(path.read_bytes()).items()}
    with safe_open(path, "pt") as file:
        stride = int((file.metadata() or {}).get("stride", STRIDE))
    channels, num_outputs = state["blocks.0.conv.weight"].shape[1], len(state["head.bias"])
    with random_stream(0):  # the caller's stream is not used for weights that are overwritten at once
        judge = Classifier(channels, num_outputs, stride).fold()
    judge.load_state_dict(state)
    return judge
