"""The pictures of docs/claims.md, one a claim: points are means over seeds, bars standard deviations."""

from typing import Any

import numpy as np
import pandas as pd
from claims_data import complete, curves, reference
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cvae_lightning.reports.plots import ACCENT, GREY, INK, LINES, finish, new_figure

SCORE = "test/score"
ORDER = {
    "concatenate": "concatenate",
    "add": "add",
    "modulate": "modulate",
    "encoder_only": "concatenate,\nencoder only",
    "decoder_only": "concatenate,\ndecoder only",
    "vae": "no label\n(VAE)",
}
ESTIMATORS = {
    "reinforce": "REINFORCE",
    "reinforce_baseline": "REINFORCE, with a baseline",
    "reparameterised": "reparameterised",
}


def pictures() -> dict[str, Figure]:
    """By the names of their files."""
    return {
        "epochs": epochs(),
        "learning_rate": learning_rate(),
        "latent_dim": latent_dim(),
        "overfitting": overfitting(),
        "label": label(),
        "gradients": gradients(),
        "leak": leak(),
        "network": network(),
    }


def epochs() -> Figure:
    figure, (axes,) = new_figure(1, height=3.4)
    grid = reference("grid").groupby(["lr", "epochs"])[SCORE].mean().unstack("lr")
    for lr, colour in zip(grid, _colours(len(grid.columns)), strict=True):
        axes.plot(grid.index, grid[lr], color=colour, linewidth=1.4, marker="o", markersize=3)
        _name(axes, grid.index[-1], grid[lr].iloc[-1], f"lr {lr:g}, mean of five latent_dim", colour)
    _points(axes, complete("epochs"), "epochs", SCORE, ACCENT, label="lr 0.002, latent_dim 15, three seeds")
    axes.axhline(25, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="lower right")
    finish(axes, "", "epochs", "Score, test")
    return figure


def learning_rate() -> Figure:
    figure, (scores, losses) = _two_panels()
    _points(scores, complete("learning_rate"), "lr", SCORE, ACCENT)
    scores.set_xscale("log")
    finish(scores, "After 10 epochs", "lr", "Score, test")
    lines = curves("learning_rate").groupby(["lr", "epoch"])["val/loss"].mean().unstack("lr")
    for lr, colour in zip(lines, _colours(len(lines.columns)), strict=True):
        losses.plot(lines.index, lines[lr], color=colour, linewidth=1.4, label=f"lr {lr:g}")
    losses.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper right", bbox_to_anchor=(1, 0.93))
    finish(losses, "Mean over seeds", "epoch", "val loss (nats per image)")
    return figure


def latent_dim() -> Figure:
    figure, (scores, units) = _two_panels()
    rows = complete("latent_dim")
    _points(scores, rows, "latent_dim", SCORE, ACCENT)
    _points(units, rows, "latent_dim", "val/active_units", ACCENT)
    finish(scores, "lr 0.002, 50 epochs", "latent_dim", "Score, test")
    finish(units, "", "latent_dim", "latents in use, val")
    units.set_ylim(bottom=0)
    return figure


def overfitting() -> Figure:
    figure, (losses, gaps) = _two_panels()
    by_epoch = curves("epochs").groupby("epoch")[["train/loss", "val/loss"]].mean()
    for key, colour in (("train/loss", GREY), ("val/loss", ACCENT)):
        losses.plot(by_epoch.index, by_epoch[key], color=colour, linewidth=1.6, label=key.partition("/")[0])
    losses.legend(frameon=False, fontsize=8, labelcolor=INK)
    losses.set_ylim(by_epoch.min().min() - 0.5, by_epoch["val/loss"].loc[5])
    finish(losses, "Mean over three seeds", "epoch", "loss (nats per image)")
    gaps.plot(by_epoch.index, by_epoch["val/loss"] - by_epoch["train/loss"], color=INK, linewidth=1.6)
    gaps.set_ylim(bottom=-1)
    finish(gaps, "val loss minus train loss", "epoch", "nats per image")
    return figure


def label() -> Figure:
    figure, (scores, fids) = _two_panels()
    rows = _in_order(complete("label"), [name for name in ORDER if name != "vae"])
    _across(scores, rows, SCORE)
    finish(scores, "Score, test", "", "")
    _across(fids, rows, "test/fid_pixel")
    fids.set_yticklabels([])
    finish(fids, "fid_pixel, test", "", "")
    return figure


def gradients() -> Figure:
    figure, (axes,) = new_figure(1, height=3.4)
    rows = complete("epochs")
    for (name, title), colour in zip(ESTIMATORS.items(), (GREY, INK, ACCENT), strict=True):
        key = f"val/gradient_variance_{name}"
        first = rows.drop_duplicates("seed").assign(epochs=0, **{key: lambda frame, of=key: frame[f"{of}_untrained"]})
        _points(axes, pd.concat([first, rows]), "epochs", key, colour, label=title)
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    finish(axes, "", "epochs; 0: untrained", "total variance of the gradient")
    return figure


def leak() -> Figure:
    figure, (axes,) = new_figure(1, height=2.8)
    _across(axes, _in_order(complete("label"), list(ORDER)), "val/label_leak")
    axes.axvline(0.1, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xlim(0, 1)
    finish(axes, "", "share of the labels that a linear probe reads from z, val; dashed: guessing", "")
    return figure


def network() -> Figure:
    figure, (scores, speeds) = _two_panels(height=2.2)
    rows = _in_order(complete("network"), ["mlp", "conv"])
    for axes, key, title in ((scores, SCORE, "Score, test"), (speeds, "images_per_second", "images/s, training")):
        _across(axes, rows, key)
        finish(axes, title, "", "")
    speeds.set_xscale("log")
    speeds.set_yticklabels([])
    return figure


def _two_panels(height: float = 3.2) -> tuple[Figure, tuple[Axes, Axes]]:
    """With axes of their own."""
    figure = Figure(figsize=(7.6, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    return figure, (left, right)


def _points(axes: Axes, rows: pd.DataFrame, x: str, y: str, colour: Any, label: str = "") -> None:
    groups = rows.groupby(x)[y]
    look: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.6, "capsize": 2, "color": colour}
    axes.errorbar(groups.mean().index, groups.mean(), groups.std().fillna(0), label=label, **look)


def _across(axes: Axes, rows: pd.DataFrame, key: str) -> None:
    """One line a choice, in the order of the rows, and a point a seed."""
    names = list(dict.fromkeys(rows["experiment"]))
    heights = [-names.index(name) for name in rows["experiment"]]
    axes.plot(rows[key], heights, "o", color=ACCENT, alpha=0.75, markersize=5)
    axes.set_yticks([-place for place in range(len(names))], [ORDER.get(name, name) for name in names])
    axes.set_ylim(0.5 - len(names), 0.5)


def _in_order(rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return pd.concat([rows[rows["experiment"] == name] for name in names])


def _colours(num: int) -> list[Any]:
    return list(LINES(np.linspace(0, 1, num)))


def _name(axes: Axes, x: float, y: float, text: str, colour: Any) -> None:
    axes.annotate(text, (x, y), xytext=(6, 0), textcoords="offset points", fontsize=8, color=colour, va="center")
