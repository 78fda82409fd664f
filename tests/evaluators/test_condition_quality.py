"""Numbers and flags are read from samples, in their units, by a network that never saw the split."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import batches_of
from torch import Tensor

from cvae_lightning.core.conditions import Classes, Condition, Flags, Number
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.conditions import ConditionQuality
from cvae_lightning.evaluators.evaluator import Absent
from cvae_lightning.judging import store
from cvae_lightning.judging.values import Values, fit_values

HEIGHT = Number("height", mean=50.0, std=25.0, low=0.0, high=100.0)


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_in_use", {})
    monkeypatch.setattr(store, "fit_values", functools.partial(fit_values, epochs=30))


def bars(heights: Tensor, flags: Tensor | None = None) -> Tensor:
    """Images whose lower part is bright, as many per cent as `heights` say, and whose left edge shows a flag."""
    rows = torch.linspace(100, 0, 16)[:, None]
    images = ((heights[:, None, None, None] - rows) / 6 + 0.5).clamp(0, 1).expand(-1, 3, 16, 12).clone()
    if flags is not None:
        images[:, :, :, :4] = flags[:, None, None, None]
    return images


class Bars:
    """A model that draws the bar that is asked for, `off` too high, and the flag that is asked for or its opposite."""

    latent_dim = 1
    image_shape = (3, 16, 12)

    def __init__(self, condition: Condition, off: float = 0.0, flips: bool = False) -> None:
        self.condition = condition
        self.num_classes = condition.num_classes
        self.off, self.flips = off, flips

    def reconstruct(self, x: Tensor, y: Tensor) -> Tensor:
        return x

    def sample(self, y: Tensor) -> Tensor:
        flags = y[:, 1] if y.shape[1] > 1 else None
        return bars(y[:, 0].nan_to_num(50) + self.off, 1 - flags if self.flips and flags is not None else flags)


def split(condition: Condition, num: int) -> Split:
    y = torch.rand(num, 1) * 100
    if len(condition.columns) > 1:
        y = torch.cat([y, torch.randint(2, (num, 1)).float()], 1)
    images = bars(y[:, 0], y[:, 1] if y.shape[1] > 1 else None)
    return Split((images * 255).byte(), condition.hidden(y, 0.2) if condition.may_be_unknown else y, condition)


def measured(model: Any, val: Split, train: Split, folder: Path) -> dict[str, Any]:
    batches = batches_of(val.images / 255, val.labels, 33)
    return ConditionQuality(str(folder)).measure(model, batches, train, "val")


def test_a_number_is_read_from_samples_in_its_unit(tmp_path: Path) -> None:
    condition = Condition((HEIGHT,))
    train, val = split(condition, 600), split(condition, 150)
    right = measured(Bars(condition), val, train, tmp_path)
    assert right["condition_error_real"] < 4, "of 100"
    assert right["condition_error"] < 4
    assert right["condition_error_sd"] == pytest.approx(right["condition_error"] / 25)
    assert right["num_samples_condition"] == 150
    assert isinstance(right["flag_accuracy"], Absent)
    wrong = measured(Bars(condition, off=20), val, train, tmp_path)
    assert wrong["condition_error"] == pytest.approx(20, abs=5)
    assert wrong["condition_error_real"] == right["condition_error_real"]
    ignorant = measured(Bars(Condition()), val, train, tmp_path)
    assert ignorant["condition_error"] == Absent("the model is conditioned on neither numbers nor flags")
    assert ignorant["condition_error_real"] == right["condition_error_real"]
    assert len(list(tmp_path.glob("*.safetensors"))) == 1, "fitted once, and kept"


def test_flags_are_read_from_samples(tmp_path: Path) -> None:
    condition = Condition((HEIGHT, Flags("marks", ("edge",)))).with_unknown()
    train, val = split(condition, 600), split(condition, 150)
    right = measured(Bars(condition), val, train, tmp_path)
    assert min(right["flag_accuracy"], right["flag_accuracy_real"]) > 0.95
    assert measured(Bars(condition, flips=True), val, train, tmp_path)["flag_accuracy"] < 0.05
    assert right["condition_error"] < 8, "where heights are known"


def test_values_are_standardised_and_unknown_ones_stay_so() -> None:
    condition = Condition((Classes("kind", ("a", "b")), HEIGHT, Flags("marks", ("x", "y")))).with_unknown()
    y = torch.tensor([[0, 75.0, 1, 0], [1, float("nan"), float("nan"), float("nan")]])
    values = Values.of(condition, y)
    assert [column.name for column in values.columns] == ["height", "marks"]
    assert values.is_flag.tolist() == [False, True, True]
    assert values.targets[0].tolist() == [1.0, 1.0, 0.0]
    assert values.targets[1].isnan().all()
    for without in (None, Condition(), Condition.of_classes(3)):
        assert not Values.of(without, torch.zeros(4, dtype=torch.long)).columns


def test_data_in_which_nothing_is_known_have_a_reason(tmp_path: Path) -> None:
    condition = Condition((HEIGHT,)).with_unknown()
    train, val = split(condition, 20), split(condition, 20)
    train.labels.fill_(float("nan"))
    numbers = measured(Bars(condition), val, train, tmp_path)
    assert set(numbers.values()) == {Absent("no number and no flag is known in train")}
