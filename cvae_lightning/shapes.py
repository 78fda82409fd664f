"""The shapes that cross borders, as types; the tests check them at run time (jaxtyping, beartype)."""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from cvae_lightning.errors import refuse

Images: TypeAlias = Float[Tensor, "batch channels height width"]
"""In [0, 1]."""
ByteImages: TypeAlias = UInt8[Tensor, "batch channels height width"]
Labels: TypeAlias = Int64[Tensor, " batch"]
Latents: TypeAlias = Float[Tensor, "batch latent"]
Context: TypeAlias = Float[Tensor, "batch context"]
Features: TypeAlias = Float[Tensor, "batch features"]
Logits: TypeAlias = Float[Tensor, "batch classes"]
PerImage: TypeAlias = Float[Tensor, " batch"]
Batch: TypeAlias = tuple[Images, Labels]

AnyLabels: TypeAlias = int | Sequence[int] | Tensor
"""One label (an int or a 0-d tensor) or one label an image (a list or a 1-d tensor)."""


def as_labels(
    y: AnyLabels, num: int | None = None, num_classes: int | None = None, device: torch.device | None = None
) -> Labels:
    """`y` as a batch of labels on `device`; one label stands for all `num` images.

    Raises UserError where `y` is neither one label nor `num` of them, or not in 0..num_classes-1 (a tensor that lies
    on a GPU is trusted, as looking at it would stop the queue of kernels).
    """
    labels = torch.as_tensor(y)
    if labels.is_floating_point() or labels.is_complex() or labels.ndim > 1:
        refuse("an integer, a list or a 1-d tensor of integers", "labels", y, "Pass for example [2, 7, 9].")
    labels = labels.long().reshape(-1)
    if num is not None and len(labels) != num:
        if len(labels) != 1:
            refuse(f"one label or {num} labels", "labels", f"{len(labels)} labels", "Pass one label an image.")
        labels = labels.expand(num)
    if num_classes is not None and labels.device.type == "cpu" and len(labels):
        low, high = (bound.item() for bound in labels.aminmax())
        if low < 0 or high >= num_classes:
            refuse(f"labels in 0..{num_classes - 1}", "labels", low if low < 0 else high, "Leave that label out.")
    return labels.to(device)
