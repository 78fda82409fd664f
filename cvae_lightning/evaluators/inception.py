"""The usual FID, in the features of an Inception network that was trained on photographs."""

import functools
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn
from torchmetrics.image.fid import NoTrainInceptionV3

from cvae_lightning.core.errors import check_integer, check_positive
from cvae_lightning.core.shapes import Batch, ByteImages, Features
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import Absent, Evaluator, Measured
from cvae_lightning.evaluators.inception_weights import KEY, cached_or_downloaded, check_weights
from cvae_lightning.evaluators.samples import compared, drawn, images_of, labels_of, rounded, some, taken, with_labels
from cvae_lightning.metrics.distances import frechet_distance
from cvae_lightning.models.protocols import Generative

AUTO, DOWNLOAD = "auto", "download"
CHUNK = 50


class Inception(Evaluator):
    """`fid_inception` of samples (Heusel et al. 2017), and `fid_inception_floor`, its value for images of train.

    Both are absent if the weights of the network are not available; no other network is used instead. `weights` names a
    file of torch-fidelity's weights; "download" takes them from its cache, or downloads them within
    `download_seconds`; "auto" does so on a GPU only, as 11 GFLOP per image take about half an hour on a CPU.
    """

    names = ("fid_inception", "fid_inception_floor", "num_samples_inception")

    def __init__(
        self, weights: str = AUTO, num_samples: int = 10_000, download_seconds: float = 120, seed: int = 0
    ) -> None:
        super().__init__(seed)
        self.num_samples = check_integer("evaluators.inception.num_samples", num_samples, 10, "10000 is usual.")
        self.download_seconds = check_positive("evaluators.inception.download_seconds", download_seconds, "Try 120.")
        self.weights = weights if weights in (AUTO, DOWNLOAD) else check_weights(Path(weights))

    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        path = self._path(train.labels.device)
        if isinstance(path, Absent):
            return dict.fromkeys(self.names, path)
        if train.images.shape[1] not in (1, 3):
            return dict.fromkeys(self.names, Absent("the network takes grey and RGB images only"))
        num_images = len(labels_of(batches))
        num_samples = min(self.num_samples, num_images, len(train.labels))
        index = some(num_images, num_samples)
        real, y = taken(((rounded(x), y) for x, y in batches), index)
        network = network_of(path).to(y.device)
        real_features = features(network, [real], y.device)
        fake = features(network, drawn(model, y), y.device)
        floor = features(network, images_of(train, with_labels(train, y)[0]), y.device)
        return {
            "fid_inception": compared(frechet_distance, real_features, fake),
            "fid_inception_floor": compared(frechet_distance, real_features, floor),
            "num_samples_inception": num_samples,
        }

    def _path(self, device: torch.device) -> Path | Absent:
        if isinstance(self.weights, Path):
            return self.weights
        if self.weights == AUTO and device.type == "cpu":
            return Absent(f"it is slow without a GPU; {KEY}=download asks for it")
        return _cached_or_downloaded(self.download_seconds)


_cached_or_downloaded = functools.cache(cached_or_downloaded)  # if it fails for val, it is not tried again for test


@functools.cache
def network_of(path: Path) -> nn.Module:
    """The Inception network with the weights in this file."""
    return NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path))


def features(network: nn.Module, parts: Iterable[ByteImages], device: torch.device) -> Features:
    """The features of grey or RGB images (B, 2048), which come a part at a time; the network enlarges them to 299x299.

    Grey images get three equal channels.
    """
    chunks = (chunk.to(device) for part in parts for chunk in part.split(CHUNK))
    with torch.no_grad():
        return torch.cat([network(chunk.expand(-1, 3, -1, -1)) for chunk in chunks])
