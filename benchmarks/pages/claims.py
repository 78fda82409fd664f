"""docs/claims.md and its pictures: the claims of the paper beside what was measured."""

from typing import Any

import pandas as pd
from kept import complete, kept
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from pages.benchmark import cell, families
from pictures import DASHED, colours, curves, dot_panels, legend, means, panels
from writing import (
    Cell,
    between,
    grouped,
    listed,
    once,
    paired,
    spread,
    spread_of,
    table,
    table_of_differences,
    table_of_groups,
    versions,
)

from cvae_lightning.reports.plots import ACCENT, GREY, INK, finish

SWEEPS = {
    "epochs": "experiment=claims/epochs",
    "learning_rate": "experiment=claims/learning_rate",
    "latent_dim": "experiment=claims/latent_dim",
    "label": "'experiment=glob(claims/label/*)' +sweep=seeds",
    "network": "'experiment=glob(claims/network/*)' +sweep=seeds",
}
SCORE, ELBO, UNITS, LEAK = "test/score", "val/elbo", "val/active_units", "val/label_leak"
LOSSES = ["train/loss", "val/loss"]
QUALITY = {
    "Score, test": spread_of(SCORE),
    "SSIM": spread_of("test/ssim", 4),
    "MSE": spread_of("test/mse", 4),
    "fid_pixel": spread_of("test/fid_pixel"),
    "ELBO": spread_of("test/elbo"),
}
IN_USE = {"latents in use": spread_of(UNITS, 1)}
SEEDS: dict[str, Cell] = {"seeds": lambda rows: str(len(rows))}
DECIMALS = {SCORE: 2, "test/ssim": 4, "test/mse": 4, "test/fid_pixel": 2, "test/elbo": 2}
LARGEST_CLASS = 0.1135  # 1,135 of the 10,000 images of test are ones
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

Values = dict[str, Any]


def values() -> Values:
    """What stands for the placeholders of claims.md: the values of each section under its name."""
    sections = (epochs, learning_rate, latent_dim, overfitting, label, gradients, leak, network)
    return {
        "command": {name: f"python -m cvae_lightning -m {overrides}" for name, overrides in SWEEPS.items()},
        "versions": versions(complete("claims/epochs")),
        "seeds": seeds(),
        **{section.__name__: section() for section in sections},
    }


def seeds() -> str:
    """The number of seeds per setting, such as "3", or "3 to 10"."""
    numbers = {kept(f"claims/{name}")["seed"].nunique() for name in SWEEPS}
    return " to ".join(map(str, sorted({min(numbers), max(numbers)})))


def grid(by: str) -> pd.DataFrame:
    """The mean Score over latent_dim in the grid, one column per value of `by`."""
    return kept("grid/sweep").groupby(["lr", "epochs"])[SCORE].mean().unstack(by)


def epochs() -> Values:
    rows = complete("claims/epochs")
    score = rows.groupby("epochs")[SCORE].mean()
    steps = [(10, 20), (20, 30), (30, 50), (50, 100)]
    gains = [f"{10 * (score[end] - score[start]) / (end - start):.1f} from {start} to {end}" for start, end in steps]
    body = [["0.002, latent_dim 15, three seeds", *(spread(runs[SCORE]) for _, runs in rows.groupby("epochs"))]]
    for lr, row in grid("epochs").iterrows():
        body.append([f"{lr}, latent_dim 10 to 40, one seed", *map("{:.2f}".format, row), ""])
    return {
        "score": score,
        "seconds": rows.groupby("epochs")["fit_seconds"].mean(),
        "gains": listed(gains),
        "rise": {f"{start}_{end}": paired(rows, SCORE, "epochs", end, start) for start, end in steps},
        "table": table(["lr", *(f"{num} epochs" for num in score.index)], body),
    }


def learning_rate() -> Values:
    started = kept("claims/learning_rate")
    columns: dict[str, Cell] = {
        "finished": lambda rows: f"{(rows['status'] == 'complete').sum()} of {len(rows)}",
        "Score, test": spread_of(SCORE),
        "val loss": spread_of("val/loss"),
        "val KL": spread_of("val/kl", 1),
        **IN_USE,
    }
    return {
        "score": started.groupby("lr")[SCORE].mean().rename(str),
        "score_50": grid("epochs")[50].rename(str),
        "against": {str(lr): paired(started, SCORE, "lr", 0.002, lr) for lr in (0.0001, 0.001, 0.005)},
        "started": (started["lr"] == 0.1).sum(),
        "diverged": (started[started["lr"] == 0.1]["status"] == "failed").sum(),
        "table": table_of_groups("lr, 10 epochs", grouped(started, "lr"), columns),
    }


def latent_dim() -> Values:
    rows = complete("claims/latent_dim")
    score = rows.groupby("latent_dim")[SCORE].mean()
    other: Any = score.drop(15).idxmax()
    fifteen = rows[rows["latent_dim"] == 15]

    def minus(others: pd.DataFrame) -> str:
        return "" if others["latent_dim"].iloc[0] == 15 else between(fifteen, others, SCORE).text

    columns = {**SEEDS, **QUALITY, **IN_USE, "Score of 15 minus this Score": minus}
    return {
        "score": score,
        "other": other,
        "other_score": score[other],
        "difference": paired(rows, SCORE, "latent_dim", 15, other),
        "table": table_of_groups("latent_dim", grouped(rows, "latent_dim"), columns),
    }


def overfitting() -> Values:
    curves = kept("claims/epochs_curves")
    losses = curves.groupby("epoch")[LOSSES].mean()
    shown = losses.loc[[10, 20, 30, 50, 100]].rename(columns={"train/loss": "train loss", "val/loss": "val loss"})
    shown["difference"] = shown["val loss"] - shown["train loss"]
    lowest = curves.pivot_table(index="epoch", columns="seed", values="val/loss").idxmin()
    body = [[str(name), *map("{:.2f}".format, line)] for name, line in shown.items()]
    rows = complete("claims/epochs")
    return {
        "late": paired(rows, "val/loss", "epochs", 100, 50),
        "val": shown["val loss"],
        "gap": shown["difference"],
        "lowest": listed([str(epoch) for epoch in lowest]),
        "table": table(["nats per image", *(f"{num} epochs" for num in shown.index)], body),
        "best": best_without_shifts(),
    }


def best_without_shifts() -> Values:
    """The val ELBO of `experiment=best` with shifted images and without, and the difference after 10 and 50 epochs."""
    best, short, long = kept("best/sweep"), kept("ablation/sweep"), kept("ablation/long")
    with_shifts, without = best[best["model"] == "cvae"], long[long["experiment"] == "no_shift"]
    return {
        "with": with_shifts[ELBO].mean(),
        "without": without[ELBO].mean(),
        "difference": between(without, with_shifts, ELBO).written(1),
        "early": paired(short, ELBO, "experiment", "no_shift", "best").written(1),
        "without_early": short[short["experiment"] == "no_shift"][ELBO].mean(),
        **losses_without_shifts(),
    }


def losses_without_shifts() -> Values:
    """Where the val loss of `experiment=best data.max_shift=0` is lowest, and what it and the train loss do after."""
    curves = kept("ablation/no_shift_curves")
    train, val = (curves.pivot_table(index="epoch", columns="seed", values=name) for name in LOSSES)
    return {
        "lowest": listed([str(epoch) for epoch in val.idxmin()]),
        "rise": (val.iloc[-1] - val.min()).max(),
        "fall": (train.loc[40] - train.iloc[-1]).mean(),
        "val_fall": (val.loc[40] - val.iloc[-1]).mean(),
        "gap": {epoch: (val.loc[epoch] - train.loc[epoch]).mean() for epoch in (10, 50)},
    }


def label() -> Values:
    rows = complete("claims/label")
    groups = grouped(rows, "experiment", in_one_line(CONDITIONAL))
    concatenate, add = (groups[name] for name in ("concatenate", "add"))
    columns = {**SEEDS, "parameters": once("parameters"), **QUALITY}
    return {
        "concatenate_add": between(concatenate, add, SCORE),
        "modulate_concatenate": paired(rows, SCORE, "experiment", "modulate", "concatenate"),
        "table": table_of_groups("30 epochs", groups, columns),
        "differences": table_of_differences("concatenation minus addition", concatenate, add, DECIMALS),
    }


def in_one_line(titles: dict[str, str]) -> dict[str, str]:
    return {name: title.replace("\n", " ") for name, title in titles.items()}


def gradients() -> Values:
    """The variances are means over seeds, the ratios those of the means; the range is that of the seeds' ratios."""
    names = ["reinforce_baseline", "reinforce"]
    rows = variances()
    means = rows.groupby("epochs")[["reparameterised", *names]].mean()
    by_run = rows[names].div(rows["reparameterised"], axis="index").groupby(rows["epochs"])
    ratios = means[names].div(means["reparameterised"], axis="index")
    written = ratios.map(lambda ratio: f"1 / {significant(ratio)}")
    low, high = (frame.map(significant) for frame in (by_run.min(), by_run.max()))
    ranges = (" (" + low + " to " + high + ")").where(low != high, "")
    both = zip(means.iterrows(), (written + ranges).to_numpy(), strict=True)
    body = [[str(num or "untrained"), *map(significant, row), *line] for (num, row), line in both]
    head = ["epochs", "reparameterised", "REINFORCE, baseline", "REINFORCE", "ratio, baseline", "ratio"]
    factors = (ratios.max() / ratios.min()).map(significant)
    return {"ratio": written, "factor": factors, "table": table(head, body)}


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
    columns = {**SEEDS, "read from z, val": spread_of(LEAK, 3), "val KL (nats)": spread_of("val/kl", 1), **IN_USE}
    return {
        "percent": 100 * rows.groupby("experiment")[LEAK].mean(),
        "percent_best": {name: 100 * group[LEAK].mean() for name, group in kept("best/sweep").groupby("model")},
        "difference": paired(rows, LEAK, "experiment", "vae", "concatenate"),
        "guessing": 100 * LARGEST_CLASS,
        "table": table_of_groups("label", groups, columns),
    }


def network() -> Values:
    rows = complete("claims/network")
    seconds = rows.groupby("experiment")["fit_seconds"].mean()
    times = {"images/s": spread_of("images_per_second", 0), "training (s)": spread_of("fit_seconds", 0)}
    columns = {**SEEDS, "parameters": once("parameters"), **QUALITY, **times}
    mlp, conv = (rows[rows["experiment"] == name] for name in NETWORKS)
    return {
        "conv_mlp": between(conv, mlp, SCORE),
        "slower": seconds["conv"] / seconds["mlp"],
        "seconds": seconds,
        "table": table_of_groups("10 epochs", grouped(rows, "experiment", NETWORKS), columns),
        "differences": table_of_differences("`conv` minus `mlp`", conv, mlp, DECIMALS),
        "best": best_networks(),
    }


def best_networks() -> Values:
    """`experiment=best_conv` beside `experiment=best`, on test."""
    best, conv = (kept(f"{name}/sweep").query("model == 'cvae'") for name in ("best", "best_conv"))
    rows = families()
    sizes = rows["parameters"]
    decimals = {"test/score_uncapped": 2, "test/ssim": 4, "test/mse": 5, "test/fid_judge": 3, "test/accuracy": 4}
    return {
        **{name: cell(rows.loc[f"cvae_{name}"], "test/mse", 4) for name in ("paper", "paper_conv")},
        "fewer": 100 * (1 - sizes["cvae_best_conv"] / sizes["cvae_best"]),
        "parameters": sizes,
        "mse": between(conv, best, "test/mse").written(5),
        "fid_judge": between(conv, best, "test/fid_judge").written(3),
        "differences": table_of_differences("`best_conv` minus `best`", conv, best, decimals),
    }


def draw_epochs() -> Figure:
    figure, (axes,) = panels(1, height=3.4)
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
    curves(losses, lines.rename(columns="lr {:g}".format), colours(len(lines.columns)), linewidth=1.4)
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
    figure, (losses, best) = panels(2, height=3.2)
    by_epoch = kept("claims/epochs_curves").groupby("epoch")[LOSSES].mean()
    names = {"train/loss": "train", "val/loss": "val"}
    curves(losses, by_epoch.rename(columns=names), (GREY, ACCENT), linewidth=1.6)
    legend(losses)
    losses.set_ylim(by_epoch.min().min() - 0.5, by_epoch["val/loss"].loc[5])
    finish(losses, "The paper's settings", "epoch", "loss (nats per image)")
    without_shifts = kept("ablation/no_shift_curves").groupby("epoch")[LOSSES].mean()
    curves(best, without_shifts.rename(columns=names), (GREY, ACCENT), linewidth=1.6)
    legend(best)
    best.set_ylim(without_shifts.min().min() - 20, without_shifts["val/loss"].loc[5])
    finish(best, "experiment=best without shifts", "epoch", "loss (nats per image)")
    return figure


def draw_label() -> Figure:
    groups = grouped(complete("claims/label"), "experiment", CONDITIONAL)
    return dot_panels(groups, {SCORE: "Score, test", "test/fid_pixel": "fid_pixel, test"}, height=3.2)[0]


def draw_gradients() -> Figure:
    figure, (axes,) = panels(1, height=3.4)
    for (name, title), colour in zip(ESTIMATORS.items(), (GREY, INK, ACCENT), strict=True):
        means(axes, variances(), "epochs", name, colour, label=title)
    axes.set_yscale("log")
    legend(axes)
    finish(axes, "", "epochs; 0: untrained", "total variance of the gradient")
    return figure


def draw_leak() -> Figure:
    groups = grouped(complete("claims/label"), "experiment", INJECTIONS)
    figure, (axes,) = dot_panels(groups, {LEAK: ""}, height=2.8)
    axes.axvline(LARGEST_CLASS, **DASHED)
    axes.set_xlim(0, 1)
    finish(axes, "", "share of the labels that a linear probe reads from z, val; dashed: guessing", "")
    return figure


def draw_network() -> Figure:
    groups = grouped(complete("claims/network"), "experiment", NETWORKS)
    titles = {SCORE: "Score, test", "images_per_second": "images/s, training"}
    figure, (_, speeds) = dot_panels(groups, titles, height=2.2)
    speeds.set_xscale("log")
    speeds.set_xticks([2000, 5000, 10_000, 20_000], labels=["2,000", "5,000", "10,000", "20,000"])
    speeds.xaxis.set_minor_formatter(NullFormatter())
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
