"""data.labelled: few images keep their class."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import UserError
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.data.digits import Digits
from cvae_lightning.data.labelled import partly_labelled
from cvae_lightning.data.splits import Split


def split_of(classes: torch.Tensor, condition: Condition | None = None) -> Split:
    return Split(torch.empty(len(classes), 1, 2, 2, dtype=torch.uint8), classes, condition)


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=60), st.data())
def test_classes_keep_equally_many_labels_as_far_as_they_have_images(classes: list[int], data: Any) -> None:
    y = torch.tensor(classes)
    sizes = y[y >= 0].bincount(minlength=5)
    if not sizes.any():
        return
    num = data.draw(st.integers(int((sizes > 0).sum()), int(sizes.sum())))
    kept = partly_labelled(split_of(y), num, seed=0).labels
    assert torch.equal(kept[kept >= 0], y[kept >= 0])
    counts = kept[kept >= 0].bincount(minlength=5)
    assert counts.sum() == num
    spare = counts < sizes
    assert not spare.any() or counts.max() <= counts[spare].min() + 1


def test_the_seed_decides_which_images_keep_their_class() -> None:
    split = split_of(torch.arange(500) % 10)
    first, again, other = (partly_labelled(split, 20, seed).labels for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_other_columns_of_the_condition_stay() -> None:
    condition = Condition.from_config({"digit": 3, "angle": {"mean": 0, "std": 1, "low": -1, "high": 1}})
    y = torch.stack([torch.arange(30) % 3, torch.linspace(-1, 1, 30)], 1)
    kept = partly_labelled(split_of(y, condition), 6, seed=0)
    assert torch.equal(kept.labels[:, 1], y[:, 1])
    assert (kept.classes >= 0).sum() == 6


@pytest.mark.parametrize("num", [9, 1283])
def test_too_few_or_too_many_labels_are_refused(num: int) -> None:
    data = DataModule(Digits(), batch_size=10, labelled=num)
    with pytest.raises(UserError, match=rf"all, or 10 to 1282 images \(data\.labelled\), got {num}\."):
        data.partly_labelled(data.source.fit_splits()[0])


def test_images_without_classes_are_refused() -> None:
    with pytest.raises(UserError, match=r"no classes \(data\.labelled\), got 5"):
        partly_labelled(split_of(torch.full((9,), -1)), 5, seed=0)


def test_what_is_trained_and_fitted_sees_the_labels_that_are_left_and_what_measures_sees_all() -> None:
    data = DataModule(Digits(), batch_size=100, labelled=20)
    data.setup("fit")
    seen = torch.cat([y for _, y in data.train_dataloader()])
    fitted = torch.cat([y for _, y in data.batches_to_fit()])
    assert (seen >= 0).sum() == (fitted >= 0).sum() == 20
    assert (data.splits["train"].labels >= 0).all()
    assert torch.equal(fitted[fitted >= 0], data.splits["train"].labels[fitted >= 0])


def test_each_step_has_a_batch_of_images_of_known_class() -> None:
    data = DataModule(Digits(), batch_size=100, labelled=30, max_shift=2)
    data.setup("fit")
    loader = data.train_dataloader()
    batches = list(data.labelled_loader(20, epoch=1))
    assert len(batches) >= len(loader)
    y = torch.cat([y for _, y in batches])
    assert (y >= 0).all()
    assert y.bincount(minlength=10).min() > 0
    epochs = [[y.tolist() for _, y in data.labelled_loader(20, epoch)] for epoch in (1, 1, 2)]
    assert epochs[0] == epochs[1] != epochs[2]
