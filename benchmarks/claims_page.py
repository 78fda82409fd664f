"""docs/claims.md: the prose of claims_page.md with numbers and tables, all of them from csv files."""

from pathlib import Path
from string import Template

import pandas as pd
from claims_data import SWEEPS, command_of, complete, curves, reference, runs
from claims_pictures import ESTIMATORS, ORDER, SCORE
from page_text import listed, paired, spread, spreads, table

QUALITY = {SCORE: 2, "test/ssim": 4, "test/mse": 4, "test/fid_pixel": 2, "test/elbo": 2}
TITLES = ["Score, test", "SSIM", "MSE", "fid_pixel", "ELBO"]

NEGLIGIBLE = 0.1  # nats, by which the val loss goes up and down from one epoch to the next

Values = dict[str, str]


def page() -> str:
    commands = {f"command_{sweep}": command_of(sweep) for sweep in SWEEPS}
    values = [epochs(), learning_rate(), latent_dim(), overfitting(), label(), gradients(), leak(), network()]
    text = Path(__file__).with_name("claims_page.md").read_text()
    return Template(text).substitute(commands, **{key: value for part in values for key, value in part.items()})


def epochs() -> Values:
    rows, grid = complete("epochs"), reference("grid").groupby(["lr", "epochs"])[SCORE].mean().unstack("epochs")
    means = rows.groupby("epochs")[SCORE].mean()
    steps = [(10, 20), (20, 30), (30, 50), (50, 100)]
    gains = [f"{10 * (means[end] - means[start]) / (end - start):.1f} from {start} to {end}" for start, end in steps]
    three_seeds = ["0.002, latent_dim 15, three seeds", *spreads(rows, "epochs", SCORE)]
    one_seed = [[f"{lr}, latent_dim 10 to 40, one seed", *map("{:.2f}".format, row), ""] for lr, row in grid.iterrows()]
    head = ["lr", *(f"{num} epochs" for num in means.index)]
    first = rows.iloc[0]
    return {
        **{f"score_{num}": f"{mean:.1f}" for num, mean in means.items()},
        "gains": listed(gains),
        "table_epochs": table(head, [three_seeds, *one_seed]),
        "versions": f"torch {first['torch'].partition('+')[0]}, {first['threads']} thread",
    }


def learning_rate() -> Values:
    rows, grid = complete("learning_rate"), reference("grid").groupby(["lr", "epochs"])[SCORE].mean()
    columns = {SCORE: 2, "val/loss": 2, "val/kl": 1, "val/active_units": 1}
    body = []
    for lr, num in runs("learning_rate").groupby("lr").size().items():
        of_lr = rows[rows["lr"] == lr]
        body.append([f"{lr:g}", f"{len(of_lr)} of {num}", *cells(of_lr, columns)])
    head = ["lr, 10 epochs", "ended well", "Score, test", "val loss", "val KL", "latents in use"]
    means = rows.groupby("lr")[SCORE].mean()
    return {
        **{f"lr_{lr:g}".replace(".", "_"): f"{mean:.1f}" for lr, mean in means.items()},
        **{f"grid_{lr:g}".replace(".", "_"): f"{grid[lr, 50]:.2f}" for lr in (0.001, 0.002, 0.005)},
        "diverged": str((runs("learning_rate").query("lr == 0.1")["status"] == "failed").sum()),
        "table_learning_rate": table(head, body),
    }


def latent_dim() -> Values:
    rows = complete("latent_dim")
    means = rows.groupby("latent_dim")[SCORE].mean()
    columns = {**QUALITY, "val/active_units": 1}
    body = [[str(size), str(len(of_size)), *cells(of_size, columns)] for size, of_size in rows.groupby("latent_dim")]
    others = means.drop(15)
    difference = paired(rows, SCORE, "latent_dim", 15, others.idxmax())
    return {
        "verdict_latent_dim": difference.verdict,
        "difference_latent_dim": difference.text,
        "other_latent_dim": str(others.idxmax()),
        "other_score": f"{others.max():.2f}",
        "score_15": f"{means[15]:.2f}",
        "table_latent_dim": table(["latent_dim", "seeds", *TITLES, "latents in use"], body),
    }


def overfitting() -> Values:
    losses = curves("epochs").groupby("epoch")[["train/loss", "val/loss"]].mean()
    lowest = curves("epochs").pivot_table(index="epoch", columns="seed", values="val/loss").idxmin()
    shown = losses.loc[[10, 20, 30, 50, 100]]
    gap = shown["val/loss"] - shown["train/loss"]
    lines = {"train loss": shown["train/loss"], "val loss": shown["val/loss"], "difference": gap}
    body = [[name, *(f"{value:.2f}" for value in values)] for name, values in lines.items()]
    rise = losses["val/loss"].iloc[-1] - losses["val/loss"].min()
    return {
        "verdict_overfitting": "Wrong" if rise < NEGLIGIBLE else "Holds",
        **{f"val_{num}": f"{value:.2f}" for num, value in shown["val/loss"].items()},
        "gap_100": f"{gap[100]:.2f}",
        "lowest": listed([str(epoch) for epoch in lowest]),
        "table_overfitting": table(["nats per image", *(f"{num} epochs" for num in shown.index)], body),
    }


def label() -> Values:
    rows = complete("label")
    body = []
    for name, title in ORDER.items():
        of_name = rows[rows["experiment"] == name]
        if name != "vae":  # whose Score is another formula
            body.append([title.replace("\n", " "), parameters(of_name), *cells(of_name, QUALITY)])
    difference = paired(rows, SCORE, "experiment", "concatenate", "add")
    return {
        "verdict_concatenate": difference.verdict,
        "concatenate_add": difference.text,
        "modulate_concatenate": paired(rows, SCORE, "experiment", "modulate", "concatenate").text,
        "table_label": table(["30 epochs", "parameters", *TITLES], body),
    }


def gradients() -> Values:
    rows = complete("epochs")
    keys = {f"val/gradient_variance_{name}": name for name in ESTIMATORS}
    first = rows.drop_duplicates("seed")
    untrained = first.assign(epochs=0, **{key: first[f"{key}_untrained"] for key in keys})
    means = pd.concat([untrained, rows]).groupby("epochs")[list(keys)].mean().rename(columns=keys)
    body = []
    values: Values = {}
    for num, of_num in means.iterrows():
        share = {name: f"1 / {significant(variance / of_num['reparameterised'])}" for name, variance in of_num.items()}
        values |= {f"ratio_{num}": share["reinforce"], f"ratio_baseline_{num}": share["reinforce_baseline"]}
        variances = [significant(of_num[name]) for name in ("reparameterised", "reinforce_baseline", "reinforce")]
        body.append([str(num or "untrained"), *variances, share["reinforce_baseline"], share["reinforce"]])
    head = ["epochs", "reparameterised", "REINFORCE, baseline", "REINFORCE", "ratio, baseline", "ratio"]
    return {**values, "table_gradients": table(head, body)}


def leak() -> Values:
    rows, best = complete("label"), reference("best")
    groups = {title.replace("\n", " "): rows[rows["experiment"] == name] for name, title in ORDER.items()}
    calibrated = {"`experiment=best`": "cvae", "`experiment=best_vae`": "vae"}
    groups |= {name: best[best["model"] == model] for name, model in calibrated.items()}
    columns = {"val/label_leak": 3, "val/kl": 1, "val/active_units": 1}
    body = [[title, *cells(group, columns)] for title, group in groups.items()]
    means = rows.groupby("experiment")["val/label_leak"].mean()
    return {
        **{f"leak_{name}": f"{100 * mean:.0f} %" for name, mean in means.items()},
        "leak_best": f"{100 * groups['`experiment=best`']['val/label_leak'].mean():.0f} %",
        "table_leak": table(["label", "read from z, val", "val KL (nats)", "latents in use"], body),
    }


def network() -> Values:
    rows, longer = complete("network"), complete("epochs").groupby("epochs")["fit_seconds"].mean()
    groups = {name: rows[rows["experiment"] == name] for name in ("mlp", "conv")}
    columns = {**QUALITY, "images_per_second": 0, "fit_seconds": 0}
    body = [[name, parameters(group), *cells(group, columns)] for name, group in groups.items()]
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


def cells(rows: pd.DataFrame, columns: dict[str, int]) -> list[str]:
    """Of each column, with its number of decimals."""
    return [spread(rows[key], decimals) for key, decimals in columns.items()]


def parameters(rows: pd.DataFrame) -> str:
    return f"{rows['parameters'].iloc[0]:,.0f}"


def significant(value: float) -> str:
    """Two digits, and all that come before the point: 0.025, 17, 81,000."""
    return f"{float(f'{value:.2g}'):,.10g}"
