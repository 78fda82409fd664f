"""docs/ablation.md and its picture: what each part of `experiment=best` contributes, and what was tried beside it."""

from typing import Any

import pandas as pd
from kept import kept
from matplotlib.figure import Figure
from pages.reference import sample_rows, times_the_floor
from pictures import DASHED, dots, panels
from writing import Difference, between, cells, grouped, paired, spread_of, spreads_of, table, table_of_groups, versions

from cvae_lightning.reports.plots import GREY, finish

BEST = "best"
REMOVED = {
    "variance_fixed": "variance 0.5 instead of the mean squared error of the batch",
    "lr_constant": "a constant learning rate instead of one cycle",
    "lr_cosine": "a cosine from the start, without the rise",
    "no_weight_decay": "Adam instead of AdamW with weight decay 0.1",
    "no_shift": "images are not shifted",
    "batch_256": "batches of 256 instead of 128",
    "batch_1024": "batches of 1024",
}
AGAINST_OVERFITTING = {name: REMOVED[name] for name in ("no_shift", "no_weight_decay")}
ADDED = {
    "variance_learned": "the variance is a parameter",
    "continuous_bernoulli": "continuous Bernoulli",
    "lr_half": "learning rate 0.001 instead of 0.002",
    "lr_double": "learning rate 0.004",
    "ema": "averaged weights (EMA)",
    "ema_lr_constant": "averaged weights, constant learning rate",
    "prior_learned": "a learned prior per class, 10 Gaussians",
    "warmup": "the KL term grows over 3 epochs",
    "free_bits": "free bits, 0.1 nats per latent",
    "beta_half": "beta 0.5",
    "iwae": "importance-weighted bound, 5 samples, DReG",
    "label_added": "label added",
    "label_modulates": "label scales and shifts (FiLM)",
    "label_decoder_only": "label in the decoder only",
}
SAMPLERS = {
    "prior": "the prior",
    "gaussian": "one Gaussian per class",
    "mixture": "`sampler=mixture`: 40 Gaussians per class",
    "mixture_sobol": "the same, quasi-random (scrambled Sobol)",
    "flow": "a flow: 8 affine couplings, 174,240 parameters",
    "train": "latents of training images: the best that a sampler can do",
    "reconstructions": "posterior means of val itself",
}
MSE, FID = "val/mse", "val/fid_judge"
COLUMNS = {
    "Score, uncapped": spread_of("val/score_uncapped"),
    "SSIM": spread_of("val/ssim", 4),
    "MSE": spread_of(MSE, 5),
    "fid_pixel": spread_of("val/fid_pixel"),
    "fid_judge": spread_of(FID, 3),
    "accuracy": spread_of("val/accuracy", 4),
    "training (s)": lambda rows: f"{rows['fit_seconds'].median():.0f}",
    "for MSE": lambda rows: verdict(rows, MSE),
    "for fid_judge": lambda rows: verdict(rows, FID),
}


def values() -> dict[str, Any]:
    """What stands for the placeholders of ablation.md."""
    names = [*REMOVED, *ADDED]
    return {
        "removed": differences(REMOVED),
        "added": differences(ADDED),
        "intervals": intervals(),
        "after_50_epochs": after_50_epochs(),
        "long": {name: long_differences(name) for name in AGAINST_OVERFITTING},
        "paper_settings": paper_settings(),
        "warmup": paper_differences(5, 0),
        "free_bits": paper_differences(0, 0.1),
        "from_best": {name: written(name) for name in names},
        "ema": written("ema_lr_constant", "lr_constant"),
        "opposite": str(sum(from_best(name, MSE).mean * from_best(name, FID).mean < 0 for name in names)),
        "rows": str(len(names)),
        "sampler": sampler_differences(),
        "samplers": samplers(),
        "samples": [f"{times_the_floor(rows, 'val'):.2f}" for rows in sample_rows().values()],
        "versions": versions(kept("ablation/sweep")),
    }


def differences(titles: dict[str, str]) -> str:
    """One line per experiment, and how its MSE and fid_judge compare with those of `ablation/best`."""
    groups = grouped(kept("ablation/sweep"), "experiment", {BEST: "`ablation/best`", **titles})
    return table_of_groups("", groups, COLUMNS)


def verdict(rows: pd.DataFrame, key: str) -> str:
    """Whether the experiment of the rows is better than `ablation/best`, or in how many seeds if that is not shown."""
    name = rows["experiment"].iloc[0]
    if name == BEST:
        return ""
    difference = from_best(name, key)
    return ("", "worse", "better")[difference.sign] or difference.seeds(-1)


def from_best(name: str, key: str, other: str = BEST) -> Difference:
    return paired(kept("ablation/sweep"), key, "experiment", name, other)


def written(name: str, other: str = BEST) -> dict[str, str]:
    """The differences of an experiment from another in MSE and fid_judge."""
    return {"mse": from_best(name, MSE, other).written(5), "fid_judge": from_best(name, FID, other).written(3)}


def intervals() -> str:
    """One line per experiment: the differences from `ablation/best`, with their intervals."""
    body = [[title, *written(name).values()] for name, title in (*REMOVED.items(), *ADDED.items())]
    return table(["minus `ablation/best`", "MSE", "fid_judge"], body)


def long_differences(name: str) -> dict[str, str]:
    """The differences from `experiment=best` after 50 epochs."""
    rows, best = kept("ablation/long"), kept("best/sweep")
    rows, best = rows[rows["experiment"] == name], best[best["model"] == "cvae"]
    return {"elbo": between(rows, best, "val/elbo").written(1), "mse": between(rows, best, MSE).written(5)}


def paper_differences(warmup_epochs: int, free_bits: float) -> dict[str, str]:
    """The differences from neither warm-up nor free bits, at the paper's settings."""
    settings = ["bound.warmup_epochs", "bound.free_bits"]
    groups = dict(iter(kept("ablation/paper_settings").groupby(settings)))
    one, other = groups[warmup_epochs, free_bits], groups[0, 0]
    score, mse = (between(one, other, key) for key in ("val/score", MSE))
    spreads = {"sd": f"{one['val/score'].std():.2f}", "sd_of_neither": f"{other['val/score'].std():.2f}"}
    return {"score": score.text, "mse": mse.written(4), "mse_seeds": mse.seeds(-1), **spreads}


def sampler_differences() -> dict[str, str]:
    """The differences in fid_judge from the mixture, seed by seed."""
    rows = kept("ablation/samplers").groupby(["way", "seed"], as_index=False).mean()
    ways = ("mixture_sobol", "flow", "train")
    return {way: paired(rows, "fid_judge", "way", way, "mixture").written(3) for way in ways}


def after_50_epochs() -> str:
    """The metrics that do not depend on the sampler."""
    groups = grouped(kept("best/sweep"), "model", {"cvae": "`experiment=best`"})
    groups |= grouped(kept("ablation/long"), "experiment", AGAINST_OVERFITTING)
    columns = spreads_of("val", {"elbo": 1, "log_likelihood": 1, "kl": 1, "ssim": 4, "mse": 5})
    return table_of_groups("", groups, columns)


def paper_settings() -> str:
    """One line per number of warm-up epochs and free bits."""
    columns = spreads_of("val", {"score": 2, "elbo": 2, "kl": 2, "mse": 4, "fid_judge": 2, "accuracy": 3})
    settings = ["bound.warmup_epochs", "bound.free_bits"]
    groups = kept("ablation/paper_settings").groupby(settings)
    body = [[*map("{:g}".format, both), *cells(runs, columns)] for both, runs in groups]
    return table([f"`{key}`" for key in (*settings, *columns)], body)


def samplers() -> str:
    """One line per sampler. A run counts once, with the mean of its draws."""
    by_run = kept("ablation/samplers").groupby(["way", "seed"], as_index=False).mean()
    columns = {
        "latents of val (nats per image)": spread_of("nats", 1),
        "fid_judge": spread_of("fid_judge", 3),
        "precision": spread_of("precision", 3),
        "recall": spread_of("recall", 3),
    }
    return table_of_groups("latents", grouped(by_run, "way", SAMPLERS), columns)


def draw() -> Figure:
    """The MSE and fid_judge of each experiment, divided by those of `ablation/best` with the same seed."""
    names = {**REMOVED, **ADDED}
    rows = kept("ablation/sweep")
    figure, both = panels(2, height=0.26 * len(names) + 0.9, width=9, sharey=True)
    for axes, key in zip(both, (MSE, FID), strict=True):
        by_seed = rows.pivot_table(index="seed", columns="experiment", values=key)
        dots(axes, {title: by_seed[name] / by_seed[BEST] for name, title in names.items()}, size=4)
        axes.axhline(0.5 - len(REMOVED), color=GREY, linewidth=0.5)
        axes.axvline(1, **DASHED)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}")
        finish(axes, f"{key.removeprefix('val/')}, divided by that of ablation/best", "", "")
    return figure


PICTURES = {"figures/ablation.png": draw}
