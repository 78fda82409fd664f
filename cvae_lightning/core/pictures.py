"""Figures: tables of images, curves, and scatter plots, in one style."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from cvae_lightning.core.files import write_whole
from cvae_lightning.core.shapes import Images, Labels

INK, GREY, ACCENT = "#1a1a2e", "#8a8a99", "#d1495b"
MAX_IN_LEGEND = 30  # a legend of more labels is taller than the figure
MAX_ROWS = MAX_COLUMNS = 100  # of a table of images
POINTS: dict[str, Any] = {"s": 5, "alpha": 0.5, "linewidths": 0}


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


def scatter(points: Tensor, labels: Labels, title: str, names: Sequence[str] = ()) -> Figure:
    """A plot of points (batch, 2), coloured by their labels (batch,); each label stands at the median of its points.

    `names` are those of the labels 0, 1, ..., which are shown as numbers without them. Unknown labels, -1, are grey.
    """
    figure, axes = _map(title)
    num_colours = max(10, 1 + int(labels.max()))
    colours = colormaps["tab10" if num_colours == 10 else "nipy_spectral"].resampled(num_colours)
    shown = {label: names[label] if names else str(label) for label in labels.unique().tolist() if label >= 0}
    for label, name in {-1: "unknown", **shown}.items():
        of_label = points[labels == label].cpu()
        look: dict[str, Any] = {**POINTS, "color": colours(label) if label >= 0 else GREY, "label": shortened(name)}
        if len(of_label):
            axes.scatter(of_label[:, 0].numpy(), of_label[:, 1].numpy(), **look)
    size = 13 if max(map(len, shown.values()), default=0) < 4 and len(shown) <= MAX_IN_LEGEND else 8
    look = {"fontsize": size, "weight": "bold", "color": INK, "ha": "center", "va": "center"}
    for label, name in shown.items():
        x, y = points[labels == label].median(0).values.tolist()
        axes.text(x, y, shortened(name), path_effects=[withStroke(linewidth=2.5, foreground="white")], **look)
    if num_colours <= MAX_IN_LEGEND and any(shown.values()):
        axes.legend(frameon=False, fontsize=8, markerscale=2.5, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def scatter_by_number(points: Tensor, numbers: Tensor, title: str, name: str) -> Figure:
    """A plot of points (batch, 2), coloured by numbers (batch,), with a colour bar; grey where a number is nan."""
    figure, axes = _map(title)
    known = ~numbers.isnan()
    low, high = (float(end) for end in numbers[known].aminmax()) if known.any() else (0.0, 1.0)
    scale = ScalarMappable(Normalize(low, high), "viridis")
    for chosen, colour in ((~known, GREY), (known, scale.to_rgba(numbers[known].cpu().numpy()))):
        x, y = points[chosen].cpu().numpy().T
        axes.scatter(x, y, c=colour, **POINTS)
    bar = figure.colorbar(scale, ax=axes, shrink=0.7, label=shortened(name))
    bar.ax.tick_params(labelsize=8)
    return figure


def shortened(name: str, most: int = 24) -> str:
    """A name as a picture has room for it."""
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _map(title: str) -> tuple[Figure, Axes]:
    """A plot of points without any."""
    figure = Figure(figsize=(6.4, 6), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_aspect("equal", adjustable="datalim")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
