"""What the pictures of the documentation share. Their look is that of a sweep's report."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cvae_lightning.reports.plots import ACCENT, GREY, INK, LINES, finish

DASHED: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (4, 3))}


def panels(num: int, height: float, width: float = 0.0, **layout: Any) -> tuple[Figure, list[Axes]]:
    """Panels side by side, each with axes of its own."""
    figure = Figure(figsize=(width or (7.6 if num > 1 else 6.4), height), layout="constrained")
    return figure, list(figure.subplots(1, num, squeeze=False, **layout)[0])


def colours(num: int) -> list[Any]:
    return list(LINES(np.linspace(0, 1, num)))


def curves(axes: Axes, frame: pd.DataFrame, colours: Iterable[Any], **look: Any) -> None:
    """One line per column, with a label after its name."""
    for (name, line), colour in zip(frame.items(), colours, strict=True):
        axes.plot(line.index, line, color=colour, label=name, **look)


def means(axes: Axes, rows: pd.DataFrame, x: str, y: str, colour: Any = ACCENT, label: str = "") -> None:
    """A line through the means over seeds, with bars of one standard deviation."""
    groups = rows.groupby(x)[y]
    look: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.6, "capsize": 2, "color": colour}
    axes.errorbar(groups.mean().index, groups.mean(), groups.std().fillna(0), label=label, **look)


def dot_panels(
    groups: Mapping[str, pd.DataFrame], titles: Mapping[str, str], height: float
) -> tuple[Figure, list[Axes]]:
    """One panel per column in `titles`, with one line per group and one dot per seed."""
    figure, axes = panels(len(titles), height)
    for place, (key, title) in zip(axes, titles.items(), strict=True):
        dots(place, {name: rows[key] for name, rows in groups.items()})
        finish(place, title, "", "")
    for place in axes[1:]:
        place.set_yticklabels([])
    return figure, axes


def dots(axes: Axes, lines: Mapping[str, pd.Series], size: float = 5) -> None:
    """One line per choice, from top to bottom, with one dot per seed."""
    for place, values in enumerate(lines.values()):
        axes.plot(values, np.full(len(values), -place), "o", color=ACCENT, alpha=0.75, markersize=size)
    axes.set_yticks([-place for place in range(len(lines))], list(lines))
    axes.set_ylim(0.5 - len(lines), 0.5)


def legend(axes: Axes, **where: Any) -> None:
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, **where)
