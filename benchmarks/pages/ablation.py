"""docs/ablation.md and its picture: what each part of `experiment=best` contributes, and what was tried beside it."""

import pandas as pd
from kept import kept
from matplotlib.figure import Figure
from pictures import DASHED, dots, panels
from writing import grouped, paired, spreads, table, table_of_groups

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
COLUMNS = {"val/score_uncapped": 2, "val/ssim": 4, MSE: 5, "val/fid_pixel": 2, FID: 3, "val/accuracy": 4}
TITLES = ["Score, uncapped", "SSIM", "MSE", "fid_pixel", "fid_judge", "accuracy"]


def values() -> dict[str, str]:
    """What stands for the placeholders of ablation.md."""
    rows = kept("ablation/sweep")
    first = rows.iloc[0]
    return {
        "removed": differences(rows, REMOVED),
        "added": differences(rows, ADDED),
        "after_50_epochs": after_50_epochs(),
        "paper_settings": paper_settings(),
        "samplers": samplers(),
        "versions": f"torch {first['torch'].partition('+')[0]}, {first['threads']} thread",
    }


def differences(rows: pd.DataFrame, titles: dict[str, str]) -> str:
    """One line per experiment, and whether its MSE and fid_judge are better than those of `ablation/best`."""
    body = []
    for name, title in {BEST: "`ablation/best`", **titles}.items():
        of_name = rows[rows["experiment"] == name]
        verdicts = ["", ""] if name == BEST else [verdict(rows, key, name) for key in (MSE, FID)]
        body.append([title, *spreads(of_name, COLUMNS), f"{of_name['fit_seconds'].median():.0f}", *verdicts])
    return table(["", *TITLES, "training (s)", "for MSE", "for fid_judge"], body)


def verdict(rows: pd.DataFrame, key: str, name: str) -> str:
    return ("=", "worse", "better")[paired(rows, key, "experiment", name, BEST).sign]


def after_50_epochs() -> str:
    """The metrics that do not depend on the sampler."""
    groups = grouped(kept("best/sweep"), "model", {"cvae": "`experiment=best`"})
    groups |= grouped(kept("ablation/long"), "experiment", AGAINST_OVERFITTING)
    decimals = {"elbo": 1, "log_likelihood": 1, "kl": 1, "ssim": 4, "mse": 5}
    return table_of_groups(["", *decimals], groups, {f"val/{key}": num for key, num in decimals.items()})


def paper_settings() -> str:
    """One line per number of warm-up epochs and free bits."""
    decimals = {"score": 2, "elbo": 2, "kl": 2, "mse": 4, "fid_judge": 2, "accuracy": 3}
    settings = ["bound.warmup_epochs", "bound.free_bits"]
    body = [
        [*map("{:g}".format, both), *spreads(runs, {f"val/{key}": num for key, num in decimals.items()})]
        for both, runs in kept("ablation/paper_settings").groupby(settings)
    ]
    return table([f"`{key}`" for key in (*settings, *decimals)], body)


def samplers() -> str:
    """One line per sampler. A run counts once, with the mean of its draws."""
    by_run = kept("ablation/samplers").groupby(["way", "seed"], as_index=False).mean()
    head = ["latents", "latents of val (nats per image)", "fid_judge", "precision", "recall"]
    columns = {"nats": 1, "fid_judge": 3, "precision": 3, "recall": 3}
    return table_of_groups(head, grouped(by_run, "way", SAMPLERS), columns)


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
