"""Every evaluator on data of any kind: a finite number or a reason for each of its metrics, at a bounded cost."""

import functools
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import MakeRun, batches_of, metrics_of_a_run
from torch import Tensor

from cvae_lightning.core import capacity
from cvae_lightning.core.capacity import images_at_once
from cvae_lightning.core.conditions import Classes, Condition, Flags, Number
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators import pca, sample_quality
from cvae_lightning.evaluators.conditions import ConditionQuality
from cvae_lightning.evaluators.evaluator import Absent, Evaluator
from cvae_lightning.evaluators.grader import Grader
from cvae_lightning.evaluators.gradients import GradientVariance
from cvae_lightning.evaluators.inception import Inception
from cvae_lightning.evaluators.latents import LatentSpace
from cvae_lightning.evaluators.likelihood import ImportanceWeighting
from cvae_lightning.evaluators.pca import PCA, principal_components
from cvae_lightning.evaluators.sample_quality import SampleQuality, accuracy, real_accuracy
from cvae_lightning.evaluators.samples import chosen, compared, in_parts, of_classes, taken, with_labels
from cvae_lightning.judging import store
from cvae_lightning.judging.classifier import Classifier, epochs_for, fit, shrunk
from cvae_lightning.judging.values import fit_values
from cvae_lightning.metrics.catalog import doubt_of_judge
from cvae_lightning.metrics.distances import frechet_distance
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.likelihoods import Gaussian
from cvae_lightning.models.optimizers import adam
from cvae_lightning.models.vae import VAE
from cvae_lightning.networks.mlp import MLP
from cvae_lightning.runs.model_card import model_card
from cvae_lightning.runs.summary import summary

NUMBER = Number("angle", mean=2.0, std=3.0, low=-5.0, high=9.0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "fit", functools.partial(fit, epochs=1))
    monkeypatch.setattr(store, "fit_values", functools.partial(fit_values, epochs=1))
    monkeypatch.setattr(store, "_in_use", {})
    monkeypatch.setattr(sample_quality, "SAMPLES_PER_CLASS", 4)


def split_of(condition: Condition, channels: int, height: int, width: int, num: int = 83) -> Split:
    images = torch.randint(256, (num, channels, height, width), dtype=torch.uint8)
    y = condition.spread(num)
    return Split(images, condition.hidden(y, 0.1) if condition.may_be_unknown else y, condition)


def model_of(condition: Condition, split: Split) -> VAE:
    named: Any = {"image_shape": tuple(split.images.shape[1:]), "latent_dim": 2}
    network, likelihood, optimizer = MLP([8]), Gaussian(), adam(lr=0.01)
    if not condition:
        return VAE(network, likelihood, optimizer, **named).eval()
    return CVAE(network, likelihood, optimizer, condition=condition, **named).eval()


def evaluators(folder: Path) -> list[Evaluator]:
    return [
        Grader(samples_per_class=3),
        SampleQuality(str(folder), num_samples=20),
        ConditionQuality(str(folder), num_samples=20),
        ImportanceWeighting(num_samples=3),
        LatentSpace(),
        PCA(),
        Inception(),
        GradientVariance(num_images=8, num_draws=2),
    ]


def measured(evaluator: Evaluator, model: Any, val: Split, train: Split, size: int = 30) -> dict[str, float | Absent]:
    with torch.inference_mode():
        return evaluator.measure(model, batches_of(val.images / 255, val.labels, size), train, "val")


CONDITIONS = {
    "unlabelled": Condition(),
    "one class": Condition.of_classes(1),
    "two classes": Condition.of_classes(2),
    "40 classes, some unknown": Condition.of_classes(40).with_unknown(),
    "a class and a number": Condition((Classes("kind", ("a", "b", "c")), NUMBER)),
    "a number, some unknown": Condition((NUMBER,)).with_unknown(),
    "flags and a number": Condition((Flags("tags", ("x", "y")), NUMBER)).with_unknown(),
}


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (28, 28), (33, 20)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CONDITIONS)
def test_every_metric_is_a_finite_number_or_has_a_reason(
    name: str, channels: int, size: tuple[int, int], tmp_path: Path
) -> None:
    condition = CONDITIONS[name]
    train, val = split_of(condition, channels, *size), split_of(condition, channels, *size, num=205)
    for model in (model_of(condition, train), model_of(Condition(), train)):
        numbers: dict[str, float | Absent] = {}
        for evaluator in evaluators(tmp_path):
            found = measured(evaluator, model, val, train)
            assert found.keys() == set(evaluator.names)
            numbers |= found
        for metric, value in numbers.items():
            assert isinstance(value, Absent) or math.isfinite(value), metric
            assert value != Absent("it was not measured"), metric
        assert not isinstance(numbers["mse"], Absent)
        assert isinstance(numbers["ssim"], Absent) == (min(size) < 7)
        assert isinstance(numbers["accuracy_real"], Absent) == (condition.num_classes < 2)
        assert isinstance(numbers["fid_pixel"], Absent) == (not model.num_classes)
        assert isinstance(numbers["condition_error_real"], Absent) == ("number" not in name)
        assert isinstance(numbers["condition_error"], Absent) == ("number" not in name or not model.condition)
        paper = (channels, *size) == (1, 28, 28) and (model.num_classes or not model.condition)
        assert isinstance(numbers["score"], Absent) == (not paper)


def test_a_batch_of_any_size_gives_the_same_numbers(tmp_path: Path) -> None:
    condition = CONDITIONS["a class and a number"]
    train, val = split_of(condition, 3, 12, 10), split_of(condition, 3, 12, 10, num=45)
    model = model_of(condition, train)
    for evaluator in evaluators(tmp_path)[:-1]:
        if not isinstance(evaluator, Grader):  # which sums as torchmetrics does
            first = measured(evaluator, model, val, train, size=45)
            for size in (1, 7):
                again = measured(evaluator, model, val, train, size)
                assert again.keys() == first.keys()
                for name, value in first.items():
                    exact = isinstance(value, Absent)
                    assert again[name] == (value if exact else pytest.approx(value, rel=1e-4, abs=1e-6)), name


def test_images_of_unknown_class_play_no_part_in_the_judge() -> None:
    split = split_of(Condition.of_classes(3), 1, 8, 8)
    some_unknown = Split(
        torch.cat([split.images, torch.zeros_like(split.images[:7])]),
        torch.cat([split.labels, torch.full((7,), -1)]),
        Condition.of_classes(3).with_unknown(),
    )
    first, second = (fit(part, epochs=2) for part in (split, some_unknown))
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 34, 34), (1, 4, 130)], ids=str)
def test_the_judge_learns_images_of_any_shape(shape: tuple[int, int, int]) -> None:
    """Two classes, which differ in hue, or in grey images in the half that is bright."""
    labels = torch.arange(100) % 2
    images = torch.randint(40, (100, *shape), dtype=torch.uint8)
    for label in (0, 1):
        if shape[0] == 3:
            images[labels == label, 2 * label] += 200
        else:
            images[labels == label, :, :, 65 * label : 65 * label + 65] += 200
    judge = fit(Split(images, labels), epochs=40 if max(shape) > 3 else 150)
    assert (judge.read(images)[1] == labels).double().mean() > 0.95


def test_the_cost_of_the_judge_is_bounded() -> None:
    assert [max(shrunk(torch.rand(1, 1, size, 20)).shape[2:]) for size in (28, 64, 65, 256, 1000)] == [
        28,
        64,
        33,
        64,
        63,
    ]
    assert epochs_for(50_000) == 20, "as the judges that come with the package"
    assert epochs_for(1_000_000) == 2
    assert epochs_for(60) == 500
    assert all(epochs_for(num) * math.ceil(num / 256) >= 500 for num in (1, 300, 3000, 10**7))


def test_a_judge_of_large_images_is_read_back_as_it_was(tmp_path: Path) -> None:
    train = split_of(Condition.of_classes(2), 3, 40, 40)
    judge = store.judge_for(train, tmp_path)
    store._in_use.clear()
    again = store.judge_for(train, tmp_path)
    assert again.stride == judge.stride == 4
    assert torch.equal(judge.read(train.images)[0], again.read(train.images)[0])


def test_accuracy_takes_a_bounded_number_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_quality, "SAMPLES_PER_CLASS", 1000)
    judge = Classifier(1, 200).fold()
    for num_classes, expected in ((2, 2000), (10, 10_000), (20, 20_000), (30, 19_980), (200, 20_000)):
        condition = Condition.of_classes(num_classes)
        train = split_of(condition, 1, 2, 2)
        numbers = accuracy(judge, model_of(condition, train), train, torch.device("cpu"))
        assert numbers["num_samples_accuracy"] == expected


def test_every_number_says_how_many_images_it_rests_on(tmp_path: Path) -> None:
    condition = Condition.of_classes(3).with_unknown()
    train, val = split_of(condition, 1, 8, 8, num=20), split_of(condition, 1, 8, 8, num=50)
    train.labels[train.labels == 1] = 0
    train.labels[:3] = 1
    numbers = measured(SampleQuality(str(tmp_path), num_samples=50), model_of(condition, train), val, train)
    assert numbers["num_samples"] == 20
    assert numbers["num_images_accuracy_real"] == int((val.labels >= 0).sum()) < 50
    floor = numbers["num_images_floor"]
    assert not isinstance(floor, Absent)
    assert 3 <= floor < 20, "of class 1 there are three"


def test_other_columns_are_those_of_training_images_of_the_class() -> None:
    condition = Condition((Classes("kind", ("a", "b", "c")), NUMBER))
    labels = torch.tensor([[0, 5.0], [1, 6.0], [1, 7.0]])
    train = Split(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), labels, condition)
    y = of_classes(train, torch.tensor([1] * 20 + [0, 2]))
    assert set(y[:20, 1].tolist()) == {6.0, 7.0}
    assert y[20:].tolist() == [[0.0, 5.0], [2.0, NUMBER.mean]], "class c has no image: the typical number"


def test_floors_take_unknown_classes_as_one_more() -> None:
    condition = Condition.of_classes(2).with_unknown()
    train = Split(torch.zeros(30, 1, 1, 1, dtype=torch.uint8), torch.arange(30) % 3 - 1, condition)
    for index in with_labels(train, torch.tensor([-1, 0, 0, -1, 1]), most_draws=5):
        assert train.labels[index].tolist() == [0, 0, 1, -1, -1]


@pytest.mark.parametrize("size", [1, 4, 50])
def test_images_are_found_by_their_numbers_whatever_the_batches(size: int) -> None:
    x, y = torch.arange(23.0).reshape(23, 1, 1, 1), torch.arange(23)
    batches = batches_of(x, y, size)
    index = torch.tensor([22, 0, 7, 5, 21])
    assert taken(batches, index)[1].tolist() == index.tolist()
    assert taken(batches, index)[0].flatten().tolist() == index.tolist()
    assert torch.cat([labels for _, labels in chosen(batches, index.sort().values)]).tolist() == [0, 5, 7, 21, 22]
    parts = list(in_parts(batches, 5))
    assert [len(images) for images, _ in parts] == [5, 5, 5, 5, 3]
    assert torch.cat([labels for _, labels in parts]).tolist() == y.tolist()


def test_a_weak_judge_is_announced_everywhere(caplog: pytest.LogCaptureFixture, make_run: MakeRun) -> None:
    labels = torch.arange(100) % 4
    with caplog.at_level(logging.WARNING):
        real_accuracy(labels, labels)
        assert not caplog.text
        real_accuracy(torch.where(torch.arange(100) < 15, 9, labels), labels)
    assert "The judge reads only 85.0% of the real images right" in caplog.text
    metrics = metrics_of_a_run(val={"accuracy_real": 0.85}, test={"accuracy_real": 0.95})
    card = model_card(metrics, make_run("run").config)
    for text in (summary(metrics), card):
        assert "only 85.0% of the real images right" in text
    assert doubt_of_judge({"accuracy_real": 0.9}) is None
    assert doubt_of_judge({"accuracy_real": None}) is None
    assert doubt_of_judge({}) is None


def test_features_that_are_not_finite_are_compared_with_nothing() -> None:
    broken = torch.full((9, 3), float("nan"))
    assert compared(frechet_distance, torch.rand(9, 3), broken) == Absent("some features are not finite")


def low_rank(num: int, *shape: int) -> Tensor:
    """Images that vary in 6 directions, and a little in all."""
    directions = torch.randn(6, math.prod(shape)) * torch.arange(6, 0, -1)[:, None]
    images = 128 + 12 * torch.randn(num, 6) @ directions + 4 * torch.randn(num, math.prod(shape))
    return images.clamp(0, 255).byte().reshape(num, *shape)


def test_the_randomised_components_are_nearly_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(low_rank(400, 3, 12, 10), torch.zeros(400, dtype=torch.long))
    exact = principal_components(split, 5)
    monkeypatch.setattr(pca, "EXACT", 100)
    mean, components = principal_components(split, 5)
    torch.testing.assert_close(mean, exact[0])
    overlaps = torch.linalg.svdvals(components.T @ exact[1])
    assert overlaps.min() > 0.99, "the same space"
    torch.testing.assert_close(components.T @ components, torch.eye(5, dtype=torch.float64))


def test_a_part_of_many_large_images_gives_nearly_the_same_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Split(low_rank(2000, 1, 12, 10), torch.zeros(2000, dtype=torch.long))
    model = model_of(Condition(), train)
    exact = measured(PCA(), model, train, train)["mse_pca"]
    monkeypatch.setattr(pca, "EXACT", 100)
    monkeypatch.setattr(pca, "TRAIN_PIXELS", 600 * 120)
    part = measured(PCA(), model, train, train)["mse_pca"]
    assert not isinstance(exact, Absent)
    assert not isinstance(part, Absent)
    assert exact * 0.999 < part < exact * 1.03


def test_fid_pixel_of_too_many_classes_is_absent_before_its_sums_are_made(tmp_path: Path) -> None:
    condition = Condition.of_classes(500_000)
    train = split_of(Condition.of_classes(2), 1, 28, 28)
    many: Any = model_of(Condition.of_classes(2), train)
    many.condition = condition
    many.reconstruct = lambda x, y: x
    numbers = measured(Grader(samples_per_class=1), many, train, train)
    assert numbers["fid_pixel"] == Absent("the sums of 500,000 classes need 25.1 GB")


def test_large_images_are_processed_fewer_at_a_time() -> None:
    assert images_at_once((1, 28, 28), 4000) == 4000
    assert images_at_once((3, 64, 64), 1000) == 1000
    assert images_at_once((3, 256, 256), 1000) == capacity.VALUES_AT_ONCE // (3 * 256**2) == 85
    assert images_at_once((3, 10_000, 10_000), 1000) == 1
