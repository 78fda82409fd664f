"""docs/claims.md and its pictures: the claims of the paper beside what was measured."""

from typing import Any

import pandas as pd
from kept import complete, kept
from matplotlib.figure import Figure
from pictures import DASHED, colours, dot_panels, legend, means, panels
from writing import grouped, listed, paired, spreads, table, table_of_groups

from cvae_lightning.reports.plots import ACCENT, GREY, INK, finish

SWEEPS = {
    "epochs": "experiment=claims/epochs",
    "learning_rate": "experiment=claims/learning_rate",
    "latent_dim": "experiment=claims/latent_dim",
    "label": "'experiment=glob(claims/label/*)' +sweep=seeds",
    "network": "'experiment=glob(claims/network/*)' +sweep=seeds",
}
SCORE, UNITS, LEAK = "test/score", "val/active_units", "val/label_leak"
LOSSES = ["train/loss", "val/loss"]
QUALITY = {SCORE: 2, "test/ssim": 4, "test/mse": 4, "test/fid_pixel": 2, "test/elbo": 2}
TITLES = ["Score, test", "SSIM", "MSE", "fid_pixel", "ELBO"]
INJECTIONS = {
    "concatenate": "concatenate",
    "add": "add",
    "modulate": "modulate",
    "encoder_only": "concatenate,\nencoder only",
    "decoder_only": "concatenate,\ndecoder only",
    "vae": "no label\n(VAE)",
}
CONDITIONAL = {name: title for name, title in INJECTIONS.items() if name != "vae"}  # whose Scores have one formula
NETWORKS = {"mlp": "mlp", "conv": "conv"}
ESTIMATORS = {
    "reinforce": "REINFORCE",
    "reinforce_baseline": "REINFORCE, with a baseline",
    "reparameterised": "reparameterised",
}
NEGLIGIBLE = 0.1  # nats, the amount by which the val loss varies from one epoch to the next

Values = dict[str, str]


def values() -> Values:
    """What stands for the placeholders of claims.md."""
    commands = {f"command_{name}": f"python -m cvae_lightning -m {overrides}" for name, overrides in SWEEPS.items()}
    parts = [epochs(), learning_rate(), latent_dim(), overfitting(), label(), gradients(), leak(), network()]
    return commands | {key: value for part in parts for key, value in part.items()}


def numbers(prefix: str, series: pd.Series, form: str) -> Values:
    """One placeholder per number, named after its index: lr_0_002."""
    return {f"{prefix}_{key}".replace(".", "_"): form.format(value) for key, value in series.items()}


def grid(by: str) -> pd.DataFrame:
    """The mean Score over latent_dim in the grid, one column per value of `by`."""
    return kept("grid/sweep").groupby(["lr", "epochs"])[SCORE].mean().unstack(by)


def epochs() -> Values:
    rows = complete("claims/epochs")
    score = rows.groupby("epochs")[SCORE].mean()
    steps = [(10, 20), (20, 30), (30, 50), (50, 100)]
    gains = [f"{10 * (score[end] - score[start]) / (end - start):.1f} from {start} to {end}" for start, end in steps]
    three_seeds = [cell for of_num in grouped(rows, "epochs").values() for cell in spreads(of_num, {SCORE: 2})]
    body = [["0.002, latent_dim 15, three seeds", *three_seeds]]
    for lr, row in grid("epochs").iterrows():
        body.append([f"{lr}, latent_dim 10 to 40, one seed", *map("{:.2f}".format, row), ""])
    first = rows.iloc[0]
    return {
        **numbers("score", score, "{:.1f}"),
        "gains": listed(gains),
        "table_epochs": table(["lr", *(f"{num} epochs" for num in score.index)], body),
        "versions": f"torch {first['torch'].partition('+')[0]}, {first['threads']} thread",
    }


def learning_rate() -> Values:
    rows, started = complete("claims/learning_rate"), kept("claims/learning_rate")
    body = []
    for lr, num in started.groupby("lr").size().items():
        of_lr = rows[rows["lr"] == lr]
        columns = {SCORE: 2, "val/loss": 2, "val/kl": 1, UNITS: 1}
        body.append([f"{lr:g}", f"{len(of_lr)} of {num}", *spreads(of_lr, columns)])
    head = ["lr, 10 epochs", "finished", "Score, test", "val loss", "val KL", "latents in use"]
    return {
        **numbers("lr", rows.groupby("lr")[SCORE].mean(), "{:.1f}"),
        **numbers("grid", grid("epochs")[50], "{:.2f}"),
        "diverged": str((started[started["lr"] == 0.1]["status"] == "failed").sum()),
        "table_learning_rate": table(head, body),
    }


def latent_dim() -> Values:
    rows = complete("claims/latent_dim")
    score = rows.groupby("latent_dim")[SCORE].mean()
    other: Any = score.drop(15).idxmax()
    difference = paired(rows, SCORE, "latent_dim", 15, other)
    head = ["latent_dim", "seeds", *TITLES, "latents in use"]
    return {
        "verdict_latent_dim": difference.verdict,
        "difference_latent_dim": difference.text,
        "other_latent_dim": str(other),
        "other_score": f"{score[other]:.2f}",
        "score_15": f"{score[15]:.2f}",
        "table_latent_dim": table_of_groups(head, grouped(rows, "latent_dim"), {"n": 0, **QUALITY, UNITS: 1}),
    }


def overfitting() -> Values:
    curves = kept("claims/epochs_curves")
    losses = curves.groupby("epoch")[LOSSES].mean()
    shown = losses.loc[[10, 20, 30, 50, 100]].rename(columns={"train/loss": "train loss", "val/loss": "val loss"})
    shown["difference"] = shown["val loss"] - shown["train loss"]
    lowest = curves.pivot_table(index="epoch", columns="seed", values="val/loss").idxmin()
    rise = losses["val/loss"].iloc[-1] - losses["val/loss"].min()
    body = [[str(name), *map("{:.2f}".format, line)] for name, line in shown.items()]
    return {
        "verdict_overfitting": "Wrong" if rise < NEGLIGIBLE else "Holds",
        **numbers("val", shown["val loss"], "{:.2f}"),
        **numbers("gap", shown["difference"], "{:.2f}"),
        "lowest": listed([str(epoch) for epoch in lowest]),
        "table_overfitting": table(["nats per image", *(f"{num} epochs" for num in shown.index)], body),
    }


def label() -> Values:
    rows = complete("claims/label")
    difference = paired(rows, SCORE, "experiment", "concatenate", "add")
    groups = grouped(rows, "experiment", in_one_line(CONDITIONAL))
    return {
        "verdict_concatenate": difference.verdict,
        "concatenate_add": difference.text,
        "modulate_concatenate": paired(rows, SCORE, "experiment", "modulate", "concatenate").text,
        "table_label": table_of_groups(["30 epochs", "parameters", *TITLES], groups, {"parameters": 0, **QUALITY}),
    }


def in_one_line(titles: Values) -> Values:
    return {name: title.replace("\n", " ") for name, title in titles.items()}


def gradients() -> Values:
    body: list[list[str]] = []
    ratios: Values = {}
    for num, of_num in variances().groupby("epochs")[list(ESTIMATORS)].mean().iterrows():
        plain, baseline = (f"1 / {significant(of_num[name] / of_num.iloc[2])}" for name in list(ESTIMATORS)[:2])
        ratios |= {f"ratio_{num}": plain, f"ratio_baseline_{num}": baseline}
        body.append([str(num or "untrained"), *map(significant, of_num[::-1]), baseline, plain])
    head = ["epochs", "reparameterised", "REINFORCE, baseline", "REINFORCE", "ratio, baseline", "ratio"]
    return {**ratios, "table_gradients": table(head, body)}


def variances() -> pd.DataFrame:
    """The variance of the gradient of each estimator, one row per run, and one per seed at epoch 0: untrained."""
    rows = complete("claims/epochs")
    columns = {f"val/gradient_variance_{name}": name for name in ESTIMATORS}
    first = rows.drop_duplicates("seed")
    untrained = first.assign(epochs=0, **{key: first[f"{key}_untrained"] for key in columns})
    return pd.concat([untrained, rows]).rename(columns=columns)


def significant(value: float) -> str:
    """Two significant digits, and all digits before the point: 0.025, 17, 81,000."""
    return f"{float(f'{value:.2g}'):,.10g}"


def leak() -> Values:
    rows = complete("claims/label")
    calibrated = grouped(kept("best/sweep"), "model", {"cvae": "`experiment=best`", "vae": "`experiment=best_vae`"})
    groups = grouped(rows, "experiment", in_one_line(INJECTIONS)) | calibrated
    head = ["label", "read from z, val", "val KL (nats)", "latents in use"]
    return {
        **numbers("leak", 100 * rows.groupby("experiment")[LEAK].mean(), "{:.0f} %"),
        "leak_best": f"{100 * calibrated['`experiment=best`'][LEAK].mean():.0f} %",
        "table_leak": table_of_groups(head, groups, {LEAK: 3, "val/kl": 1, UNITS: 1}),
    }


def network() -> Values:
    rows, longer = complete("claims/network"), complete("claims/epochs").groupby("epochs")["fit_seconds"].mean()
    seconds = rows.groupby("experiment")["fit_seconds"].mean()
    difference = paired(rows, SCORE, "experiment", "conv", "mlp")
    columns = {"parameters": 0, **QUALITY, "images_per_second": 0, "fit_seconds": 0}
    head = ["10 epochs", "parameters", *TITLES, "images/s", "training (s)"]
    return {
        "verdict_conv": difference.verdict,
        "conv_mlp": difference.text,
        "slower": f"{seconds['conv'] / seconds['mlp']:.0f}",
        "seconds_conv": f"{seconds['conv']:.0f}",
        "seconds_mlp_50": f"{longer[50]:.0f}",
        "table_network": table_of_groups(head, grouped(rows, "experiment", NETWORKS), columns),
    }


def draw_epochs() -> Figure:
    figure, (axes,) = panels(1, height=3.4, width=6.4)
    rates = grid("lr")
    note: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "fontsize": 8, "va": "center"}
    for lr, colour in zip(rates, colours(len(rates.columns)), strict=True):
        axes.plot(rates.index, rates[lr], color=colour, linewidth=1.4, marker="o", markersize=3)
        end = (rates.index[-1], rates[lr].iloc[-1])
        axes.annotate(f"lr {lr:g}, mean of five latent_dim", end, color=colour, **note)
    means(axes, complete("claims/epochs"), "epochs", SCORE, label="lr 0.002, latent_dim 15, three seeds")
    axes.axhline(25, **DASHED)
    legend(axes, loc="lower right")
    finish(axes, "", "epochs", "Score, test")
    return figure


def draw_learning_rate() -> Figure:
    figure, (scores, losses) = panels(2, height=3.2)
    means(scores, complete("claims/learning_rate"), "lr", SCORE)
    scores.set_xscale("log")
    finish(scores, "After 10 epochs", "lr", "Score, test")
    lines = kept("claims/learning_rate_curves").groupby(["lr", "epoch"])["val/loss"].mean().unstack("lr")
    for lr, colour in zip(lines, colours(len(lines.columns)), strict=True):
        losses.plot(lines.index, lines[lr], color=colour, linewidth=1.4, label=f"lr {lr:g}")
    legend(losses, loc="upper right", bbox_to_anchor=(1, 0.93))
    finish(losses, "Mean over seeds", "epoch", "val loss (nats per image)")
    return figure


def draw_latent_dim() -> Figure:
    figure, (scores, units) = panels(2, height=3.2)
    rows = complete("claims/latent_dim")
    means(scores, rows, "latent_dim", SCORE)
    means(units, rows, "latent_dim", UNITS)
    finish(scores, "lr 0.002, 50 epochs", "latent_dim", "Score, test")
    finish(units, "", "latent_dim", "latents in use, val")
    units.set_ylim(bottom=0)
    return figure


def draw_overfitting() -> Figure:
    figure, (losses, gaps) = panels(2, height=3.2)
    by_epoch = kept("claims/epochs_curves").groupby("epoch")[LOSSES].mean()
    for key, colour in zip(LOSSES, (GREY, ACCENT), strict=True):
        losses.plot(by_epoch.index, by_epoch[key], color=colour, linewidth=1.6, label=key.partition("/")[0])
    legend(losses)
    losses.set_ylim(by_epoch.min().min() - 0.5, by_epoch["val/loss"].loc[5])
    finish(losses, "Mean over three seeds", "epoch", "loss (nats per image)")
    gaps.plot(by_epoch.index, by_epoch["val/loss"] - by_epoch["train/loss"], color=INK, linewidth=1.6)
    gaps.set_ylim(bottom=-1)
    finish(gaps, "val loss minus train loss", "epoch", "nats per image")
    return figure


def draw_label() -> Figure:
    groups = grouped(complete("claims/label"), "experiment", CONDITIONAL)
    return dot_panels(groups, {SCORE: "Score, test", "test/fid_pixel": "fid_pixel, test"}, height=3.2)[0]


def draw_gradients() -> Figure:
    figure, (axes,) = panels(1, height=3.4, width=6.4)
    for (name, title), colour in zip(ESTIMATORS.items(), (GREY, INK, ACCENT), strict=True):
        means(axes, variances(), "epochs", name, colour, label=title)
    axes.set_yscale("log")
    legend(axes)
    finish(axes, "", "epochs; 0: untrained", "total variance of the gradient")
    return figure


def draw_leak() -> Figure:
    groups = grouped(complete("claims/label"), "experiment", INJECTIONS)
    figure, (axes,) = dot_panels(groups, {LEAK: ""}, height=2.8)
    axes.axvline(0.1, **DASHED)
    axes.set_xlim(0, 1)
    finish(axes, "", "share of the labels that a linear probe reads from z, val; dashed: guessing", "")
    return figure


def draw_network() -> Figure:
    groups = grouped(complete("claims/network"), "experiment", NETWORKS)
    titles = {SCORE: "Score, test", "images_per_second": "images/s, training"}
    figure, (_, speeds) = dot_panels(groups, titles, height=2.2)
    speeds.set_xscale("log")
    speeds.set_yticklabels([])
    return figure


PICTURES = {
    "claims/epochs.png": draw_epochs,
    "claims/learning_rate.png": draw_learning_rate,
    "claims/latent_dim.png": draw_latent_dim,
    "claims/overfitting.png": draw_overfitting,
    "claims/label.png": draw_label,
    "claims/gradients.png": draw_gradients,
    "claims/leak.png": draw_leak,
    "claims/network.png": draw_network,
}
