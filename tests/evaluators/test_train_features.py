"""What evaluators keep of the training images from val to test, and from run to run."""

import pytest
import torch

from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators import pca, train_features
from cvae_lightning.evaluators.pca import PCA, principal_components
from cvae_lightning.evaluators.samples import images_of
from cvae_lightning.evaluators.train_features import train_features as features_of_train
from cvae_lightning.judging.classifier import Classifier

NUM = 230


@pytest.fixture
def train() -> Split:
    return Split(torch.randint(256, (NUM, 1, 28, 28), dtype=torch.uint8), torch.arange(NUM) % 10)


@pytest.fixture
def judge() -> Classifier:
    return Classifier().fold()


@pytest.mark.parametrize("most_kept", [NUM, NUM - 1])
def test_they_are_the_judges_features_in_any_order(
    train: Split, judge: Classifier, most_kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_features, "MOST_KEPT", most_kept)
    whole = judge.features_of([train.images])
    for _ in range(3):
        index = torch.randint(NUM, (80,))
        assert torch.equal(features_of_train(judge, train, index), whole[index])


def test_each_image_is_read_once(train: Split, judge: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def counted(split: Split, index: torch.Tensor) -> object:
        read.extend(index.tolist())
        return images_of(split, index)

    monkeypatch.setattr(train_features, "images_of", counted)
    with torch.inference_mode():
        features_of_train(judge, train, torch.tensor([3, 1, 3]))
    features_of_train(judge, train, torch.arange(NUM))
    features_of_train(judge, train, torch.arange(NUM).flip(0))
    assert sorted(read) == list(range(NUM))


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
