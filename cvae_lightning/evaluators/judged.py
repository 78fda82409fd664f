"""Whether samples look like the data, and like the label that was asked for, to a judge."""

import statistics
from collections.abc import Iterable
from pathlib import Path

import torch

from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.shapes import Batch, Features
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import (
    UNCONDITIONAL,
    Absent,
    Evaluator,
    Measured,
    classes_without_images,
    no_images_of,
)
from cvae_lightning.evaluators.samples import compared, drawn, some, whole, with_labels
from cvae_lightning.judging.classifier import Classifier
from cvae_lightning.judging.store import judge_for
from cvae_lightning.metrics.distances import NEIGHBOURS, frechet_distance, kernel_distance, precision_and_recall
from cvae_lightning.metrics.proportion import wilson_interval
from cvae_lightning.models.protocols import Generative

DISTANCES = ("fid_judge", "kid_judge", "precision", "recall")
ACCURACIES = ("accuracy", "accuracy_low", "accuracy_high", "accuracy_worst_class")
SAMPLES_PER_CLASS = 1000
FLOOR_DRAWS = 5


class Judged(Evaluator):
    """Distances of samples from a split in a judge's features, and the share that it reads as what was asked for.

    The judge is fitted to `train` alone. `num_samples` samples, fewer where split or train have fewer images, are
    compared with as many images of the split, whose labels they have. Beside each distance stands `<name>_floor`, that
    of as many images of `train` with these labels too, since chance in the proportions of classes would be most of it;
    for `fid_judge` it is the mean over up to five such draws that share no image. `accuracy` is over 1,000 samples a
    class, with its 95 % interval; it exists for a conditional model and a train split with images of every class.
    `accuracy_real` is the judge's on the split itself. All on 8-bit images.
    """

    names = (
        *(f"{name}{suffix}" for name in DISTANCES for suffix in ("", "_floor")),
        "num_samples",
        *ACCURACIES,
        "accuracy_real",
    )

    def __init__(self, folder: str, num_samples: int = 10_000, seed: int = 0) -> None:
        """`folder` keeps judges that don't come with the package."""
        super().__init__(seed)
        self.folder = Path(folder)
        self.num_samples = check_integer("evaluators.judged.num_samples", num_samples, 10, "10000 is usual.")

    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        judge = judge_for(*train, self.folder)
        split = whole(batches)
        num_samples = min(self.num_samples, len(split.labels), len(train.labels))
        chosen = some(split, num_samples)
        labels = split.labels[chosen]
        features, read = judge.read(split.images)
        real = features[chosen]
        numbers = distances(real, judge.read(drawn(model, labels))[0])
        others = [judge.read(images)[0] for images in with_labels(train, labels, FLOOR_DRAWS)]
        floors = distances(real, others[0])
        if not isinstance(floors["fid_judge"], Absent):  # all draws have as many images
            floors["fid_judge"] = statistics.fmean(frechet_distance(real, other) for other in others)
        numbers |= {f"{name}_floor": value for name, value in floors.items()}
        right = (read == split.labels).double().mean()
        numbers |= {"num_samples": num_samples, "accuracy_real": float(right)}
        if not model.num_classes:
            return numbers | dict.fromkeys(ACCURACIES, UNCONDITIONAL)
        if missing := classes_without_images(train.labels, model.num_classes):
            return numbers | dict.fromkeys(ACCURACIES, no_images_of(missing, "train"))
        return numbers | accuracy(judge, model, labels.device)


def distances(real: Features, fake: Features) -> Measured:
    """Each of `DISTANCES`, where there are enough images on both sides."""
    both = compared(precision_and_recall, real, fake, NEIGHBOURS + 1)
    precision, recall = (both, both) if isinstance(both, Absent) else both
    return {
        "fid_judge": compared(frechet_distance, real, fake),
        "kid_judge": compared(kernel_distance, real, fake),
        "precision": precision,
        "recall": recall,
    }


def accuracy(judge: Classifier, model: Generative, device: torch.device) -> Measured:
    """Of the samples of each class, how many the judge takes for it."""
    labels = torch.arange(model.num_classes, device=device).repeat_interleave(SAMPLES_PER_CLASS)
    read = judge.read(drawn(model, labels))[1]
    right = (read == labels).unflatten(0, (model.num_classes, SAMPLES_PER_CLASS)).sum(1)
    low, high = wilson_interval(int(right.sum()), len(labels))
    return {
        "accuracy": int(right.sum()) / len(labels),
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_worst_class": int(right.min()) / SAMPLES_PER_CLASS,
    }
