"""docs/benchmark.md, and the tables of results in README.md and docs/reproduction.md."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd
from kept import kept
from writing import mean_and_sd, table

from cvae_lightning.runs.paper import TABLE_2

SWEEPS = {
    "paper": "experiment=table2/cvae,table2/vae evaluators=full",
    "paper_conv": "experiment=table2/cvae,table2/vae network=conv trainer.precision=bf16-mixed evaluators=full",
    "best": "experiment=best,best_vae",
    "best_conv": "experiment=best_conv,best_vae_conv",
    "other_data": "experiment=best data=fashion_mnist,digits",
}
"""The overrides of each sweep, besides `+sweep=seeds`."""


class Family(NamedTuple):
    """Runs that differ in the seed only."""

    title: str
    sweep: str
    model: str
    dataset: str = "mnist"

    @property
    def name(self) -> str:
        """The name of its picture and of its row in benchmark/families.csv."""
        return f"{self.model}_{self.sweep}" if self.dataset == "mnist" else self.dataset


FAMILIES = [
    Family("CVAE, paper", "paper", "cvae"),
    Family("VAE, paper", "paper", "vae"),
    Family("CVAE, paper, `network=conv`", "paper_conv", "cvae"),
    Family("VAE, paper, `network=conv`", "paper_conv", "vae"),
    Family("CVAE, `best`", "best", "cvae"),
    Family("VAE, `best_vae`", "best", "vae"),
    Family("CVAE, `best_conv`", "best_conv", "cvae"),
    Family("VAE, `best_vae_conv`", "best_conv", "vae"),
    Family("CVAE, `best`, Fashion-MNIST", "other_data", "cvae", "fashion_mnist"),
    Family("CVAE, `best`, digits", "other_data", "cvae", "digits"),
]
UNRECORDED = "not recorded"
"""Stands for the commit of a run that records none."""
TITLES = {family.name: family.title for family in FAMILIES}
DECIMALS = {"ssim": 4, "mse": 5, "mse_pca": 5, "fid_pixel": 2, "score": 2, "score_uncapped": 2}
DECIMALS |= {"fid_judge": 3, "fid_judge_floor": 3, "kid_judge": 4, "kid_judge_floor": 4}
DECIMALS |= {"precision": 3, "precision_floor": 3, "recall": 3, "recall_floor": 3}
DECIMALS |= {"accuracy": 4, "accuracy_worst_class": 3, "accuracy_real": 4}
DECIMALS |= {"elbo": 1, "log_likelihood": 1, "kl": 1, "nll_iw": 1, "active_units": 1, "label_leak": 3}
IN_REPRODUCTION = ["ssim", "mse", "fid_pixel", "score", "score_uncapped", "fid_judge", "fid_judge_floor", "accuracy"]


def command(sweep: str) -> str:
    return f"python -m cvae_lightning -m {SWEEPS[sweep]} +sweep=seeds"


def values() -> dict[str, str]:
    """What stands for the placeholders of benchmark.md."""
    pictures = [f"![Samples of {title}](benchmark/{name}.png)\n\n*{title}*" for name, title in TITLES.items()]
    return {
        "commands": "\n".join(map(command, SWEEPS)),
        "cost": cost(),
        "val": metrics("val"),
        "test": metrics("test"),
        "samples": "\n\n".join(pictures),
    }


def families() -> pd.DataFrame:
    """The kept rows, in the order of the page."""
    return kept("benchmark/families").set_index("name").loc[list(TITLES)]


def cost() -> str:
    """One line per family: its size, its settings, how long it trains, and the commits of its runs."""
    settings = ["parameters", "epochs", "latent_dim", "threads"]
    rows = families()
    numbers = rows[[*settings, "median_fit_seconds", "median_images_per_second"]]
    body = [
        [TITLES[str(name)], *map("{:,.0f}".format, row), shortened(rows["commit"][str(name)])]
        for name, row in numbers.iterrows()
    ]
    return table(["", *settings, "training (s)", "images/s", "commit"], body)


def shortened(commits: str) -> str:
    """The commits of a kept row with seven digits each."""
    return ", ".join(commit if commit == UNRECORDED else commit[:7] for commit in commits.split(", "))


def metrics(split: str) -> str:
    """One line per metric, one column per family."""
    return table([split, *TITLES.values()], by_metric(split, DECIMALS))


def results() -> str:
    """One line per family, some of the metrics on test."""
    head, *body = zip(["test", *TITLES.values()], *by_metric("test", IN_REPRODUCTION), strict=True)
    return table(head, body)


def by_metric(split: str, names: Iterable[str]) -> list[list[str]]:
    rows = [row for _, row in families().iterrows()]
    return [[f"`{name}`", *(cell(row, f"{split}/{name}", DECIMALS[name]) for row in rows)] for name in names]


def front() -> str:
    """The four rows of the README: the paper's CVAE, ours, and both that are better, on test."""
    rows = families()
    paper = TABLE_2["cvae"]
    body = [["the paper, its Table 2", f"{paper['score']:.2f}", f"{paper['mse']:g}", "-", "-", "-"]]
    for title, family in (
        ("reproduced, `experiment=table2/cvae`", "cvae_paper"),
        ("`experiment=best`", "cvae_best"),
        ("`experiment=best_conv`", "cvae_best_conv"),
    ):
        row = rows.loc[family]
        score, mse, fid, accuracy = (
            cell(row, f"test/{name}", DECIMALS[name]) for name in ("score", "mse", "fid_judge", "accuracy")
        )
        if row["test/score"] != row["test/score_uncapped"]:
            score += f" ({row['test/score_uncapped']:.2f} without the cap)"
        body.append([title, score, mse, f"{fid} (floor {row['test/fid_judge_floor']:.3f})", accuracy, duration(row)])
    return table(["MNIST, test", "Score", "MSE", "`fid_judge`", "accuracy", "training"], body)


def duration(row: Any) -> str:
    """How long a training took, and on how many threads."""
    seconds, threads = row["median_fit_seconds"], row["threads"]
    time = f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
    return f"{time}, {threads:.0f} thread{'s' if threads > 1 else ''}"


def three_models() -> str:
    """The paper's CVAE, its VAE, and `experiment=best`, on test."""
    rows = families()
    body = []
    for title, family, mse in (
        ("the paper's CVAE: `experiment=table2/cvae`", "cvae_paper", 4),
        ("the paper's VAE: `experiment=table2/vae`", "vae_paper", 4),
        ("`experiment=best`", "cvae_best", 5),
    ):
        decimals = {"ssim": 4, "mse": mse, "elbo": 2, "kl": 2, "label_leak": 3}
        body.append([title, *(cell(rows.loc[family], f"test/{name}", num) for name, num in decimals.items())])
    return table(["run", "SSIM", "MSE", "ELBO, nats", "KL, nats", "`label_leak`"], body)


def cell(row: Any, key: str, decimals: int) -> str:
    """The mean ± the standard deviation of a metric in one kept row."""
    return mean_and_sd(row[key], row[f"{key}/sd"], decimals)


TABLES = {"benchmark": results, "front": front, "three_models": three_models}
