"""Real images and samples as evaluators compare them: on 8 bits, and the same however they were batched."""

from collections.abc import Iterable

import torch

from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.grader import rounded
from cvae_lightning.generative import Generative
from cvae_lightning.shapes import Batch, ByteImages, Labels

CHUNK = 1000


def whole(batches: Iterable[Batch]) -> Split:
    """All images of a split."""
    images, labels = zip(*((rounded(x), y) for x, y in batches), strict=True)
    return Split(torch.cat(images), torch.cat(labels))


def some(split: Split, num: int) -> Split:
    """`num` images drawn without repetition, all where it has no more, in random order."""
    return split.take(torch.randperm(len(split.labels))[:num].to(split.labels.device))


def drawn(model: Generative, labels: Labels) -> ByteImages:
    """One sample a label, rounded to 8 bits."""
    return torch.cat([rounded(model.sample(chunk)) for chunk in labels.split(CHUNK)])
