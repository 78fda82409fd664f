"""docs/benchmark.md and the README's table of results, written from docs/benchmark.json alone; and the sample grids."""

import re
from pathlib import Path
from string import Template
from typing import Any

import torch
from benchmark_data import KINDS, Summary
from page_text import table
from PIL import Image

from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep

DIGITS = {"ssim": 4, "mse": 5, "mse_pca": 5, "fid_pixel": 2, "score": 2, "score_uncapped": 2}
DIGITS |= {"fid_judge": 3, "fid_judge_floor": 3, "kid_judge": 4, "kid_judge_floor": 4}
DIGITS |= {"precision": 3, "precision_floor": 3, "recall": 3, "recall_floor": 3}
DIGITS |= {"accuracy": 4, "accuracy_worst_class": 3, "accuracy_real": 4}
DIGITS |= {"elbo": 1, "log_likelihood": 1, "kl": 1, "nll_iw": 1, "active_units": 1, "label_leak": 3}
"""Of each metric on the page, in its order; the README has some of them."""
IN_README = ["ssim", "mse", "fid_pixel", "score", "score_uncapped", "fid_judge", "fid_judge_floor", "accuracy"]
RESULTS = re.compile(r"(<!-- results, by make benchmark -->\n).*?(<!-- end -->)", re.DOTALL)
COST = ["", "parameters", "epochs", "latent_dim", "threads", "training (s)", "images/s"]
COLUMNS = 12


def page(summary: Summary) -> str:
    """The prose of benchmark_page.md with its tables."""
    runs = summary["runs"]
    titles = {name: run["title"] for name, run in runs.items()}
    pictures = [f"![Samples of {title}](benchmark/{name}.png)\n\n*{title}*" for name, title in titles.items()]
    tables = {split: metrics_table(list(runs.values()), split) for split in ("val", "test")}
    commands = dict.fromkeys(run["command"] for run in runs.values())
    return Template(Path(__file__).with_name("benchmark_page.md").read_text()).substitute(
        tables, cost=cost_table(list(runs.values())), grids="\n\n".join(pictures), commands="\n".join(commands)
    )


def cost_table(runs: list[Summary]) -> str:
    """A row a kind of run."""
    rows = []
    for run in runs:
        plain = [f"{run[key]:,}" for key in ("parameters", "epochs", "latent_dim", "threads")]
        times = [f"{run[f'median_{key}']:,.0f}" for key in ("fit_seconds", "images_per_second")]
        rows.append([run["title"], *plain, *times])
    return table(COST, rows)


def metrics_table(runs: list[Summary], split: str) -> str:
    """A row a metric, and a column a kind of run."""
    rows = [
        [f"`{name}`", *(cell(run["metrics"][f"{split}/{name}"], digits) for run in runs)]
        for name, digits in DIGITS.items()
    ]
    return table([split, *(run["title"] for run in runs)], rows)


def cell(spread: dict[str, Any] | None, digits: int) -> str:
    if spread is None:
        return "-"
    mean = f"{spread['mean']:,.{digits}f}"
    return mean if spread["sd"] is None else f"{mean} ± {spread['sd']:,.{digits}f}"


def with_results(readme: str, summary: Summary) -> str:
    """The README with its table of results anew: a row a kind of run, on test."""
    rows = [
        [run["title"], *(cell(run["metrics"][f"test/{name}"], DIGITS[name]) for name in IN_README)]
        for run in summary["runs"].values()
    ]
    results = table(["test", *(f"`{name}`" for name in IN_README)], rows)
    return RESULTS.sub(lambda found: f"{found[1]}{results}\n{found[2]}", readme)


def grids(folder: Path) -> dict[str, Image.Image]:
    """Of each kind of run, samples of seed 0."""
    runs = {sweep: Sweep(folder / sweep).runs for sweep in {kind.sweep for kind in KINDS}}
    return {
        kind.name: grid(run)
        for kind in KINDS
        for run in runs[kind.sweep]
        if (run.metrics["model"], run.metrics["dataset"]["name"], run.metrics["seed"]) == (kind.model, kind.dataset, 0)
    }


def grid(run: Run) -> Image.Image:
    """Ten rows of samples, of a CVAE one a class; black on white, pixel by pixel."""
    torch.manual_seed(0)
    images = run.model().sample(torch.arange(10).repeat_interleave(COLUMNS))
    tiles = (1 - images[:, 0]).mul(255).round().byte().unflatten(0, (10, COLUMNS))
    return Image.fromarray(tiles.transpose(1, 2).flatten(2).flatten(0, 1).numpy())
