"""The picture of docs/theory.md: the error and the KL of VAEs follow from the product of beta and the variance."""

import math
from typing import Any

from kept import REFERENCE, kept
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pictures import DASHED, legend, panels
from PIL import Image

from cvae_lightning.reports.plots import ACCENT, INK, finish

NUM_PIXELS, LATENT_DIM = 784, 20
BLUE, GOLD = "#30638e", "#edae49"
RECONSTRUCTIONS = REFERENCE / "theory" / "reconstructions.png"
SHOWN = {0.01: "0.01", 0.1: "0.1", 1.0: "1", 5.0: "5", 784.0: "784"}
"""The weights whose reconstructions are shown."""
WAYS: dict[str, dict[str, Any]] = {
    "variance": {"s": 55, "color": BLUE, "label": "the variance varied, beta 1"},
    "beta": {
        "s": 190,
        "facecolor": "none",
        "edgecolor": ACCENT,
        "linewidth": 1.8,
        "label": "beta varied, variance 0.5",
    },
    "optimal": {"s": 75, "marker": "D", "color": GOLD, "label": "variance = MSE (sigma-VAE), beta 1"},
}


def linear_model(variances: list[float], level: float) -> tuple[float, float]:
    """The KL and the MSE of the best linear VAE: it keeps the components above `level`, with that error each."""
    encoded = [value for value in variances[:LATENT_DIM] if value > level]
    kl = sum(0.5 * math.log(value / level) for value in encoded)
    return kl, (len(encoded) * level + sum(variances[len(encoded) :])) / NUM_PIXELS


def draw() -> Figure:
    figure, (left, right) = panels(2, height=5, width=8.6, width_ratios=[2.25, 1])
    draw_frontier(left)
    with Image.open(RECONSTRUCTIONS) as image:
        right.imshow(image.copy(), cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
    names = ["original", *SHOWN.values()]
    finish(right, "", "2 * beta * variance", "")
    right.set_xticks([28 * column + 14 for column in range(len(names))], names)
    right.set_yticks([])
    right.tick_params(length=0)
    right.spines[:].set_visible(False)
    return figure


def draw_frontier(axes: Axes) -> None:
    """The MSE and KL of the kept runs, and those of the best linear VAEs."""
    variances = kept("theory/principal_variances")["variance"].to_list()
    levels = [variances[0] * 0.94**step for step in range(105)]
    kl, mse = zip(*(linear_model(variances, level) for level in levels), strict=True)
    axes.plot(kl, mse, **{**DASHED, "linewidth": 1.2}, zorder=1)
    note: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8}
    axes.annotate("the best linear VAE", (kl[60], mse[60]), (6, 6), color=DASHED["color"], **note)
    rows = kept("theory/sweep")
    line = rows[rows["way"] != "optimal"].sort_values("val/kl")
    axes.plot(line["val/kl"], line["val/mse"], color=INK, alpha=0.12, linewidth=6, zorder=1)
    for way, look in WAYS.items():
        points = rows[rows["way"] == way]
        axes.scatter(points["val/kl"], points["val/mse"], zorder=3, **look)
    titles = {1.0: "1, the paper", 784.0: "25 and 784, a mean over pixels:\nnothing is learned"}
    for _, row in rows.iterrows():
        weight = 2 * row["beta"] * row["variance"]  # the squared error that one nat has to save
        if (row["way"] == "variance" and weight < 20) or weight == 784:
            title = titles.get(round(weight, 4), f"{weight:.2g}")
            axes.annotate(title, (row["val/kl"], row["val/mse"]), (10, 6), color=INK, **note)
    finish(axes, "The product of beta and the variance decides", "KL, nats per image", "MSE of reconstructions")
    axes.set_yscale("log")
    axes.set_ylim(0.01, 0.09)
    axes.set_yticks([0.01, 0.02, 0.03, 0.05, 0.07], ["0.01", "0.02", "0.03", "0.05", "0.07"])
    axes.minorticks_off()
    legend(axes, loc="upper right")


PICTURES = {"figures/beta_and_variance.png": draw}
