"""The judge: a small convolutional classifier, in whose features samples are measured and by whom they are read."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cvae_lightning.core.random_streams import random_stream, seed_of
from cvae_lightning.core.shapes import ByteImages, Features, Images, Labels, Logits

NUM_FEATURES = 96
EPOCHS = 20
BATCH_SIZE = 256
LR = 0.004
DISTORTION = 0.15
CHUNK = 500  # images at a time where nothing is trained; fixed, so that results don't depend on who asks


class Block(nn.Module):
    """Convolution, batch normalisation, ReLU; `fold` makes the first two one, for evaluation."""

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
    """Six convolutions down to 4x4 positions, a linear layer whose output are the features, and one of logits."""

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
        """What the logits are read from, at least 0, for images in [0, 1]."""
        maps = self.blocks(x.clone(memory_format=torch.channels_last))  # .contiguous keeps odd strides of one channel
        return F.relu(self.layer(F.adaptive_avg_pool2d(maps, 4).flatten(1)))

    def forward(self, x: Images) -> Logits:
        return self.head(self.features(x))

    def fold(self) -> "Classifier":
        """Itself, for evaluation: normalisation becomes part of the convolutions, and nothing takes gradients."""
        self.eval()
        for block in self.blocks:
            assert isinstance(block, Block)
            block.fold()
        return self.requires_grad_(False).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def read(self, images: ByteImages) -> tuple[Features, Labels]:
        """The features of 8-bit images, and the labels that they are taken for."""
        features = torch.cat([self.features(chunk.float().div_(255)) for chunk in images.split(CHUNK)])
        return features, self.head(features).argmax(1)


def fit(
    images: ByteImages,
    labels: Labels,
    epochs: int = EPOCHS,
    seed: int = 0,
    distortion: float = DISTORTION,
    mirrored: bool = False,
) -> Classifier:
    """A classifier of `labels` trained on `images`, slightly turned, sheared, scaled and shifted, ready for use.

    `distortion` says how much; where `mirrored`, half of them are, left to right, as suits clothes but not digits.

    AdamW with one cycle of the learning rate (Smith & Topin 2018), on the device of the images. The weights are
    rounded to float16, as they are kept on disk. Draws come from a stream of `seed`; the caller's are untouched, and
    may be those of a loop in inference mode.
    """
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
    """Each image mirrored left to right, or not, with equal chance."""
    return torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)


def distorted(x: Images, distortion: float = DISTORTION) -> Images:
    """Each image under a linear map within `distortion` of the identity, and shifted by up to 2 pixels in 28."""
    linear = torch.eye(2, device=x.device) + distortion * _uniform(len(x), 2, 2, like=x)
    shift = 2 / 14 * _uniform(len(x), 2, 1, like=x)
    grid = F.affine_grid(torch.cat([linear, shift], 2), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def _uniform(*shape: int, like: Tensor) -> Tensor:
    """In [-1, 1]."""
    return 2 * torch.rand(shape, device=like.device) - 1


def _multiplies_in_bfloat16() -> bool:
    """Two and a half times faster on processors with AMX; many of the others are slower in it."""
    return torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "AMX"))
