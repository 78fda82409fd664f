"""What evaluators keep of real images from val to test, from run to run, and from command to command."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cvae_lightning.core.shapes import Batch
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators import pca, real_features
from cvae_lightning.evaluators.pca import PCA, principal_components
from cvae_lightning.evaluators.real_features import COMPARED, split_features, train_features
from cvae_lightning.judging.classifier import Classifier

NUM = 230


@pytest.fixture
def train() -> Split:
    return Split(torch.randint(256, (NUM, 1, 28, 28), dtype=torch.uint8), torch.arange(NUM) % 10)


@pytest.fixture
def judge() -> Classifier:
    return Classifier().fold()


def features_of_train(judge: Classifier, train: Split, index: Tensor, folder: Path) -> Tensor:
    """As a process would that has kept nothing."""
    real_features._kept.clear()
    return train_features(judge, train, index, folder)


def batches_of(split: Split, size: int = 70) -> list[Batch]:
    return list(zip((split.images.float() / 255).split(size), split.labels.split(size), strict=True))


@pytest.mark.parametrize("most_kept", [NUM, NUM - 1])
@pytest.mark.parametrize("fewest_stored", [NUM, NUM + 1])
def test_they_are_the_judges_features_in_any_order(
    train: Split, judge: Classifier, most_kept: int, fewest_stored: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_features, "MOST_KEPT", most_kept)
    monkeypatch.setattr(real_features, "FEWEST_STORED", fewest_stored)
    whole = judge.features_of([train.images])
    for first in (train_features, features_of_train):
        for _ in range(3):
            index = torch.randint(NUM, (80,))
            assert torch.equal(first(judge, train, index, tmp_path), whole[index])
    for _ in range(2):
        assert torch.equal(split_features(judge, batches_of(train), NUM, tmp_path), whole)
    assert any(tmp_path.iterdir()) == (fewest_stored <= NUM <= most_kept)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images a judge has read, call by call."""
    numbers: list[int] = []

    def counted(judge: Classifier, parts: Iterable[Tensor]) -> Tensor:
        features = features_of(judge, parts)
        numbers.append(len(features))
        return features

    features_of = Classifier.features_of
    monkeypatch.setattr(Classifier, "features_of", counted)
    monkeypatch.setattr(real_features, "FEWEST_STORED", NUM)
    return numbers


def test_each_image_is_read_once(train: Split, judge: Classifier, read: list[int], tmp_path: Path) -> None:
    with torch.inference_mode():
        train_features(judge, train, torch.tensor([3, 1, 3]), tmp_path)
    train_features(judge, train, torch.arange(NUM), tmp_path)
    train_features(judge, train, torch.arange(NUM).flip(0), tmp_path)
    assert read == [2, NUM - 2]


def test_the_next_process_reads_only_a_few_again(
    train: Split, judge: Classifier, read: list[int], tmp_path: Path
) -> None:
    first = features_of_train(judge, train, torch.arange(NUM - 7), tmp_path)
    again = features_of_train(judge, train, torch.arange(NUM), tmp_path)
    assert torch.equal(again[: NUM - 7], first)
    assert read == [NUM - 7, COMPARED, 7]
    read.clear()
    for _ in range(2):
        real_features._kept.clear()
        split_features(judge, batches_of(train, 50), NUM, tmp_path)
    assert read == [COMPARED, COMPARED]  # a split with the same images as train has the same file


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda features: features + 1e-6, "another processor"),
        (lambda features: features[:-1], "another number of images"),
        (lambda features: features.double(), "another type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_features_in_the_file_are_not_believed(
    spoil: Callable[[Tensor], Tensor], why: str, train: Split, judge: Classifier, read: list[int], tmp_path: Path
) -> None:
    right = features_of_train(judge, train, torch.arange(NUM), tmp_path)
    (file,) = tmp_path.iterdir()
    ((name, features),) = load_file(file).items()
    save_file({name: spoil(features)}, file)
    assert torch.equal(features_of_train(judge, train, torch.arange(NUM), tmp_path), right), why
    assert torch.equal(load_file(file)[name], right), f"{why}: the file is not replaced"


@pytest.mark.parametrize("content", [b"", b"not a file of safetensors", bytes(200)])
def test_a_damaged_file_is_replaced(
    content: bytes, train: Split, judge: Classifier, read: list[int], tmp_path: Path
) -> None:
    right = features_of_train(judge, train, torch.arange(NUM), tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert torch.equal(features_of_train(judge, train, torch.arange(NUM), tmp_path), right)
    (stored,) = load_file(file).values()
    assert torch.equal(stored, right)


def test_a_folder_that_cannot_be_made_is_no_obstacle(
    train: Split, judge: Classifier, read: list[int], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    features_of_train(judge, train, torch.arange(NUM), tmp_path / "file" / "judges")
    assert read == [NUM]


def test_no_two_splits_and_no_two_judges_share_them(train: Split, judge: Classifier, tmp_path: Path) -> None:
    other_split = train._replace(images=255 - train.images)
    other_shape = train._replace(images=train.images.reshape(NUM, 1, 14, 56))
    other_judge = Classifier().fold()
    for split, its_judge in ((train, judge), (other_split, judge), (other_shape, judge), (train, other_judge)):
        right = its_judge.features_of([split.images])
        assert torch.equal(train_features(its_judge, split, torch.arange(NUM), tmp_path), right)
        assert torch.equal(split_features(its_judge, batches_of(split), NUM, tmp_path), right)


def test_components_that_were_found_for_val_serve_test(train: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []

    def counted(split: Split, num: int) -> tuple[torch.Tensor, torch.Tensor]:
        found.append(num)
        return principal_components(split, num)

    monkeypatch.setattr(pca, "principal_components", counted)
    other = train._replace(images=255 - train.images)
    evaluator = PCA()
    asked = [(train, 3), (train, 3), (other, 3), (other, 4), (train, 4)]
    answers = [evaluator._components(*each) for each in asked]
    assert found == [3, 3, 4, 4]
    for answer, each in zip(answers, asked, strict=True):
        torch.testing.assert_close(answer, principal_components(*each))
