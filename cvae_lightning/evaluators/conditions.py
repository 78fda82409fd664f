"""How well samples have the numbers and flags that were asked for, according to a network that reads them."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from cvae_lightning.core.conditions import Number
from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.shapes import Batch, ByteImages
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import Absent, Evaluator, Measured
from cvae_lightning.evaluators.samples import CHUNK, chosen, drawn, in_parts, labels_of, rounded, some
from cvae_lightning.judging.classifier import Classifier
from cvae_lightning.judging.store import reader_for
from cvae_lightning.judging.values import Values
from cvae_lightning.models.protocols import Generative

ERRORS = ("condition_error", "condition_error_sd")
FLAGS = "flag_accuracy"
NO_VALUES = Absent("the images are labelled with neither numbers nor flags")


class ConditionQuality(Evaluator):
    """How far the numbers of samples are from those that were asked for, and how often flags are right.

    A network like the judge is fitted to the numbers and flags of `train` alone, without distortions, which would
    change what it reads. It reads them from `num_samples` samples, or fewer if the split has fewer images, that are
    asked for with the labels of as many images of the split.

    `condition_error` is the mean absolute error of the first column of numbers, in its unit. `condition_error_sd` is
    the mean over all columns of numbers, each in standard deviations of `train`. `flag_accuracy` is the share of all
    flags that are read as asked for. Each has a `<name>_real`, its value for these images of the split themselves: the
    error of the network, below which no model can be measured.
    """

    names = (
        *(f"{name}{suffix}" for name in (*ERRORS, FLAGS) for suffix in ("", "_real")),
        "num_samples_condition",
    )

    def __init__(self, folder: str, num_samples: int = 10_000, seed: int = 0) -> None:
        """Networks that were fitted are kept in `folder`, beside the judges."""
        super().__init__(seed)
        self.folder = Path(folder)
        self.num_samples = check_integer("evaluators.conditions.num_samples", num_samples, 1, "10000 is usual.")

    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        fitted_to = Values.of(train.condition, train.labels)
        if not fitted_to.columns:
            return dict.fromkeys(self.names, NO_VALUES)
        if not fitted_to.targets.isfinite().any():
            return dict.fromkeys(self.names, Absent("no number and no flag is known in train"))
        y = labels_of(batches)
        index = some(len(y), self.num_samples).sort().values
        y = y[index.to(y.device)]
        reader = reader_for(train, self.folder, y.device)
        asked = Values.of(train.condition, y)
        real = _compared(asked, read(reader, (rounded(x) for x, _ in in_parts(chosen(batches, index), CHUNK))))
        numbers: Measured = {f"{name}_real": value for name, value in real.items()}
        numbers["num_samples_condition"] = len(y)
        if not {column.name for column in asked.columns} & {column.name for column in model.condition.columns}:
            unasked = Absent("the model is conditioned on neither numbers nor flags")
            return {**dict.fromkeys((*ERRORS, FLAGS), unasked), **numbers}
        return {**_compared(asked, read(reader, drawn(model, y))), **numbers}


@torch.no_grad()
def read(reader: Classifier, parts: Iterable[ByteImages]) -> Tensor:
    """What the network reads from images, (images, values), in the form of `Values`; a flag as a logit."""
    return reader.head(reader.features_of(parts))


def _compared(asked: Values, found: Tensor) -> Measured:
    """Each of `ERRORS` and the accuracy of flags, over all values that are known."""
    known = asked.targets.isfinite()
    errors = (found - asked.targets).abs().double()
    flags = (found > 0) == (asked.targets > 0.5)
    numbers = ~asked.is_flag
    measured: Measured = dict.fromkeys(ERRORS, Absent("the images are labelled with no number"))
    if numbers.any():
        by_column = [_mean(errors[:, place], known[:, place]) for place in numbers.nonzero()[:, 0].tolist()]
        scales = [column.std for column in asked.columns if isinstance(column, Number)]
        first = by_column[0]
        there = [error for error in by_column if not isinstance(error, Absent)]
        measured["condition_error"] = first if isinstance(first, Absent) else first * scales[0]
        measured["condition_error_sd"] = sum(there) / len(there) if there else first
    measured[FLAGS] = Absent("the images are labelled with no flag")
    if asked.is_flag.any():
        measured[FLAGS] = _mean(flags[:, asked.is_flag].double(), known[:, asked.is_flag])
    return measured


def _mean(values: Tensor, known: Tensor) -> float | Absent:
    """The mean of the values that are known, or a reason if none is."""
    return float(values[known].mean()) if known.any() else Absent("it is unknown for every image of this split")
