"""What data.flip and data.balance do to the training images, and what they leave alone."""

import pytest
import torch

from cvae_lightning.core.errors import UserError
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.data.loader import Loader, flipped_axes
from cvae_lightning.data.splits import Split

CORNERS = {"null": None, "horizontal": "horizontal", "vertical": "vertical", "both": "both"}


def corner(num: int = 400, classes: torch.Tensor | None = None) -> Split:
    """Images that are white in the top left corner only."""
    images = torch.zeros(num, 3, 4, 5, dtype=torch.uint8)
    images[:, :, 0, 0] = 255
    return Split(images, torch.zeros(num, dtype=torch.long) if classes is None else classes)


class InMemory:
    name = "corners"

    def __init__(self, split: Split) -> None:
        self.split = split
        self.digests: dict[str, str] = {}

    def prepare(self) -> None:
        """Nothing has to be fetched."""

    def fit_splits(self) -> tuple[Split, Split]:
        return self.split, self.split

    def test_split(self) -> Split:
        return self.split


def images_of(loader: Loader) -> torch.Tensor:
    return torch.cat([x for x, _ in loader])


@pytest.mark.parametrize("how", CORNERS)
def test_a_flip_moves_the_corner_in_half_of_the_images_each_on_its_own(how: str) -> None:
    """With both, the four corners are equally frequent: the axes are drawn independently."""
    images = images_of(Loader(corner(), 64, shuffle_seed=0, flips=flipped_axes(CORNERS[how])))
    places = images.sum(1).flatten(1).argmax(1).bincount(minlength=20).reshape(4, 5)
    expected = {"null": [(0, 0)], "horizontal": [(0, 0), (0, 4)], "vertical": [(0, 0), (3, 0)]}
    found = [(int(row), int(column)) for row, column in places.nonzero()]
    assert found == expected.get(how, [(0, 0), (0, 4), (3, 0), (3, 4)])
    share = 400 / len(found)
    assert all(abs(int(places[place]) - share) < 40 for place in found)


def test_flips_follow_from_seed_and_epoch() -> None:
    loader, same = (Loader(corner(), 64, shuffle_seed=1, flips=(3,)) for _ in range(2))
    first, second = images_of(loader), images_of(loader)
    assert not torch.equal(first, second)
    resumed = Loader(corner(), 64, shuffle_seed=1, flips=(3,))
    resumed.load_state_dict({"epoch": 1})
    assert torch.equal(images_of(same), first)
    assert torch.equal(images_of(resumed), second)


def test_flips_leave_the_order_and_the_shifts_alone() -> None:
    split = corner(50, torch.arange(50))
    plain, flipped = (Loader(split, 8, shuffle_seed=3, max_shift=1, flips=flips) for flips in ((), (3, 2)))
    assert torch.cat([y for _, y in plain]).equal(torch.cat([y for _, y in flipped]))


def test_val_and_the_training_images_that_metrics_see_are_never_mirrored() -> None:
    data = DataModule(InMemory(corner()), batch_size=64, flip="both", image_shape=(3, 4, 5))
    data.setup("fit")
    for split in ("train", "val"):
        assert torch.equal(images_of(data.batches(split)), corner().images / 255)
    assert not torch.equal(images_of(data.train_dataloader()), corner().images / 255)


def test_a_balanced_epoch_draws_each_class_equally_often() -> None:
    classes = torch.tensor([0] * 900 + [1] * 90 + [2] * 9 + [-1] * 1)  # the last is unknown
    loader = Loader(corner(1000, classes), 100, shuffle_seed=0, balance=True)
    assert (loader.num_images, len(loader)) == (1000, 10)
    drawn = torch.cat([y for _, y in loader])
    assert len(drawn) == 1000
    for label in (-1, 0, 1, 2):
        assert abs(int((drawn == label).sum()) - 250) < 50
    again = Loader(corner(1000, classes), 100, shuffle_seed=0, balance=True)
    assert torch.cat([y for _, y in again]).equal(drawn)
    assert not torch.cat([y for _, y in again]).equal(drawn)  # the next epoch


def test_images_of_one_class_are_drawn_equally_often() -> None:
    split = Split(torch.zeros(40, 1, 1, 1, dtype=torch.uint8), torch.arange(40) % 4 // 3)
    seen = torch.zeros(40)
    numbered = split._replace(images=torch.arange(40, dtype=torch.uint8).reshape(40, 1, 1, 1))
    loader = Loader(numbered, 40, shuffle_seed=0, passes=500, balance=True)
    for x, _ in loader:
        seen += (255 * x).round().long().flatten().bincount(minlength=40)
    assert seen[split.labels == 1].mean() == pytest.approx(1000, rel=0.05)
    assert seen[split.labels == 0].mean() == pytest.approx(333, rel=0.05)
    assert float(seen[split.labels == 1].std()) < 100


@pytest.mark.parametrize("how", ["left", 1, True, ["horizontal"], ""])
def test_another_way_to_flip_is_refused(how: object) -> None:
    with pytest.raises(UserError, match=r"null, horizontal or vertical or both \(data\.flip\)"):
        DataModule(InMemory(corner()), batch_size=64, flip=how)  # type: ignore[arg-type]


@pytest.mark.parametrize("balance", [1, "yes", None])
def test_balance_is_true_or_false(balance: object) -> None:
    with pytest.raises(UserError, match=r"true or false \(data\.balance\)"):
        DataModule(InMemory(corner()), batch_size=64, balance=balance)  # type: ignore[arg-type]


def test_a_shift_is_smaller_than_the_shorter_side() -> None:
    assert DataModule(InMemory(corner()), batch_size=64, max_shift=3, image_shape=(3, 4, 5)).max_shift == 3
    with pytest.raises(UserError, match=r"fewer than 4 pixels \(data\.max_shift\), got 4"):
        DataModule(InMemory(corner()), batch_size=64, max_shift=4, image_shape=(3, 4, 5))
