"""The judge: a small convolutional classifier that labels samples, and in whose features samples are compared."""

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cvae_lightning.core.capacity import images_at_once
from cvae_lightning.core.products import exact_products
from cvae_lightning.core.random_streams import random_stream, seed_of
from cvae_lightning.core.shapes import ByteImages, Features, Images, Labels, Logits
from cvae_lightning.data.splits import Split

NUM_FEATURES = 96
EPOCHS = 20
BATCH_SIZE = 256
LR = 0.004
DISTORTION = 0.15
MIN_STEPS, MOST_SEEN = 500, 1_200_000
CHUNK, CHUNK_ON_CPU = 500, 100
"""Images at a time during evaluation, fixed, so that results do not depend on the caller's batches.

The maps of 100 images fit into the cache of a processor, which makes it a quarter faster.
"""
STRIDE = 2  # of the first convolution, for images of up to 32 pixels a side
SMALLEST, LARGEST = 8, 64  # pixels a side; smaller images are enlarged, and larger ones averaged


class Block(nn.Module):
    """Convolution, batch normalisation, ReLU; `fold` merges the first two for evaluation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(maps)))

    def fold(self) -> None:
        assert isinstance(self.norm, nn.BatchNorm2d)
        self.conv = fuse_conv_bn_eval(self.conv, self.norm)
        self.norm = nn.Identity()


class Classifier(nn.Module):
    """Six convolutions down to 4x4 positions, a linear layer that gives the features, and one that gives the outputs.

    Its cost is bounded whatever the size of the images: from more than 32 pixels a side the first convolution has a
    stride of 4 in place of 2, and images of more than 64 are averaged down to at most that first.
    """

    def __init__(self, channels: int = 1, num_outputs: int = 10, stride: int = STRIDE) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            Block(channels, 32, kernel=5, stride=stride),
            Block(32, 64, kernel=3, stride=1),
            Block(64, 64, kernel=3, stride=1),
            Block(64, 96, kernel=3, stride=2),
            Block(96, 96, kernel=3, stride=1),
            Block(96, 96, kernel=3, stride=2),
        )
        self.stride = stride
        self.layer = nn.Linear(96 * 4 * 4, NUM_FEATURES)
        self.head = nn.Linear(NUM_FEATURES, num_outputs)

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def features(self, x: Images) -> Features:
        """The features of images in [0, 1], from which the outputs are computed; none is below 0."""
        maps = self.blocks(
            shrunk(x).clone(memory_format=torch.channels_last)
        )  # .contiguous keeps the strides of one channel
        return F.relu(self.layer(F.adaptive_avg_pool2d(maps, 4).flatten(1)))

    def forward(self, x: Images) -> Logits:
        return self.head(self.features(x))

    def fold(self) -> "Classifier":
        """Prepare for evaluation: merge normalisation into the convolutions and freeze the weights. Returns itself."""
        self.eval()
        for block in self.blocks:
            assert isinstance(block, Block)
            block.fold()
        return self.requires_grad_(False).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def features_of(self, parts: Iterable[ByteImages]) -> Features:
        """The features of 8-bit images, which come a part at a time."""
        most = CHUNK_ON_CPU if self.device.type == "cpu" else CHUNK
        return torch.cat(
            [
                self.features(chunk.to(self.device).float().div_(255))
                for part in parts
                for chunk in part.split(images_at_once(part.shape[1:], most))
            ]
        )

    @torch.no_grad()
    def classes_of(self, features: Features) -> Labels:
        """The classes that the judge assigns to images with these features."""
        return self.head(features).argmax(1)

    def read(self, images: ByteImages) -> tuple[Features, Labels]:
        """The features of 8-bit images, and the classes that the judge assigns to them."""
        features = self.features_of([images])
        return features, self.classes_of(features)


def fit(
    train: Split,
    epochs: int | None = None,
    seed: int = 0,
    distortion: float = DISTORTION,
    mirrored: bool = False,
    device: torch.device | None = None,
) -> Classifier:
    """Train a classifier of the classes of `train`, and return it ready for evaluation.

    Images of unknown class are left out. Training images are slightly rotated, sheared, scaled and shifted;
    `distortion` is the largest deviation of their linear map from the identity. If `mirrored`, half of them are
    mirrored left to right, which suits clothes but not digits. By default there are `epochs_for` the number of images.
    """
    known = (train.classes >= 0).nonzero()[:, 0]
    labels = train.classes

    def loss_of(logits: Tensor, index: Tensor) -> Tensor:
        targets = labels.index_select(0, index.to(labels.device)).to(logits.device)
        return F.cross_entropy(logits, targets, label_smoothing=0.1)

    def seen(x: Images) -> Images:
        return distorted(half_mirrored(x) if mirrored else x, distortion)

    return train_network(train.images, known, int(labels.max()) + 1, loss_of, seen, epochs, seed, device)


def num_classes_in(train: Split) -> int:
    """The number of classes that `train` has images of; a judge needs two."""
    return len(train.classes[train.classes >= 0].unique())


def epochs_for(num_images: int) -> int:
    """The number of epochs: 20, but at least 500 steps for few images, and at most 1.2 million images seen."""
    steps = math.ceil(num_images / BATCH_SIZE)
    return max(1, math.ceil(MIN_STEPS / steps), min(EPOCHS, math.ceil(MOST_SEEN / num_images)))


def train_network(
    images: ByteImages,
    known: Tensor,
    num_outputs: int,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    seen: Callable[[Images], Images] | None,
    epochs: int | None,
    seed: int,
    device: torch.device | None,
) -> Classifier:
    """Train a network on the images with the numbers `known`, and return it ready for evaluation.

    `loss_of` compares its outputs with the labels of the images of these numbers; `seen` distorts images.

    It is trained by AdamW with one cycle of the learning rate (Smith & Topin 2018), on `device`, by default that of the
    images. The weights are rounded to float16, as they are stored. Random numbers come from a stream of `seed`; the
    caller's stream is untouched, and the caller may be in inference mode.
    """
    epochs, device = epochs or epochs_for(len(known)), device or images.device
    with exact_products(device), torch.inference_mode(False), torch.enable_grad(), random_stream(seed, seed_of(epochs)):
        size = max(images.shape[2:])
        classifier = Classifier(images.shape[1], num_outputs, stride=STRIDE if size <= LARGEST // 2 else 2 * STRIDE)
        classifier = classifier.to(device).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(classifier.parameters(), LR, weight_decay=0.02)
        steps = epochs * math.ceil(len(known) / BATCH_SIZE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
        for _ in range(epochs):
            for part in torch.randperm(len(known)).to(known.device).split(BATCH_SIZE):
                index = known[part]
                if len(index) == 1:  # batch normalisation needs two values, and a tiny image gives one
                    index = index.repeat(2)
                x = shrunk(images.index_select(0, index).to(device).float().div_(255))
                x = seen(x) if seen else x
                with torch.autocast("cpu", torch.bfloat16, enabled=_multiplies_in_bfloat16()):
                    outputs = classifier(x)
                optimizer.zero_grad()
                loss_of(outputs.float(), index).backward()
                optimizer.step()
                schedule.step()
        return classifier.fold().half().float()


def shrunk(x: Images) -> Images:
    """Images of more than 64 pixels a side, averaged down to at most that, and with pixels repeated up to 8 a side."""
    if (factor := -(-max(x.shape[2:]) // LARGEST)) > 1:
        x = F.avg_pool2d(x, factor, ceil_mode=True, count_include_pad=False)
    for axis in (2, 3):
        if x.shape[axis] < SMALLEST:
            x = x.repeat_interleave(-(-SMALLEST // x.shape[axis]), axis)
    return x


def half_mirrored(x: Images) -> Images:
    """Mirror each image left to right with probability 1/2."""
    return torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)


def distorted(x: Images, distortion: float = DISTORTION) -> Images:
    """Map each image linearly, within `distortion` of the identity, and shift it by up to 2 of 28 pixels, at random.

    Beyond the border, a grey image is black, as that of a digit is; a colour image goes on as at its border.
    """
    beyond = "zeros" if x.shape[1] == 1 else "border"
    linear = torch.eye(2, device=x.device) + distortion * _uniform(len(x), 2, 2, like=x)
    shift = 2 / 14 * _uniform(len(x), 2, 1, like=x)
    grid = F.affine_grid(torch.cat([linear, shift], 2), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode=beyond, align_corners=False)


def _uniform(*shape: int, like: Tensor) -> Tensor:
    """Uniform numbers in [-1, 1]."""
    return 2 * torch.rand(shape, device=like.device) - 1


def _multiplies_in_bfloat16() -> bool:
    """Whether bfloat16 is used: it is 2.5 times as fast on CPUs with AMX, and slower on many others."""
    return torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "AMX"))
