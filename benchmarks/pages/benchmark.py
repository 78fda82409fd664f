"""docs/benchmark.md and the table of results in README.md: VAE and CVAE, two networks, three data sets."""

from typing import NamedTuple

import pandas as pd
from kept import kept
from writing import mean_and_sd, table

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
DECIMALS = {"ssim": 4, "mse": 5, "mse_pca": 5, "fid_pixel": 2, "score": 2, "score_uncapped": 2}
DECIMALS |= {"fid_judge": 3, "fid_judge_floor": 3, "kid_judge": 4, "kid_judge_floor": 4}
DECIMALS |= {"precision": 3, "precision_floor": 3, "recall": 3, "recall_floor": 3}
DECIMALS |= {"accuracy": 4, "accuracy_worst_class": 3, "accuracy_real": 4}
DECIMALS |= {"elbo": 1, "log_likelihood": 1, "kl": 1, "nll_iw": 1, "active_units": 1, "label_leak": 3}
IN_README = ["ssim", "mse", "fid_pixel", "score", "score_uncapped", "fid_judge", "fid_judge_floor", "accuracy"]


def command(sweep: str) -> str:
    return f"python -m cvae_lightning -m {SWEEPS[sweep]} +sweep=seeds"


def values() -> dict[str, str]:
    """What stands for the placeholders of benchmark.md."""
    pictures = [f"![Samples of {title}](benchmark/{name}.png)\n\n*{title}*" for title, name in named()]
    return {
        "commands": "\n".join(map(command, SWEEPS)),
        "cost": cost(),
        "val": metrics("val"),
        "test": metrics("test"),
        "samples": "\n\n".join(pictures),
    }


def named() -> list[tuple[str, str]]:
    return [(family.title, family.name) for family in FAMILIES]


def families() -> pd.DataFrame:
    """The kept rows, in the order of the page."""
    return kept("benchmark/families").set_index("name").loc[[name for _, name in named()]]


def cost() -> str:
    """One line per family: its size, its settings, and how long it trains."""
    settings = ["parameters", "epochs", "latent_dim", "threads"]
    times = ["median_fit_seconds", "median_images_per_second"]
    rows = families()[settings + times]
    body = [[title, *(f"{value:,.0f}" for value in rows.loc[name])] for title, name in named()]
    return table(["", *settings, "training (s)", "images/s"], body)


def metrics(split: str) -> str:
    """One line per metric, one column per family."""
    rows = families()
    body = [[f"`{metric}`", *cells(rows, split, metric)] for metric in DECIMALS]
    return table([split, *(title for title, _ in named())], body)


def results() -> str:
    """One line per family, some of the metrics on test."""
    rows = families()
    columns = [cells(rows, "test", metric) for metric in IN_README]
    body = [[title, *line] for (title, _), line in zip(named(), zip(*columns, strict=True), strict=True)]
    return table(["test", *(f"`{metric}`" for metric in IN_README)], body)


def cells(rows: pd.DataFrame, split: str, metric: str) -> list[str]:
    """The mean ± the standard deviation of a metric in each row."""
    key, decimals = f"{split}/{metric}", DECIMALS[metric]
    return [mean_and_sd(mean, sd, decimals) for mean, sd in zip(rows[key], rows[f"{key}/sd"], strict=True)]


TABLES = {"benchmark": results}
