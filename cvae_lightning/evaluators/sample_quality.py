"""How close samples are to the data, and how often they show the requested class, according to a judge."""

import logging
import statistics
from collections.abc import Iterable
from pathlib import Path

import torch

from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.shapes import Batch, Conditions, Features, Labels
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import (
    NO_CLASSES,
    UNCONDITIONAL,
    Absent,
    Evaluator,
    Measured,
    classes_without_images,
    no_images_of,
)
from cvae_lightning.evaluators.real_features import split_features, train_features
from cvae_lightning.evaluators.samples import (
    classes_in,
    compared,
    drawn,
    labels_of,
    of_classes,
    some,
    with_labels,
)
from cvae_lightning.judging.classifier import Classifier, num_classes_in
from cvae_lightning.judging.store import judge_for
from cvae_lightning.metrics.catalog import doubt_of_judge
from cvae_lightning.metrics.distances import NEIGHBOURS, frechet_distance, kernel_distance, precision_and_recall
from cvae_lightning.models.protocols import Generative

log = logging.getLogger(__name__)

DISTANCES = ("fid_judge", "kid_judge", "precision", "recall")
ACCURACIES = ("accuracy", "accuracy_low", "accuracy_high", "accuracy_worst_class", "num_samples_accuracy")
SAMPLES_PER_CLASS, MOST_SAMPLES = 1000, 20_000  # of `accuracy`
FLOOR_DRAWS = 5
ONE_CLASS = Absent("the images of train are of one class, and a judge tells classes apart")


class SampleQuality(Evaluator):
    """Distances between samples and a split in the features of a judge, and the judge's accuracy on samples.

    The judge is fitted to the images of known class of `train` alone, and sees 8-bit images. `num_samples` samples, or
    fewer if the split or `train` has fewer images, are compared with as many images of the split; the samples have the
    labels of these images. None of the numbers exists for images without classes, or if `train` has only one.

    Each distance has a `<name>_floor`: the distance of as many images of `train`. They have the same classes too, since
    otherwise differences in class proportions would dominate it; if `train` has too few images of a class, there are
    fewer, see `num_images_floor`. The floor of `fid_judge` is the mean over up to five draws that share no image.

    `accuracy` is the share of 1,000 samples per class, and of at most 20,000 in all, that the judge assigns to the
    requested class, with its 95 % confidence interval (Wilson 1927). It exists for a model that is conditioned on a
    class if `train` has images of every class. Other columns of the condition are those of training images of the
    class. `accuracy_real` is the accuracy of the judge on the images of known class of the split itself; if it is low,
    the log says that the judge is too weak to judge samples.
    """

    stream = "Judged"  # the earlier name of this class; another name would change the draws, and every number

    names = (
        *(f"{name}{suffix}" for name in DISTANCES for suffix in ("", "_floor")),
        "num_samples",
        "num_images_floor",
        *ACCURACIES,
        "accuracy_real",
        "num_images_accuracy_real",
    )

    def __init__(self, folder: str, num_samples: int = 10_000, seed: int = 0) -> None:
        """Judges that do not come with the package are kept in `folder`."""
        super().__init__(seed)
        self.folder = Path(folder)
        self.num_samples = check_integer("evaluators.judged.num_samples", num_samples, 10, "10000 is usual.")

    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        if num_classes_in(train) < 2:
            return dict.fromkeys(self.names, NO_CLASSES if not num_classes_in(train) else ONE_CLASS)
        y = labels_of(batches)
        judge = judge_for(train, self.folder, y.device)
        features = split_features(judge, batches, len(y), self.folder)
        num_samples = min(self.num_samples, len(y), len(train.labels))
        index = some(len(y), num_samples).to(y.device)
        real = features[index]
        numbers = distances(real, judge.features_of(drawn(model, y[index])))
        floors, num_images = self._floors(judge, real, y[index], train)
        counts = {"num_samples": num_samples, "num_images_floor": num_images}
        return {
            **numbers,
            **floors,
            **counts,
            **real_accuracy(judge.classes_of(features), classes_in(train, y)),
            **_accuracy(judge, model, train, y.device),
        }

    def _floors(self, judge: Classifier, real: Features, y: Conditions, train: Split) -> tuple[Measured, int]:
        """The distances of images of `train` with the classes of `y`, and the number of these images."""
        draws = with_labels(train, y, FLOOR_DRAWS)
        others = train_features(judge, train, torch.cat(draws), self.folder).split([len(draw) for draw in draws])
        floors = distances(real, others[0])
        if not isinstance(floors["fid_judge"], Absent):  # all draws have the same number of images
            floors["fid_judge"] = statistics.fmean(frechet_distance(real, other) for other in others)
        return {f"{name}_floor": value for name, value in floors.items()}, len(others[0])


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


def real_accuracy(read: Labels, classes: Labels) -> Measured:
    """The share of the images of known class that the judge reads right, and their number. Warns if it is low."""
    known = classes >= 0
    if not known.any():
        return dict.fromkeys(("accuracy_real", "num_images_accuracy_real"), NO_CLASSES)
    numbers: dict[str, float] = {
        "accuracy_real": float((read == classes)[known].double().mean()),
        "num_images_accuracy_real": int(known.sum()),
    }
    if doubt := doubt_of_judge(numbers):
        log.warning("%s", doubt)
    return dict(numbers)


def _accuracy(judge: Classifier, model: Generative, train: Split, device: torch.device) -> Measured:
    """Each of `ACCURACIES`, or the reason why it does not exist."""
    if not model.num_classes:
        return dict.fromkeys(ACCURACIES, UNCONDITIONAL)
    if missing := classes_without_images(train.classes, model.num_classes):
        return dict.fromkeys(ACCURACIES, no_images_of(missing, "train"))
    return accuracy(judge, model, train, device)


def accuracy(judge: Classifier, model: Generative, train: Split, device: torch.device) -> Measured:
    """Each of `ACCURACIES`: shares of new samples that the judge assigns to the requested class."""
    from scipy.stats import binomtest  # takes a third of a second to import

    per_class = max(1, min(SAMPLES_PER_CLASS, MOST_SAMPLES // model.num_classes))
    classes = torch.arange(model.num_classes, device=device).repeat_interleave(per_class)
    read = judge.classes_of(judge.features_of(drawn(model, of_classes(train, classes))))
    right = (read == classes).unflatten(0, (model.num_classes, per_class)).sum(1)
    overall = binomtest(int(right.sum()), len(classes))
    interval = overall.proportion_ci(confidence_level=0.95, method="wilson")
    return {
        "accuracy": int(right.sum()) / len(classes),
        "accuracy_low": float(interval.low),
        "accuracy_high": float(interval.high),
        "accuracy_worst_class": int(right.min()) / per_class,
        "num_samples_accuracy": len(classes),
    }
