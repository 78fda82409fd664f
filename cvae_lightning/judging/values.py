"""The judge of numbers and flags: a network like the classifier, which reads from an image what it is labelled with."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cvae_lightning.core.conditions import Classes, Condition, Flags, Number
from cvae_lightning.core.shapes import Conditions
from cvae_lightning.data.splits import Split
from cvae_lightning.judging.classifier import Classifier, train_network


class Values(NamedTuple):
    """The numbers and flags of images: a number as its distance from the mean in standard deviations."""

    columns: tuple[Number | Flags, ...]
    targets: Tensor
    """(images, values) float32; a flag is 0 or 1, and an unknown value nan."""

    @classmethod
    def of(cls, condition: Condition | None, y: Conditions) -> "Values":
        """Those in the labels `y` of a data set; there are none if it has only classes."""
        columns = () if condition is None or condition.is_one_class else condition.columns
        parts = torch.split(y, [column.num_values for column in columns], 1) if columns else ()
        found = [
            (column, (values - column.mean) / column.std if isinstance(column, Number) else values)
            for column, values in zip(columns, parts, strict=True)
            if not isinstance(column, Classes)
        ]
        targets = [torch.zeros(len(y), 0, device=y.device), *(values for _, values in found)]
        return cls(tuple(column for column, _ in found), torch.cat(targets, 1))

    @property
    def is_flag(self) -> Tensor:
        """Whether each of the values is a flag, (values,)."""
        kinds = [isinstance(column, Flags) for column in self.columns for _ in range(column.num_values)]
        return torch.tensor(kinds, dtype=torch.bool, device=self.targets.device)


def fit_values(
    train: Split, epochs: int | None = None, seed: int = 0, device: torch.device | None = None
) -> Classifier:
    """Train a network that reads the numbers and flags of `train` from its images, see `Values`.

    The loss is the squared error of a number, and the cross-entropy of a flag, whose output is a logit. Unknown values
    are left out. Images are shown as they are: a rotation would change an angle, and a shift a position.
    """
    with torch.inference_mode(False):  # the caller may be in it, and autograd takes no tensors that are made there
        values = Values.of(train.condition, train.labels)
        targets, is_flag = values.targets, values.is_flag
    known = targets.isfinite().any(1).nonzero()[:, 0]

    def loss_of(outputs: Tensor, index: Tensor) -> Tensor:
        wanted = targets.index_select(0, index.to(targets.device)).to(outputs.device)
        there = wanted.isfinite()
        wanted = wanted.nan_to_num(0.0)
        of_flags = F.binary_cross_entropy_with_logits(outputs, wanted.clamp(0, 1), reduction="none")
        losses = torch.where(is_flag.to(outputs.device), of_flags, (outputs - wanted).square())
        return (losses * there).sum() / there.sum().clamp(min=1)

    return train_network(train.images, known, targets.shape[1], loss_of, None, epochs, seed, device)
