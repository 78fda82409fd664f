"""The judge: a small convolutional classifier that labels samples, and in whose features samples are compared."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cvae_lightning.core.random_streams import random_stream, seed_of
from cvae_lightning.core.shapes import ByteImages, Features, Images, Labels, Logits
from cvae_lightning.data.splits import Split

NUM_FEATURES = 96
EPOCHS = 20
BATCH_SIZE = 256
LR = 0.004
DISTORTION = 0.15
CHUNK = 500  # images at a time during evaluation; fixed, so that results do not depend on the caller's batches


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
    """Six convolutions down to 4x4 positions, a linear layer that gives the features, and one that gives the logits."""

    def __init__(self, channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            Block(channels, 32, kernel=5, stride=2),
            Block(32, 64, kernel=3, stride=1),
            Block(64, 64, kernel=3, stride=1),
            Block(64, 96, kernel=3, stride=2),
            Block(96, 96, kernel=3, stride=1),
            Block(96, 96, kernel=3, stride=2),
        )
        self.layer = nn.Linear(96 * 4 * 4, NUM_FEATURES)
        self.head = nn.Linear(NUM_FEATURES, num_classes)

    def features(self, x: Images) -> Features:
        """The features of images in [0, 1], from which the logits are computed; none is below 0."""
        maps = self.blocks(x.clone(memory_format=torch.channels_last))  # .contiguous keeps the strides of one channel
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
    def read(self, images: ByteImages) -> tuple[Features, Labels]:
        """The features of 8-bit images, and the labels that the judge assigns to them."""
        features = torch.cat([self.features(chunk.float().div_(255)) for chunk in images.split(CHUNK)])
        return features, self.head(features).argmax(1)


def fit(
    train: Split,
    epochs: int = EPOCHS,
    seed: int = 0,
    distortion: float = DISTORTION,
    mirrored: bool = False,
) -> Classifier:
    """Train a classifier of the classes of `train`, and return it ready for evaluation.

    Training images are slightly rotated, sheared, scaled and shifted; `distortion` is the largest deviation of their
    linear map from the identity. If `mirrored`, half of them are mirrored left to right, which suits clothes but not
    digits.

    It is trained by AdamW with one cycle of the learning rate (Smith & Topin 2018), on the device of the images. The
    weights are rounded to float16, as they are stored. Random numbers come from a stream of `seed`; the caller's stream
    is untouched, and the caller may be in inference mode.
    """
    images, labels = train.images, train.classes
    with torch.inference_mode(False), torch.enable_grad(), random_stream(seed, seed_of(epochs)):
        classifier = Classifier(images.shape[1], int(labels.max()) + 1)
        classifier = classifier.to(images.device).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(classifier.parameters(), LR, weight_decay=0.02)
        steps = epochs * math.ceil(len(labels) / BATCH_SIZE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
        for _ in range(epochs):
            for index in torch.randperm(len(labels)).to(images.device).split(BATCH_SIZE):
                x = images.index_select(0, index).float().div_(255)
                x = distorted(half_mirrored(x) if mirrored else x, distortion)
                with torch.autocast("cpu", torch.bfloat16, enabled=_multiplies_in_bfloat16()):
                    logits = classifier(x)
                optimizer.zero_grad()
                F.cross_entropy(logits.float(), labels.index_select(0, index), label_smoothing=0.1).backward()
                optimizer.step()
                schedule.step()
        return classifier.fold().half().float()


def half_mirrored(x: Images) -> Images:
    """Mirror each image left to right with probability 1/2."""
    return torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)


def distorted(x: Images, distortion: float = DISTORTION) -> Images:
    """Map each image linearly, within `distortion` of the identity, and shift it by up to 2 of 28 pixels, at random."""
    linear = torch.eye(2, device=x.device) + distortion * _uniform(len(x), 2, 2, like=x)
    shift = 2 / 14 * _uniform(len(x), 2, 1, like=x)
    grid = F.affine_grid(torch.cat([linear, shift], 2), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def _uniform(*shape: int, like: Tensor) -> Tensor:
    """Uniform numbers in [-1, 1]."""
    return 2 * torch.rand(shape, device=like.device) - 1


def _multiplies_in_bfloat16() -> bool:
    """Whether bfloat16 is used: it is 2.5 times as fast on CPUs with AMX, and slower on many others."""
    return torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "AMX"))
