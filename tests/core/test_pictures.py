"""Pictures of images of any size and colour, of few and many labels, and of names in any script."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from cvae_lightning.core.fonts import drawable, shortened, style
from cvae_lightning.core.pictures import (
    MAX_NAMED,
    curves,
    image_table,
    paired_table,
    scatter,
    scatter_by_number,
    series_table,
    write_png,
)

pytestmark = pytest.mark.rendered


def pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (28, 28), (33, 20), (2, 200), (256, 256)], ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_images_of_any_size_make_a_table_of_bounded_size(channels: int, size: tuple[int, int], tmp_path: Path) -> None:
    figure = image_table(torch.rand(24, channels, *size), 12, ["cat", "dog"], "Samples")
    write_png(figure, tmp_path / "table.png")
    picture = pixels(tmp_path / "table.png")
    assert 100 < picture.shape[0] < 400
    assert 400 < picture.shape[1] < 2000
    assert (tmp_path / "table.png").stat().st_size < 2_000_000
    assert (picture == 255).all(2).mean() > 0.05, "on white"


def test_colours_are_as_they_are_and_grey_is_black_on_white(tmp_path: Path) -> None:
    red = torch.zeros(12, 3, 28, 28)
    red[:, 0] = 1
    for images, colour in ((red, (255, 0, 0)), (torch.ones(12, 1, 28, 28), (0, 0, 0))):
        write_png(image_table(images, 12, [""], ""), tmp_path / "table.png")
        picture = pixels(tmp_path / "table.png")
        assert (picture == colour).all(2).mean() > 0.3
        assert (picture == 255).all(2).mean() > 0.1


def drawn() -> Iterator[Figure]:
    images = torch.rand(24, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    yield image_table(images, 12, ["a long name of a class", "dog"], "Samples")
    yield curves({"train": [3.0, 2.0, 1.5], "val": [3.1, 2.2, 1.9]}, "epoch", "loss", "Loss")
    yield scatter(images.flatten(1)[:, :2], torch.arange(24) % 3, "Map", ["cat", "dog", "a long name"])


def test_files_show_what_matplotlib_draws(tmp_path: Path) -> None:
    """Though the layout is found without drawing everything once more."""
    for ours, theirs in zip(drawn(), drawn(), strict=True):
        write_png(ours, tmp_path / "ours.png")
        theirs.savefig(tmp_path / "theirs.png")
        assert np.array_equal(pixels(tmp_path / "ours.png"), pixels(tmp_path / "theirs.png"))


def test_a_row_that_is_not_full_is_white_in_colour_too(tmp_path: Path) -> None:
    images = torch.zeros(13, 3, 28, 28)
    write_png(paired_table(images, images, 12, 4, "pairs"), tmp_path / "table.png")
    picture = pixels(tmp_path / "table.png")
    height, width, _ = picture.shape
    assert (picture[int(0.62 * height) : int(0.8 * height), width // 2 :] == 255).all()


def test_many_rows_of_large_images_are_drawn_smaller() -> None:
    few, many = (
        image_table(torch.rand(12 * rows, 3, 64, 64), 12, [str(row) for row in range(rows)], "") for rows in (2, 50)
    )
    assert few.get_size_inches()[0] > 1.2 * many.get_size_inches()[0]
    assert math.prod(many.get_size_inches() * 160) < 8e6


def test_a_table_of_more_rows_than_fit_says_so() -> None:
    figure = series_table(torch.rand(150, 2, 1, 4, 4), [str(row) for row in range(150)], "Traversals")
    assert figure.axes[0].get_title("left") == "Traversals, the first 100 of 150 rows"


NAMES = ["$a_b$ and $", "_hidden", r"\alpha $x$", "日本語", "two\nlines\x00", "x" * 300, "\ud800", "кошка"]


def test_names_are_taken_literally(tmp_path: Path) -> None:
    figure = image_table(torch.rand(8, 1, 28, 28), 1, NAMES, "Cost in $ and $", range(8))
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown[:3] == NAMES[:3]
    assert shown[3] in ("日本語", "3"), "by its number, if there is no such font"
    assert shown[4] == "two lines"
    assert shown[5] == "x" * 23 + "…"
    assert not any(label.get_parse_math() for label in figure.axes[0].get_yticklabels())
    write_png(figure, tmp_path / "table.png")  # a warning of a missing glyph is an error in tests


def test_a_name_without_a_font_is_replaced() -> None:
    nowhere = "a\U000ffffeb\U0010fffe"  # no characters, so no font has them
    assert drawable(nowhere, "7") == "7"
    assert drawable(nowhere) == "a?b?"
    assert drawable("plain", "7") == "plain"
    assert style(["plain"]) == {"parse_math": False}
    assert shortened("a" * 30, 5) == "aaaa…"


def test_a_map_of_many_labels_names_the_most_frequent(tmp_path: Path) -> None:
    labels = torch.cat([torch.arange(200), torch.arange(100, 130).repeat(5)])
    figure = scatter(torch.randn(len(labels), 2), labels, "Map", [f"$name_{label}" for label in range(200)])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == MAX_NAMED
    assert texts[0] == "$name_100"
    assert "the 30 most frequent of 200 labels are named" in figure.axes[0].get_title("left")
    assert figure.axes[0].get_legend() is None
    write_png(figure, tmp_path / "map.png")


def test_a_map_of_few_labels_has_a_legend_of_all_and_unknown_ones(tmp_path: Path) -> None:
    labels = torch.tensor([0, 0, 1, 1, -1])
    figure = scatter(torch.randn(5, 2), labels, "Map", ["_cat$", "$dog"])
    legend = figure.axes[0].get_legend()
    assert legend
    assert [text.get_text().strip() for text in legend.get_texts()] == ["unknown", "_cat$", "$dog"]
    write_png(figure, tmp_path / "map.png")
    write_png(scatter(torch.randn(5, 2), labels * 0 - 1, "Map"), tmp_path / "unlabelled.png")


def test_a_map_by_number_has_a_bar_with_its_name(tmp_path: Path) -> None:
    numbers = torch.tensor([1.0, 2.0, float("nan"), 4.0])
    figure = scatter_by_number(torch.randn(4, 2), numbers, "Map", "price in $")
    assert figure.axes[1].get_ylabel() == "price in $"
    write_png(figure, tmp_path / "map.png")
    write_png(scatter_by_number(torch.randn(4, 2), torch.full((4,), 3.0), "Map", "constant"), tmp_path / "constant.png")
