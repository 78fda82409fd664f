"""Figures: tables of images, curves, and scatter plots, in one style."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from cvae_lightning.core.files import write_whole
from cvae_lightning.core.shapes import Images, Labels

INK, GREY, ACCENT = "#1a1a2e", "#8a8a99", "#d1495b"
MAX_IN_LEGEND = 30  # a legend of more labels is taller than the figure
MAX_ROWS = MAX_COLUMNS = 100  # of a table of images


def write_png(figure: Figure, path: Path) -> None:
    """Write the figure to `path` as a PNG file, atomically."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_whole(path, content.getbuffer())


def image_table(images: Images, columns: int, row_names: Sequence[str], title: str) -> Figure:
    """A table of grey images (batch, 1, height, width), filled row by row, black on white, with a name at each row.

    Images that do not fill a row are left out.
    """
    height, width = images.shape[2:]
    rows = len(images) // columns
    tiles = images[: rows * columns, 0].unflatten(0, (rows, columns))
    padded = tiles.new_zeros(rows, columns, height + 2, width + 2)
    padded[:, :, 1:-1, 1:-1] = tiles
    table = padded.transpose(1, 2).flatten(2).flatten(0, 1)
    margin = 0.3 + 0.07 * max(map(len, row_names))
    figure = Figure(figsize=(0.42 * columns + margin, 0.42 * rows + 0.6), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(table.cpu().numpy(), cmap="gray_r", vmin=0, vmax=1, interpolation="bicubic")
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    axes.set_yticks([(row + 0.5) * (height + 2) for row in range(rows)], row_names, fontsize=8, color=INK)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def series_table(images: Tensor, row_names: Sequence[str], title: str) -> Figure:
    """A table with one series of `images` (row, step, 1, height, width) per row.

    It shows the first rows, and evenly spread steps, as many of each as a figure has room for.
    """
    steps = images.shape[1]
    columns = torch.linspace(0, steps - 1, min(steps, MAX_COLUMNS)).round().long()
    shown = images[:MAX_ROWS, columns]
    return image_table(shown.flatten(0, 1), len(columns), row_names[:MAX_ROWS], title)


def paired_table(originals: Images, reconstructions: Images, columns: int, rows: int, title: str) -> Figure:
    """A table of images, each above its reconstruction: at most `rows` rows of at most `columns` pairs."""
    columns = min(len(originals), columns)
    rows = min(-(-len(originals) // columns), rows)
    pairs = torch.stack([originals, reconstructions], 1)[: rows * columns]
    table = pairs.new_zeros(rows * columns, *pairs.shape[1:])  # blank at the end of a row that is not full
    table[: len(pairs)] = pairs
    table = table.unflatten(0, (rows, columns)).transpose(1, 2)
    return image_table(table.flatten(0, 2), columns, ["original", "reconstruction"] * rows, title)


def curves(lines: Mapping[str, Sequence[float]], x_name: str, y_name: str, title: str) -> Figure:
    """A plot of at most three lines over x = 1, 2, ..., named in a legend."""
    figure = Figure(figsize=(6, 3.6), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    for (name, values), colour in zip(lines.items(), (GREY, ACCENT, INK), strict=False):
        x = range(1, len(values) + 1)
        axes.plot(x, values, color=colour, linewidth=1.8, marker="o" if len(values) < 15 else "", markersize=3.5)
        axes.plot([], [], color=colour, linewidth=1.8, label=name)
    axes.legend(frameon=False, fontsize=9)
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_xlabel(x_name, fontsize=9)
    axes.set_ylabel(y_name, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25, linewidth=0.6)
    return figure


def scatter(points: Tensor, labels: Labels, title: str) -> Figure:
    """A plot of points (batch, 2), coloured by their labels (batch,); each label stands at the median of its points."""
    figure = Figure(figsize=(6.4, 6), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    num_colours = max(10, 1 + int(labels.max()))
    colours = colormaps["tab10" if num_colours == 10 else "nipy_spectral"].resampled(num_colours)
    for label in labels.unique().tolist():
        of_label = points[labels == label].cpu()
        look: dict[str, Any] = {"s": 5, "alpha": 0.5, "linewidths": 0, "color": colours(label), "label": str(label)}
        axes.scatter(of_label[:, 0].numpy(), of_label[:, 1].numpy(), **look)
        x, y = of_label.median(0).values.tolist()
        outline = [withStroke(linewidth=2.5, foreground="white")]
        axes.text(
            x, y, str(label), fontsize=13, weight="bold", color=INK, ha="center", va="center", path_effects=outline
        )
    if num_colours <= MAX_IN_LEGEND:
        axes.legend(frameon=False, fontsize=8, markerscale=2.5, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_aspect("equal", adjustable="datalim")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
