"""A data set of discs and bars, labelled in many ways: a plug-in that stands for images of one's own."""

import colorsys
from typing import Any

import torch
from torch import Tensor

from cvae_lightning.core.conditions import Classes, Condition, Flags, Number
from cvae_lightning.data.sources import Facts
from cvae_lightning.data.splits import Split

ANGLE = Number("angle", mean=0.0, std=26.0, low=-45.0, high=45.0)
BIRDS = ("Long-tailed tit (Aegithalos caudatus)", "Great spotted woodpecker")
DIGIT = Classes("digit", ("0", "1", "2"))
KINDS: dict[str, tuple[tuple[int, int, int], Condition]] = {
    "birds": ((3, 32, 32), Condition((Classes("species", BIRDS),))),
    "many": ((1, 28, 28), Condition((Classes("letter", tuple(f"class {number}" for number in range(40))),))),
    "turned": ((1, 28, 28), Condition((DIGIT, ANGLE))),
    "half": ((1, 20, 28), Condition((DIGIT, ANGLE)).with_unknown()),
    "some": ((3, 16, 16), Condition((Classes("species", ("cat", "dog"), optional=True),))),
    "angle": ((1, 28, 28), Condition((ANGLE,))),
    "flags": ((3, 24, 24), Condition((Flags("parts", ("red", "large", "two")),))),
    "nothing": ((3, 28, 28), Condition()),
}


class Labelled:
    """120 images of train, 60 of val and 60 of test; half of the labels that may be unknown are."""

    def __init__(self, kind: str, split_seed: int = 0) -> None:
        self.name = kind
        self.image_shape, self.condition = KINDS[kind]
        self.digests = {kind: "0" * 64}

    def prepare(self) -> None:
        pass

    def facts(self) -> Facts:
        return Facts(self.image_shape, self.condition)

    def fit_splits(self) -> tuple[Split, Split]:
        return self._split(120, 0), self._split(60, 1)

    def test_split(self) -> Split:
        return self._split(60, 2)

    def _split(self, num: int, seed: int) -> Split:
        generator = torch.Generator().manual_seed(seed)
        y = self.condition.spread(num)[torch.randperm(num, generator=generator)]
        images = torch.stack([self._drawn(values, generator) for values in y])
        if self.condition.may_be_unknown:
            hidden = torch.rand(num, len(self.condition.columns), generator=generator) < 0.5
            y = torch.where(hidden if y.ndim == 2 else hidden[:, 0], self.condition.unknown(num), y)
        return Split((255 * images).byte(), y, self.condition)

    def _drawn(self, value: Tensor, generator: torch.Generator) -> Tensor:
        """A bar, turned by the angle, with a disc at its end, whose place and colour is that of the class."""
        channels, height, width = self.image_shape
        by_column: dict[Any, Any] = {column: part[0] for column, part in self.condition.by_column(value[None])}
        main = self.condition.main
        share = float(by_column[main]) / main.width if main else 0.5
        flags = by_column.get(self.condition.columns[0]) if self.name == "flags" else None
        angle = torch.deg2rad(by_column.get(ANGLE, torch.zeros(1)))
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        y, x = (part + 0.1 * torch.randn(1, generator=generator) for part in (y, x))
        across, along = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
        radius = 0.25 if flags is None else 0.2 + 0.2 * flags[1]
        disc = (across - 0.4).square() + (along - 1.2 * share + 0.6).square() < radius**2
        bar = (across + 0.2).abs() < 0.12
        if flags is not None and not flags[2]:
            bar = bar & False
        hue = 0.6 if flags is None else 0.6 * (1 - flags[0])
        colour = torch.tensor(colorsys.hsv_to_rgb(float(hue) if flags is not None else share, 0.8, 1.0))[:channels]
        inked = disc * colour[:, None, None] if channels == 3 else disc[None].float()
        return (inked + 0.7 * bar * ~disc * (along.abs() < 0.8)).clamp(0, 1)


class Bars:
    """Images with one bright column, which their class tells; every second training label is unknown."""

    name = "bars"

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}

    def prepare(self) -> None:
        """Nothing has to be fetched."""

    def fit_splits(self) -> tuple[Split, Split]:
        return self._split(known=0.5), self._split(known=1.0)

    def test_split(self) -> Split:
        return self._split(known=1.0)

    def _split(self, known: float) -> Split:
        classes = torch.arange(400) % 4
        images = torch.zeros(400, 1, 4, 4, dtype=torch.uint8)
        images[torch.arange(400), 0, :, classes] = 255
        labels = classes.where(torch.arange(400) < known * 400, -1)
        return Split(images, labels, Condition.of_classes(4).with_unknown())
