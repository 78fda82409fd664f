"""The plots of a sweep."""

import io
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from cvae_lightning.metrics.catalog import describe
from cvae_lightning.reports.statistics import title_of
from cvae_lightning.reports.sweep_frame import setting_columns

INK, GREY, ACCENT = "#1a1a2e", "#8a8a99", "#d1495b"
SHADES = LinearSegmentedColormap.from_list("shades", ["#e9edf5", "#8fa3cc", "#2b3a67"])
LINES = LinearSegmentedColormap.from_list("lines", ["#dd9f4f", "#d1495b", "#9a6cb5", "#4a7fc1", "#2a9d8f"])
DPI = 120
MOST_PANELS, MOST_LINES, MOST_CELLS = 4, 8, 10


def score_against_epochs(families: pd.DataFrame, metric: str = "val/score") -> Figure | None:
    """Plot a metric against the epochs, with one panel per lr and one line per combination of other settings.

    The paper's Scores stand beside `val/score`. Returns None if no run has the metric, or all have the same number of
    epochs.
    """
    if metric not in families or families[metric].isna().all() or families["epochs"].nunique() < 2:
        return None
    if metric != "val/score":
        families = families.assign(paper_score=float("nan"))
    rates = sorted(families["lr"].unique())
    panels = [(f"lr {rate:g}", families[families["lr"] == rate]) for rate in rates]
    if len(panels) > MOST_PANELS:
        panels = [("", families)]
    figure, axes = new_figure(len(panels), height=3.4)
    epochs = sorted(families["epochs"].unique())
    ticks = FixedLocator(epochs) if len(epochs) <= 8 else MaxNLocator(6, integer=True)
    kind_of = _kinds(families)
    kinds = sorted(set(kind_of), key=lambda kind: (len(kind), kind))  # 5 before 10
    colours = dict(zip(kinds, LINES(np.linspace(0, 1, len(kinds))), strict=True))
    for place, (title, rows) in zip(axes, panels, strict=True):
        few = len(kinds) <= MOST_LINES and title
        for kind, line in rows.groupby(kind_of[rows.index]):
            line = line.sort_values("epochs")
            x, y = line["epochs"].astype(float), line[metric]
            look: dict[str, Any] = {"color": colours[kind] if few else GREY, "marker": "o", "markersize": 3.5}
            place.errorbar(x, y, line[f"{metric}/sd"], linewidth=1.6 if title else 0, capsize=2, **look)
        paper = rows.dropna(subset=["paper_score"])
        place.plot(paper["epochs"].astype(float), paper["paper_score"], "D", **_hollow())
        finish(place, title, "epochs", title_of(metric) if place is axes[0] else "")
        place.xaxis.set_major_locator(ticks)
    named = list(colours.items()) if len(kinds) <= MOST_LINES and panels[0][0] else []
    for kind, colour in named:
        axes[0].plot([], [], color=colour, marker="o", markersize=3.5, label=kind)
    if families["paper_score"].notna().any():
        axes[0].plot([], [], "D", **_hollow(), label="the paper's")
    _legend(figure)
    return figure


def heat_maps(families: pd.DataFrame, metric: str) -> Figure | None:
    """Plot the metric over lr and latent_dim, with one panel per number of epochs; a cell shows its best run.

    Returns None if there is only one lr or latent_dim, or too many for a map. If there are too many numbers of epochs,
    those with the most runs are shown.
    """
    if metric not in families:
        return None
    rates, sizes = (sorted(families[key].unique()) for key in ("lr", "latent_dim"))
    if not (1 < len(rates) <= MOST_CELLS and 1 < len(sizes) <= MOST_CELLS):
        return None
    most = families["epochs"].value_counts().sort_index(ascending=False).nlargest(MOST_PANELS, keep="first").index
    of_epochs = families[families["epochs"].isin(most)].groupby("epochs", sort=True)
    grids = [(epochs, _best(rows, metric).reindex(index=rates, columns=sizes)) for epochs, rows in of_epochs]
    values = np.concatenate([grid.to_numpy().ravel() for _, grid in grids])
    low, high = np.nanmin(values), np.nanmax(values)
    shades = (SHADES if describe(metric).better >= 0 else SHADES.reversed()).with_extremes(bad=(*to_rgb(GREY), 0.12))
    figure, axes = new_figure(len(grids), height=1.1 + 0.36 * len(rates))
    for place, (epochs, grid) in zip(axes, grids, strict=True):
        image = place.imshow(grid.to_numpy(), cmap=shades, vmin=low, vmax=high, aspect="auto")
        _write_cells(place, grid.to_numpy(), image.to_rgba(grid.to_numpy()), "{:.4f}" if high < 1 else "{:.1f}")
        place.set_xticks(range(len(sizes)), [f"{size:g}" for size in sizes])
        place.set_yticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        finish(place, f"{epochs:g} epoch{'' if epochs == 1 else 's'}", "latent_dim", "lr" if place is axes[0] else "")
        place.grid(visible=False)
        place.tick_params(length=0)
        place.spines[:].set_visible(False)
    return figure


def ours_against_the_paper(beside: pd.DataFrame) -> Figure | None:
    """Plot our Scores on test against the paper's, with the line of equality; None for fewer than two rows."""
    if len(beside) < 2:
        return None
    figure, (axes,) = new_figure(1, height=3.8, width=4.4)
    spread = beside["test/score/sd"].fillna(0)
    both = pd.concat([beside["paper_score"], beside["test/score"] - spread, beside["test/score"] + spread])
    margin = 0.06 * (both.max() - both.min() or 1)
    ends = [both.min() - margin, both.max() + margin]
    axes.plot(ends, ends, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    look: dict[str, Any] = {"fmt": "o", "color": ACCENT, "markersize": 5, "elinewidth": 1.2, "capsize": 2}
    axes.errorbar(beside["paper_score"], beside["test/score"], beside["test/score/sd"], **look)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    finish(axes, "", "the paper's Score", "ours, on test")
    return figure


def laid_out(figure: Figure) -> Figure:
    """The figure with its final layout, which would else be found anew whenever it is saved, by drawing it twice."""
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    return figure


def png_of(figure: Figure) -> bytes:
    """The figure as PNG on white; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def svg_of(figure: Figure, name: str) -> str:
    """The figure as an <svg> element in the text colour of the page; `name` makes its ids unique on the page."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


def _kinds(families: pd.DataFrame) -> pd.Series:
    """The settings that distinguish a line from the others in its panel, for a legend.

    A dollar sign is escaped, since it would start a formula.
    """
    keys = [key for key in setting_columns(families) if key not in ("epochs", "lr", "experiment", "seed")]
    keys = [key for key in keys if families[key].nunique(dropna=False) > 1]
    names = families[keys].apply(lambda row: ", ".join(f"{key} {row[key]}" for key in keys), axis="columns")
    return names.replace(r"\$", r"\\$", regex=True) if keys else pd.Series("ours", index=families.index)


def _write_cells(place: Axes, values: np.ndarray, colours: np.ndarray, number: str) -> None:
    """Write the value of each cell into its middle, in a colour that is readable on the cell's."""
    for row, column in np.argwhere(~np.isnan(values)):
        on_dark = colours[row, column, 0] < 0.5
        text = number.format(values[row, column])
        look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}
        place.text(column, row, text, color="white" if on_dark else "#1b1b2f", **look)  # INK takes the page's colour


def _best(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    cells = rows.groupby(["lr", "latent_dim"])[metric]
    return (cells.max() if describe(metric).better >= 0 else cells.min()).unstack()


def new_figure(panels: int, height: float, width: float = 0.0) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, which stand side by side and share their axes."""
    width = width or (6.4 if panels == 1 else 2.8 * panels + 0.6)
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(1, panels, sharex=True, sharey=True, squeeze=False)[0])


def finish(axes: Axes, title: str, x_name: str, y_name: str) -> None:
    """Set the titles and the look that all plots share."""
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    axes.set_xlabel(x_name, fontsize=9, color=INK)
    axes.set_ylabel(y_name, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, color=GREY, labelcolor=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.6)


def _hollow() -> dict[str, Any]:
    return {"color": "none", "markeredgecolor": INK, "markersize": 5, "markeredgewidth": 1.1}


def _legend(figure: Figure) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if len(handles) > 1:
        look: dict[str, Any] = {"frameon": False, "fontsize": 8, "labelcolor": INK}
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), **look)
