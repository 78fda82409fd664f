"""The shapes of the tensors that modules exchange, as types; the tests check them at run time (jaxtyping, beartype).

`as_images` and `as_labels` turn what a caller passes into these types, or refuse it in one sentence.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from cvae_lightning.core.errors import refuse

Images: TypeAlias = Float[Tensor, "batch channels height width"]
"""Pixels are in [0, 1]."""
ByteImages: TypeAlias = UInt8[Tensor, "batch channels height width"]
Labels: TypeAlias = Int64[Tensor, " batch"]
Conditions: TypeAlias = Int64[Tensor, " batch"] | Float[Tensor, "batch values"]
"""What is known of each image: its class, or one or more values; see core/conditions.py."""
Latents: TypeAlias = Float[Tensor, "batch latent"]
Context: TypeAlias = Float[Tensor, "batch context"]
Features: TypeAlias = Float[Tensor, "batch features"]
Logits: TypeAlias = Float[Tensor, "batch classes"]
PerImage: TypeAlias = Float[Tensor, " batch"]
Batch: TypeAlias = tuple[Images, Conditions]

AnyImages: TypeAlias = Tensor | npt.NDArray[Any]
"""Images (batch, channels, height, width), or one (channels, height, width): floats in [0, 1], bytes or booleans."""
AnyLabels: TypeAlias = int | str | Sequence[int | str | None] | Tensor | npt.NDArray[Any]
"""One label (a number, a name, or of 0 dimensions) or one label per image (a list, or of 1 dimension)."""


def no_context(inputs: Tensor) -> Context:
    """The context of `inputs` (batch, ...) for a network that sees none: (batch, 0)."""
    return inputs.flatten(1)[:, :0]  # a graph that is exported with it takes any batch size


def as_images(x: AnyImages, shape: Sequence[int], device: torch.device) -> Images:
    """`x` as a batch of images of `shape` on `device`, float32 in [0, 1], without a gradient.

    One image is a batch of one; bytes are divided by 255; booleans are 0 and 1. Raises UserError for any other dtype
    or shape, for no image at all, and for values outside [0, 1]. Values are not checked if both `x` and `device` are on
    a GPU, because reading them would stall its queue.
    """
    if not isinstance(x, Tensor | np.ndarray):
        refuse("a tensor or a numpy array", "images", type(x).__name__, "Convert them.")
    images = x.detach() if isinstance(x, Tensor) else _from_numpy(x)
    if images is None or not (images.is_floating_point() or images.dtype in (torch.uint8, torch.bool)):
        refuse("floats in [0, 1], uint8 or booleans", "images", str(x.dtype), "Convert them.")
    if images.shape == torch.Size(shape):
        images = images[None]
    if images.shape[1:] != torch.Size(shape) or not len(images):
        one = ", ".join(map(str, shape))
        refuse(f"the shape (batch, {one}) or ({one})", "images", tuple(x.shape), "Resize or reshape them.")
    images = images / 255 if images.dtype == torch.uint8 else images.float()
    moved = images.to(device)
    low, high = _extremes(images, moved) or (0, 1)
    if not 0 <= low <= high <= 1:  # false for nan too
        got = f"values from {low:g} to {high:g}"
        refuse("values in [0, 1]", "images", got, "Divide levels of 0 to 255 by 255, or pass them as uint8.")
    return moved


def as_labels(
    y: AnyLabels,
    num: int | None = None,
    num_classes: int | None = None,
    device: torch.device | None = None,
    unknown: bool = False,
) -> Labels:
    """`y` as a batch of labels (B,) on `device`, int64; one label stands for all `num` images.

    >>> as_labels(7, num=3)
    tensor([7, 7, 7])

    Raises UserError if `y` is neither one label nor `num` labels, or not in 0..num_classes-1; -1 is also allowed if a
    label may be `unknown`. Values are not checked if both `y` and `device` are on a GPU, because reading them would
    stall its queue.
    """
    labels = y if isinstance(y, Tensor) else _integers(y)
    if labels is None or labels.dtype == torch.bool or labels.is_floating_point() or labels.is_complex():
        got = str(y.dtype) if isinstance(y, Tensor | np.ndarray) else y
        refuse("an integer, a list or a 1-d tensor of integers", "labels", got, "Pass for example [2, 7, 9].")
    if labels.ndim > 1:
        got = f"shape {tuple(labels.shape)}"
        refuse("an integer, a list or a 1-d tensor of integers", "labels", got, "Pass for example [2, 7, 9].")
    labels = labels.long().reshape(-1)
    if num is not None and len(labels) != num:
        if len(labels) != 1:
            refuse(f"one label or {num} labels", "labels", f"{len(labels)} labels", "Pass one label per image.")
        labels = labels.expand(num)
    moved = labels.to(device)
    if num_classes is not None and (found := _extremes(labels, moved)):
        low, high = found
        if low < -unknown or high >= num_classes:
            refuse(f"labels in 0..{num_classes - 1}", "labels", low if low < 0 else high, "Leave that label out.")
    return moved


def _integers(y: object) -> Tensor | None:
    """`y` as a tensor if numpy reads it as integers; None for everything else."""
    try:
        array = np.asarray(y)
    except (TypeError, ValueError):  # a list of lists of different lengths, for example
        return None
    return _from_numpy(array) if array.dtype.kind in "iu" else None


def _from_numpy(array: npt.NDArray[Any]) -> Tensor | None:
    """A copy of the array, whatever its strides and byte order; None for a dtype that torch does not have."""
    try:
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))
    except TypeError:
        return None


def _extremes(given: Tensor, moved: Tensor) -> tuple[Any, Any] | None:
    """The smallest and the largest value, if one of the two copies is on the CPU and is not empty."""
    seen = given if given.device.type == "cpu" else moved
    if seen.device.type != "cpu" or not seen.numel():
        return None
    low, high = seen.aminmax()
    return low.item(), high.item()
