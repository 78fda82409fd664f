"""The classification accuracy score: a judge that is taught by samples, tested on real images."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import batches_of, numbers_of, untrained_model
from scipy.stats import binomtest

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.shapes import Conditions, Images
from cvae_lightning.data.digits import Digits
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators import cas
from cvae_lightning.evaluators.cas import ClassificationAccuracyScore
from cvae_lightning.evaluators.evaluator import NO_CLASSES, UNCONDITIONAL
from cvae_lightning.judging import store
from cvae_lightning.judging.classifier import fit

EPOCHS = 10  # of judges, which reach 99 % of these images by then


class Memory:
    """Draws a training image of the class that was asked for, or of the one after it."""

    condition = Condition.of_classes(10)
    num_classes = 10
    latent_dim = 1
    image_shape = (1, 28, 28)

    def __init__(self, train: Split, shift: int = 0) -> None:
        self.train, self.shift, self.num_drawn = train, shift, 0

    def sample(self, y: Conditions) -> Images:
        self.num_drawn += len(y)
        classes = (y + self.shift) % 10
        places = [(self.train.labels == label).nonzero()[:, 0] for label in range(10)]
        index = torch.stack([places[int(label)][torch.randint(len(places[int(label)]), ())] for label in classes])
        return self.train.images[index].float() / 255

    def reconstruct(self, x: Images, y: Conditions) -> Images:
        return x


@pytest.fixture(scope="module")
def digits() -> tuple[Split, Split]:
    return Digits().fit_splits()


def measure(evaluator: ClassificationAccuracyScore, model: Any, digits: tuple[Split, Split], split: str = "val") -> Any:
    train, val = digits
    batches = batches_of(val.images.float() / 255, val.labels, 500)
    return evaluator.measure(model, batches, train, split)


@pytest.fixture
def _quick_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cas, store):
        monkeypatch.setattr(module, "fit", functools.partial(fit, epochs=EPOCHS))


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_judges")
def test_samples_that_are_real_images_teach_what_real_images_teach(tmp_path: Path, digits: tuple[Split, Split]) -> None:
    train, val = digits
    measured = numbers_of(measure(ClassificationAccuracyScore(str(tmp_path), len(train.labels)), Memory(train), digits))
    intervals = [
        binomtest(round(measured[name] * len(val.labels)), len(val.labels)).proportion_ci(0.95, method="wilson")
        for name in ("cas", "cas_real")
    ]
    assert max(interval.low for interval in intervals) <= min(interval.high for interval in intervals)
    assert measured["cas_real"] > 0.95
    assert measured["num_samples_cas"] == len(train.labels)


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_judges")
def test_samples_of_other_classes_teach_these(tmp_path: Path, digits: tuple[Split, Split]) -> None:
    model = Memory(digits[0], shift=1)
    measured = numbers_of(measure(ClassificationAccuracyScore(str(tmp_path), 5000), model, digits))
    assert measured["cas"] < 0.05 < 0.9 < measured["cas_real"]


@pytest.mark.usefixtures("_quick_judges")
def test_the_judge_is_taught_once_for_both_splits(tmp_path: Path, digits: tuple[Split, Split]) -> None:
    few = digits[0]._replace(images=digits[0].images[::20], labels=digits[0].labels[::20]), digits[1]
    model = Memory(few[0])
    evaluator = ClassificationAccuracyScore(str(tmp_path), 300)
    first = measure(evaluator, model, few, "val")
    assert measure(evaluator, model, few, "test") == first, "it was given the same images"
    assert model.num_drawn == 300
    again = ClassificationAccuracyScore(str(tmp_path), 300)
    assert measure(again, Memory(few[0]), few, "test") == first, "the samples don't depend on the split"
    assert evaluator.names == tuple(first)


def test_there_is_a_reason_where_it_does_not_exist(tmp_path: Path, digits: tuple[Split, Split]) -> None:
    evaluator = ClassificationAccuracyScore(str(tmp_path), 300)
    train, val = digits
    assert set(measure(evaluator, untrained_model("data=digits", "model=vae"), digits).values()) == {UNCONDITIONAL}
    unlabelled = train._replace(labels=torch.full_like(train.labels, -1))
    assert set(measure(evaluator, Memory(train), (unlabelled, val)).values()) == {NO_CLASSES}
    assert set(measure(evaluator, Memory(train), (train, val._replace(labels=-1 * val.labels - 1))).values()) == {
        NO_CLASSES
    }
