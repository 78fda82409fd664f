"""How much a classifier learns from samples alone."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from weakref import ReferenceType, ref

import torch

from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Batch, Labels
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import NO_CLASSES, UNCONDITIONAL, Absent, Evaluator, Measured
from cvae_lightning.evaluators.sample_quality import ONE_CLASS
from cvae_lightning.evaluators.samples import CHUNK, classes_in, drawn, in_parts, labels_of, rounded
from cvae_lightning.judging.classifier import Classifier, fit, num_classes_in
from cvae_lightning.judging.store import judge_for
from cvae_lightning.models.protocols import Generative

log = logging.getLogger(__name__)


class ClassificationAccuracyScore(Evaluator):
    """`cas`: the accuracy on real images of a judge that was trained on samples alone (Ravuri & Vinyals 2019).

    There are `num_samples` samples, with the labels of random images of `train`. Whatever the model leaves out or gets
    wrong, such a judge cannot learn, so `cas` falls if classes are confused and also if they are less diverse than in
    the data. `cas_real` is the accuracy of the judge that was trained on `train` itself.
    """

    names = ("cas", "cas_real", "num_samples_cas")

    def __init__(self, folder: str, num_samples: int = 50_000, seed: int = 0) -> None:
        """Judges that do not come with the package are kept in `folder`; one that samples have taught is not kept."""
        super().__init__(seed)
        self.folder = Path(folder)
        self.num_samples = check_integer("evaluators.cas.num_samples", num_samples, 2, "50000 is the default.")
        self._taught: tuple[ReferenceType[Generative], Classifier] | None = None

    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        if num_classes_in(train) < 2:
            return dict.fromkeys(self.names, NO_CLASSES if not num_classes_in(train) else ONE_CLASS)
        if not model.num_classes:
            return dict.fromkeys(self.names, UNCONDITIONAL)
        y = labels_of(batches)
        classes = classes_in(train, y)
        if not (classes >= 0).any():
            return dict.fromkeys(self.names, NO_CLASSES)
        judges = {"cas": self._taught_by(model, train, y.device), "cas_real": judge_for(train, self.folder, y.device)}
        shares: Measured = {name: _accuracy(judge, batches, classes) for name, judge in judges.items()}
        return {**shares, "num_samples_cas": self.num_samples}

    def _taught_by(self, model: Generative, train: Split, device: torch.device) -> Classifier:
        """The judge that was trained on samples of `model`: once for all splits."""
        if self._taught is None or self._taught[0]() is not model:
            log.info("A judge is being trained on %d samples ...", self.num_samples)
            start = time.perf_counter()
            with random_stream(self.seed):
                index = torch.randint(len(train.labels), (self.num_samples,)).to(train.labels.device)
                y = train.labels[index]
                samples = torch.cat(list(drawn(model, y.to(device))))
            taught = fit(Split(samples, y.to(device), train.condition), seed=self.seed, device=device)
            log.info("... done in %.0f s.", time.perf_counter() - start)
            self._taught = ref(model), taught
        return self._taught[1]


def _accuracy(judge: Classifier, batches: Iterable[Batch], classes: Labels) -> float | Absent:
    """The share of the images of known class that the judge reads right."""
    read = judge.classes_of(judge.features_of(rounded(x) for x, _ in in_parts(batches, CHUNK)))
    return float((read == classes)[classes >= 0].double().mean())
