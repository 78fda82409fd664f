"""Figures: tables of images, curves, and scatter plots, in one style."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from cvae_lightning.core.files import write_whole
from cvae_lightning.core.fonts import LONGEST, drawable, shortened, style
from cvae_lightning.core.fonts import width as text_width
from cvae_lightning.core.shapes import Images, Labels

INK, GREY, ACCENT = "#1a1a2e", "#8a8a99", "#d1495b"
MAX_IN_LEGEND = 30  # a legend of more labels is taller than the figure
MAX_NAMED = 30  # labels whose names a scatter plot has room for
MAX_ROWS = MAX_COLUMNS = 100  # of a table of images
DPI = 160
COMPRESSION = 2  # of PNG files: tables of images are as small as with 6, and written in a quarter of the time
TILE_INCHES, MOST_TILE_INCHES = 0.42, 0.8  # of an image in a table: of 28x28 pixels, and of 53x53 or more
FEW_PIXELS, MOST_PIXELS = 28, 128  # a side: images of less than half are enlarged, and of more are reduced
LEAST_SHARE = 0.4  # of the longer side, which the cell of an oblong image has on the shorter one, to fit names
MOST_PICTURE_PIXELS = 4e6  # of a table, unless its tiles were smaller than those of 28x28 pixels then
POINTS: dict[str, Any] = {"s": 5, "alpha": 0.5, "linewidths": 0}


def write_png(figure: Figure, path: Path) -> bytes:
    """Write the figure to `path` as a PNG file, atomically; return what was written."""
    canvas: Any = FigureCanvasAgg(figure)  # Any: its methods have no types
    canvas.draw()  # once, where savefig draws twice, first to find the layout
    content, opaque = io.BytesIO(), Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    opaque.save(content, "png", compress_level=COMPRESSION, dpi=(figure.dpi, figure.dpi))
    png = content.getvalue()
    write_whole(path, png)
    return png


def image_table(
    images: Images, columns: int, row_names: Sequence[str], title: str, numbers: Sequence[int] = ()
) -> Figure:
    """A table of images (batch, channels, height, width), filled row by row, with a name at each row.

    Grey images are black on white, images of three channels in colour, and of any other number of channels the mean is
    shown in grey. Small images are enlarged, and large ones reduced to at most 128 pixels a side. Images that do not
    fill a row are left out. A name that no font can draw is replaced by its number in `numbers`, if they are given.
    """
    rows = len(images) // columns
    tiles = _tiles(images[: rows * columns])
    height, width = tiles.shape[1:3]
    side = max(height, width)
    cell = [max(size, round(LEAST_SHARE * side)) + 2 for size in (height, width)]
    table = np.full((rows, columns, *cell, *tiles.shape[3:]), _ground(images), np.float32)
    top, left = ((size - inner) // 2 for size, inner in zip(cell, (height, width), strict=True))
    table[:, :, top : top + height, left : left + width] = tiles.reshape(rows, columns, *tiles.shape[1:])
    table = np.concatenate(np.concatenate(table, axis=1), axis=1)

    instead = [str(number) for number in numbers] or [""] * len(row_names)
    names = [drawable(shortened(name), number) for name, number in zip(row_names, instead, strict=True)]
    title = drawable(title)
    inches = _inches(side, rows, columns)
    size_y, size_x = (inches * num * length / max(cell) for num, length in zip((rows, columns), cell, strict=True))
    total_x, title_x = size_x + 0.3 + 0.07 * max(map(text_width, names)), 0.2 + 0.07 * text_width(title)
    figure = Figure(figsize=(max(total_x, title_x), size_y + 0.6), dpi=DPI, layout="constrained")
    axes = figure.add_subplot(anchor="C" if total_x >= title_x else "W")
    axes.imshow(table, cmap="gray_r", vmin=0, vmax=1, interpolation="bicubic")  # a table in colour ignores cmap
    axes.set_title(title, fontsize=9, color=INK, loc="left", **style([title]))
    axes.set_yticks([(row + 0.5) * cell[0] for row in range(rows)], names, fontsize=8, color=INK, **style(names))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _tiles(images: Images) -> npt.NDArray[np.float32]:
    """The images as a picture shows them: (batch, height, width), or (batch, height, width, 3) in colour."""
    side = max(images.shape[2:])
    shown = images if images.shape[1] in (1, 3) else images.mean(1, keepdim=True)
    if side > MOST_PIXELS:
        shown = F.interpolate(shown, [max(1, size * MOST_PIXELS // side) for size in images.shape[2:]], mode="area")
    elif (factor := FEW_PIXELS // side) > 1:
        shown = shown.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    by_row: npt.NDArray[np.float32] = shown.clamp(0, 1).movedim(1, 3).cpu().numpy()
    return by_row[..., 0] if by_row.shape[3] == 1 else by_row


def _inches(side: int, rows: int, columns: int) -> float:
    """The size of a tile: more for images of more than 28 pixels a side, unless there are too many of them."""
    most = max(TILE_INCHES, math.sqrt(MOST_PICTURE_PIXELS / (rows * columns)) / DPI)
    return min(TILE_INCHES * max(1.0, side / FEW_PIXELS), MOST_TILE_INCHES, most)


def _ground(images: Images) -> float:
    """The value that is white in a table of these images, of which grey ones are black on white."""
    return 1.0 if images.shape[1] == 3 else 0.0


def series_table(images: Tensor, row_names: Sequence[str], title: str) -> Figure:
    """A table with one series of `images` (row, step, channels, height, width) per row.

    It shows the first rows, and evenly spread steps, as many of each as a figure has room for.
    """
    steps = images.shape[1]
    columns = torch.linspace(0, steps - 1, min(steps, MAX_COLUMNS)).round().long()
    shown = images[:MAX_ROWS, columns]
    if len(images) > MAX_ROWS:
        title = f"{title}, the first {MAX_ROWS} of {len(images):,} rows"
    return image_table(shown.flatten(0, 1), len(columns), row_names[:MAX_ROWS], title)


def paired_table(originals: Images, reconstructions: Images, columns: int, rows: int, title: str) -> Figure:
    """A table of images, each above its reconstruction: at most `rows` rows of at most `columns` pairs."""
    columns = min(len(originals), columns)
    rows = min(-(-len(originals) // columns), rows)
    pairs = torch.stack([originals, reconstructions], 1)[: rows * columns]
    blank = _ground(originals)  # at the end of a row that is not full
    table = pairs.new_full((rows * columns, *pairs.shape[1:]), blank)
    table[: len(pairs)] = pairs
    table = table.unflatten(0, (rows, columns)).transpose(1, 2)
    return image_table(table.flatten(0, 2), columns, ["original", "reconstruction"] * rows, title)


def curves(lines: Mapping[str, Sequence[float]], x_name: str, y_name: str, title: str) -> Figure:
    """A plot of at most three lines over x = 1, 2, ..., named in a legend."""
    figure = Figure(figsize=(6, 3.6), dpi=DPI, layout="constrained")
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


def reliability(confidence: Tensor, accuracy: Tensor, counts: Tensor, title: str) -> Figure:
    """A plot of the accuracy in each bin of the confidence, (bins,), above the number of predictions in each."""
    figure = Figure(figsize=(4.2, 4.8), dpi=DPI, layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    width, (means, shares, numbers) = 1 / len(counts), (part.numpy() for part in (confidence, accuracy, counts))
    places, filled = (np.arange(len(counts)) + 0.5) * width, numbers > 0
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="calibrated")
    upper.bar(places[filled], shares[filled], 0.9 * width, color=ACCENT, alpha=0.6)
    upper.plot(means[filled], shares[filled], color=INK, marker="o", markersize=4, linestyle="", label="model")
    upper.legend(frameon=False, fontsize=9)
    upper.set_title(title, fontsize=10, color=INK, loc="left")
    upper.set_ylabel("share that is right", fontsize=9)
    lower.bar(places, numbers, 0.9 * width, color=GREY)
    lower.set_ylabel("images", fontsize=9)
    lower.set_xlabel("probability of the most probable class", fontsize=9)
    for axes in (upper, lower):
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def scatter(points: Tensor, labels: Labels, title: str, names: Sequence[str] = ()) -> Figure:
    """A plot of points (batch, 2), coloured by their labels (batch,); each label stands at the median of its points.

    `names` are those of the labels 0, 1, ..., which are shown as numbers without them. Unknown labels, -1, are grey. Of
    many labels only the most frequent ones are named, and there is no legend.
    """
    num_colours = max(10, 1 + int(labels.max()))
    colours = colormaps["tab10" if num_colours == 10 else "nipy_spectral"].resampled(num_colours)
    found, counts = labels[labels >= 0].unique(return_counts=True)
    shown = {label: _name_of(label, names) for label in found.tolist()}
    named = found[counts.argsort(descending=True, stable=True)][:MAX_NAMED].tolist()
    if any(shown.values()) and len(shown) > MAX_NAMED:
        title = f"{title}; the {MAX_NAMED} most frequent of {len(shown):,} labels are named"
    figure, axes = _map(title)
    for label, name in {-1: "unknown", **shown}.items():
        of_label = points[labels == label].cpu()
        look: dict[str, Any] = {**POINTS, "color": colours(label) if label >= 0 else GREY}
        look["label"] = f" {name}" if name.startswith("_") else name  # a legend leaves out what begins with _
        if len(of_label):
            axes.scatter(of_label[:, 0].numpy(), of_label[:, 1].numpy(), **look)
    text_style = style(shown.values())
    size = 13 if max(map(text_width, shown.values()), default=0) < 4 and len(shown) <= MAX_IN_LEGEND else 8
    few = len(shown) <= MAX_IN_LEGEND
    most = LONGEST if few else LONGEST // 2
    look = {"fontsize": size if few else 6, "weight": "bold", "color": INK, **text_style}
    for label in sorted(named):
        x, y = points[labels == label].median(0).values.tolist()
        outline = [withStroke(linewidth=2.5, foreground="white")]
        axes.text(x, y, shortened(shown[label], most), path_effects=outline, ha="center", va="center", **look)
    if num_colours <= MAX_IN_LEGEND and any(shown.values()):
        legend = axes.legend(frameon=False, fontsize=8, markerscale=2.5, loc="center left", bbox_to_anchor=(1, 0.5))
        for text in legend.get_texts():
            text.set(**text_style)
    return figure


def _name_of(label: int, names: Sequence[str]) -> str:
    """The name of a label as a picture can draw it, or its number."""
    return drawable(shortened(names[label]), str(label)) if names else str(label)


def scatter_by_number(points: Tensor, numbers: Tensor, title: str, name: str) -> Figure:
    """A plot of points (batch, 2), coloured by numbers (batch,), with a colour bar; grey where a number is nan."""
    figure, axes = _map(title)
    known = ~numbers.isnan()
    low, high = (float(end) for end in numbers[known].aminmax()) if known.any() else (0.0, 1.0)
    scale = ScalarMappable(Normalize(low, high), "viridis")
    for chosen, colour in ((~known, GREY), (known, scale.to_rgba(numbers[known].cpu().numpy()))):
        x, y = points[chosen].cpu().numpy().T
        axes.scatter(x, y, c=colour, **POINTS)
    bar = figure.colorbar(scale, ax=axes, shrink=0.7)
    bar.set_label(drawable(shortened(name)), **style([name]))
    bar.ax.tick_params(labelsize=8)
    return figure


def _map(title: str) -> tuple[Figure, Axes]:
    """A plot of points without any."""
    figure = Figure(figsize=(6.4, 6), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    title = drawable(title)
    axes.set_title(title, fontsize=10, color=INK, loc="left", **style([title]))
    axes.set_aspect("equal", adjustable="datalim")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
