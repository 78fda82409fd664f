"""docs/claims.md and its pictures: the claims of the paper beside what was measured."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from kept import complete, kept
from matplotlib.figure import Figure
from pictures import DASHED, colours, dots, legend, means, panels
from writing import listed, paired, spreads, table, table_of_groups

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
ESTIMATORS = {
    "reinforce": "REINFORCE",
    "reinforce_baseline": "REINFORCE, with a baseline",
    "reparameterised": "reparameterised",
}
NEGLIGIBLE = 0.1  # nats, the amount by which the val loss varies from one epoch to the next

Values = Mapping[str, str]


def values() -> dict[str, str]:
    """What stands for the placeholders of claims.md."""
    commands = {f"command_{name}": f"python -m cvae_lightning -m {overrides}" for name, overrides in SWEEPS.items()}
    parts = [epochs(), learning_rate(), latent_dim(), overfitting(), label(), gradients(), leak(), network()]
    return {**commands, **{key: value for part in parts for key, value in part.items()}}


def epochs() -> Values:
    rows, grid = complete("claims/epochs"), kept("grid/sweep").groupby(["lr", "epochs"])[SCORE].mean().unstack("epochs")
    score = rows.groupby("epochs")[SCORE].mean()
    steps = [(10, 20), (20, 30), (30, 50), (50, 100)]
    gains = [f"{10 * (score[end] - score[start]) / (end - start):.1f} from {start} to {end}" for start, end in steps]
    three_seeds = [cell for _, of_num in rows.groupby("epochs") for cell in spreads(of_num, {SCORE: 2})]
    one_seed = [[f"{lr}, latent_dim 10 to 40, one seed", *map("{:.2f}".format, row), ""] for lr, row in grid.iterrows()]
    head = ["lr", *(f"{num} epochs" for num in score.index)]
    first = rows.iloc[0]
    return {
        **{f"score_{num}": f"{mean:.1f}" for num, mean in score.items()},
        "gains": listed(gains),
        "table_epochs": table(head, [["0.002, latent_dim 15, three seeds", *three_seeds], *one_seed]),
        "versions": f"torch {first['torch'].partition('+')[0]}, {first['threads']} thread",
    }


def learning_rate() -> Values:
    rows, started = complete("claims/learning_rate"), kept("claims/learning_rate")
    grid = kept("grid/sweep").groupby(["lr", "epochs"])[SCORE].mean()
    columns = {SCORE: 2, "val/loss": 2, "val/kl": 1, UNITS: 1}
    body = []
    for lr, num in started.groupby("lr").size().items():
        of_lr = rows[rows["lr"] == lr]
        body.append([f"{lr:g}", f"{len(of_lr)} of {num}", *spreads(of_lr, columns)])
    head = ["lr, 10 epochs", "finished", "Score, test", "val loss", "val KL", "latents in use"]
    return {
        **{f"lr_{lr:g}".replace(".", "_"): f"{mean:.1f}" for lr, mean in rows.groupby("lr")[SCORE].mean().items()},
        **{f"grid_{lr:g}".replace(".", "_"): f"{grid[lr, 50]:.2f}" for lr in (0.001, 0.002, 0.005)},
        "diverged": str((started[started["lr"] == 0.1]["status"] == "failed").sum()),
        "table_learning_rate": table(head, body),
    }


def latent_dim() -> Values:
    rows = complete("claims/latent_dim")
    score = rows.groupby("latent_dim")[SCORE].mean()
    body = [
        [str(size), str(len(of_size)), *spreads(of_size, {**QUALITY, UNITS: 1})]
        for size, of_size in rows.groupby("latent_dim")
    ]
    others = score.drop(15)
    difference = paired(rows, SCORE, "latent_dim", 15, others.idxmax())
    return {
        "verdict_latent_dim": difference.verdict,
        "difference_latent_dim": difference.text,
        "other_latent_dim": str(others.idxmax()),
        "other_score": f"{others.max():.2f}",
        "score_15": f"{score[15]:.2f}",
        "table_latent_dim": table(["latent_dim", "seeds", *TITLES, "latents in use"], body),
    }


def overfitting() -> Values:
    curves = kept("claims/epochs_curves")
    losses = curves.groupby("epoch")[LOSSES].mean()
    lowest = curves.pivot_table(index="epoch", columns="seed", values="val/loss").idxmin()
    shown = losses.loc[[10, 20, 30, 50, 100]]
    gap = shown["val/loss"] - shown["train/loss"]
    lines = {"train loss": shown["train/loss"], "val loss": shown["val/loss"], "difference": gap}
    body = [[name, *(f"{value:.2f}" for value in line)] for name, line in lines.items()]
    rise = losses["val/loss"].iloc[-1] - losses["val/loss"].min()
    return {
        "verdict_overfitting": "Wrong" if rise < NEGLIGIBLE else "Holds",
        **{f"val_{num}": f"{value:.2f}" for num, value in shown["val/loss"].items()},
        "gap_100": f"{gap[100]:.2f}",
        "lowest": listed([str(epoch) for epoch in lowest]),
        "table_overfitting": table(["nats per image", *(f"{num} epochs" for num in shown.index)], body),
    }


def label() -> Values:
    rows = complete("claims/label")
    conditional = injections(rows[rows["experiment"] != "vae"])  # the Score of a VAE has another formula
    body = [[title, parameters(of_name), *spreads(of_name, QUALITY)] for title, of_name in conditional.items()]
    difference = paired(rows, SCORE, "experiment", "concatenate", "add")
    return {
        "verdict_concatenate": difference.verdict,
        "concatenate_add": difference.text,
        "modulate_concatenate": paired(rows, SCORE, "experiment", "modulate", "concatenate").text,
        "table_label": table(["30 epochs", "parameters", *TITLES], body),
    }


def gradients() -> Values:
    rows = variances()
    by_epochs = rows.groupby("epochs")[list(ESTIMATORS)].mean()
    body: list[list[str]] = []
    ratios: dict[str, str] = {}
    for num, of_num in by_epochs.iterrows():
        baseline, plain = (
            f"1 / {significant(of_num[name] / of_num['reparameterised'])}"
            for name in ("reinforce_baseline", "reinforce")
        )
        ratios |= {f"ratio_{num}": plain, f"ratio_baseline_{num}": baseline}
        cells = [significant(of_num[name]) for name in ("reparameterised", "reinforce_baseline", "reinforce")]
        body.append([str(num or "untrained"), *cells, baseline, plain])
    head = ["epochs", "reparameterised", "REINFORCE, baseline", "REINFORCE", "ratio, baseline", "ratio"]
    return {**ratios, "table_gradients": table(head, body)}


def leak() -> Values:
    rows, best = complete("claims/label"), kept("best/sweep")
    calibrated = {"`experiment=best`": "cvae", "`experiment=best_vae`": "vae"}
    groups = injections(rows) | {title: best[best["model"] == model] for title, model in calibrated.items()}
    head = ["label", "read from z, val", "val KL (nats)", "latents in use"]
    return {
        **{f"leak_{name}": f"{100 * mean:.0f} %" for name, mean in rows.groupby("experiment")[LEAK].mean().items()},
        "leak_best": f"{100 * groups['`experiment=best`'][LEAK].mean():.0f} %",
        "table_leak": table_of_groups(head, groups, {LEAK: 3, "val/kl": 1, UNITS: 1}),
    }


def network() -> Values:
    rows, longer = complete("claims/network"), complete("claims/epochs").groupby("epochs")["fit_seconds"].mean()
    columns = {**QUALITY, "images_per_second": 0, "fit_seconds": 0}
    groups = {name: rows[rows["experiment"] == name] for name in ("mlp", "conv")}
    body = [[name, parameters(group), *spreads(group, columns)] for name, group in groups.items()]
    seconds = rows.groupby("experiment")["fit_seconds"].mean()
    difference = paired(rows, SCORE, "experiment", "conv", "mlp")
    return {
        "verdict_conv": difference.verdict,
        "conv_mlp": difference.text,
        "slower": f"{seconds['conv'] / seconds['mlp']:.0f}",
        "seconds_conv": f"{seconds['conv']:.0f}",
        "seconds_mlp_50": f"{longer[50]:.0f}",
        "table_network": table(["10 epochs", "parameters", *TITLES, "images/s", "training (s)"], body),
    }


def injections(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each way to inject the label, by its title."""
    there = set(rows["experiment"])
    return {
        title.replace("\n", " "): rows[rows["experiment"] == name]
        for name, title in INJECTIONS.items()
        if name in there
    }


def variances() -> pd.DataFrame:
    """The variance of the gradient of each estimator, one row per run, and one per seed at epoch 0: untrained."""
    rows = complete("claims/epochs")
    columns = {f"val/gradient_variance_{name}": name for name in ESTIMATORS}
    first = rows.drop_duplicates("seed")
    untrained = first.assign(epochs=0, **{key: first[f"{key}_untrained"] for key in columns})
    return pd.concat([untrained, rows]).rename(columns=columns)


def parameters(rows: pd.DataFrame) -> str:
    return f"{rows['parameters'].iloc[0]:,.0f}"


def significant(value: float) -> str:
    """Two significant digits, and all digits before the point: 0.025, 17, 81,000."""
    return f"{float(f'{value:.2g}'):,.10g}"


def draw_epochs() -> Figure:
    figure, (axes,) = panels(1, height=3.4, width=6.4)
    grid = kept("grid/sweep").groupby(["lr", "epochs"])[SCORE].mean().unstack("lr")
    for lr, colour in zip(grid, colours(len(grid.columns)), strict=True):
        axes.plot(grid.index, grid[lr], color=colour, linewidth=1.4, marker="o", markersize=3)
        look: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "fontsize": 8, "va": "center"}
        end = (grid.index[-1], grid[lr].iloc[-1])
        axes.annotate(f"lr {lr:g}, mean of five latent_dim", end, color=colour, **look)
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
    figure, (scores, distances) = panels(2, height=3.2)
    rows = complete("claims/label")
    conditional = {title: rows[rows["experiment"] == name] for name, title in INJECTIONS.items() if name != "vae"}
    for axes, key, title in ((scores, SCORE, "Score, test"), (distances, "test/fid_pixel", "fid_pixel, test")):
        dots(axes, {name: of_name[key] for name, of_name in conditional.items()})
        finish(axes, title, "", "")
    distances.set_yticklabels([])
    return figure


def draw_gradients() -> Figure:
    figure, (axes,) = panels(1, height=3.4, width=6.4)
    rows = variances()
    for (name, title), colour in zip(ESTIMATORS.items(), (GREY, INK, ACCENT), strict=True):
        means(axes, rows, "epochs", name, colour, label=title)
    axes.set_yscale("log")
    legend(axes)
    finish(axes, "", "epochs; 0: untrained", "total variance of the gradient")
    return figure


def draw_leak() -> Figure:
    figure, (axes,) = panels(1, height=2.8, width=6.4)
    rows = complete("claims/label")
    dots(axes, {title: rows[rows["experiment"] == name][LEAK] for name, title in INJECTIONS.items()})
    axes.axvline(0.1, **DASHED)
    axes.set_xlim(0, 1)
    finish(axes, "", "share of the labels that a linear probe reads from z, val; dashed: guessing", "")
    return figure


def draw_network() -> Figure:
    figure, (scores, speeds) = panels(2, height=2.2)
    rows = complete("claims/network")
    for axes, key, title in ((scores, SCORE, "Score, test"), (speeds, "images_per_second", "images/s, training")):
        dots(axes, {name: rows[rows["experiment"] == name][key] for name in ("mlp", "conv")})
        finish(axes, title, "", "")
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
