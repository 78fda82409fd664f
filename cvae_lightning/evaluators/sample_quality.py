"""How close samples are to the data, and how often they show the requested class, according to a judge."""

import statistics
from collections.abc import Iterable
from pathlib import Path

import torch
from scipy.stats import binomtest

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
from cvae_lightning.models.protocols import Generative

DISTANCES = ("fid_judge", "kid_judge", "precision", "recall")
ACCURACIES = ("accuracy", "accuracy_low", "accuracy_high", "accuracy_worst_class")
SAMPLES_PER_CLASS = 1000
FLOOR_DRAWS = 5


class SampleQuality(Evaluator):
    """Distances between samples and a split in the features of a judge, and the judge's accuracy on samples.

    The judge is fitted to `train` alone, and sees 8-bit images. `num_samples` samples, or fewer if the split or `train`
    has fewer images, are compared with as many images of the split; the samples have the labels of these images.

    Each distance has a `<name>_floor`: the distance of as many images of `train`. They have the same labels too, since
    otherwise differences in class proportions would dominate it. The floor of `fid_judge` is the mean over up to five
    draws that share no image.

    `accuracy` is the share of 1,000 samples per class that the judge assigns to the requested class, with its 95 %
    confidence interval (Wilson 1927). It exists for a conditional model if `train` has images of every class.
    `accuracy_real` is the accuracy of the judge on the split itself.
    """

    stream = "Judged"  # the earlier name of this class; another name would change the draws, and every number

    names = (
        *(f"{name}{suffix}" for name in DISTANCES for suffix in ("", "_floor")),
        "num_samples",
        *ACCURACIES,
        "accuracy_real",
    )

    def __init__(self, folder: str, num_samples: int = 10_000, seed: int = 0) -> None:
        """Judges that do not come with the package are kept in `folder`."""
        super().__init__(seed)
        self.folder = Path(folder)
        self.num_samples = check_integer("evaluators.judged.num_samples", num_samples, 10, "10000 is usual.")

    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        judge = judge_for(train, self.folder)
        split = whole(batches)
        num_samples = min(self.num_samples, len(split.labels), len(train.labels))
        chosen = some(split, num_samples)
        labels = split.labels[chosen]
        features, read = judge.read(split.images)
        real = features[chosen]
        numbers = distances(real, judge.read(drawn(model, labels))[0])
        others = [judge.read(images)[0] for images in with_labels(train, labels, FLOOR_DRAWS)]
        floors = distances(real, others[0])
        if not isinstance(floors["fid_judge"], Absent):  # all draws have the same number of images
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
    """Each of `DISTANCES`, or the reason why there are too few images for it."""
    both = compared(precision_and_recall, real, fake, NEIGHBOURS + 1)
    precision, recall = (both, both) if isinstance(both, Absent) else both
    return {
        "fid_judge": compared(frechet_distance, real, fake),
        "kid_judge": compared(kernel_distance, real, fake),
        "precision": precision,
        "recall": recall,
    }


def accuracy(judge: Classifier, model: Generative, device: torch.device) -> Measured:
    """Each of `ACCURACIES`: shares of new samples that the judge assigns to the requested class."""
    labels = torch.arange(model.num_classes, device=device).repeat_interleave(SAMPLES_PER_CLASS)
    read = judge.read(drawn(model, labels))[1]
    right = (read == labels).unflatten(0, (model.num_classes, SAMPLES_PER_CLASS)).sum(1)
    overall = binomtest(int(right.sum()), len(labels))
    interval = overall.proportion_ci(confidence_level=0.95, method="wilson")
    return {
        "accuracy": int(right.sum()) / len(labels),
        "accuracy_low": float(interval.low),
        "accuracy_high": float(interval.high),
        "accuracy_worst_class": int(right.min()) / SAMPLES_PER_CLASS,
    }
