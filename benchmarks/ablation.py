"""docs/ablation.md: what each part of `experiment=best` gives, and what was tried beside it, from a csv file alone.

    python benchmarks/ablation.py [<sweep directory> <sweep directory> <sweep directory>]

With the directories of the three sweeps whose commands are in the page, their numbers are first written into
multirun/reference/ablation.
"""

import argparse
from pathlib import Path
from string import Template

import numpy as np
import pandas as pd
from judging import judged
from matplotlib.figure import Figure
from page_data import DOCS, REFERENCE, read_csv, rows_of, write_csv
from page_text import Difference, paired, spread, table

from cvae_lightning.reports.plots import ACCENT, GREY, finish, png_of
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep

ABLATION = REFERENCE / "ablation" / "sweep.csv"
LONG = REFERENCE / "ablation" / "long.csv"
AT_THE_PAPERS = REFERENCE / "ablation" / "paper_settings.csv"
WAYS_TO_DRAW = REFERENCE / "ablation" / "samplers.csv"
COMMAND = "python -m cvae_lightning -m 'experiment=glob(ablation/*)' +sweep=seeds"
COMMAND_LONG = (
    "python -m cvae_lightning -m experiment=ablation/no_shift,ablation/no_weight_decay epochs=50 +sweep=seeds"
)
COMMAND_AT_THE_PAPERS = "python -m cvae_lightning -m bound.warmup_epochs=0,5 bound.free_bits=0,0.1 +sweep=seeds"
BEST = "best"

TAKEN_AWAY = {
    "variance_fixed": "variance 0.5 instead of the batch's mean squared error",
    "lr_constant": "a constant learning rate instead of one cycle",
    "lr_cosine": "a cosine from the start, no rise",
    "no_weight_decay": "Adam instead of AdamW with weight decay 0.1",
    "no_shift": "images stay where they are",
    "batch_256": "batches of 256 instead of 128",
    "batch_1024": "batches of 1024",
}
TRIED = {
    "variance_learned": "the variance is a parameter",
    "continuous_bernoulli": "continuous Bernoulli",
    "lr_half": "learning rate 0.001 instead of 0.002",
    "lr_double": "learning rate 0.004",
    "ema": "averaged weights (EMA)",
    "ema_lr_constant": "averaged weights, constant learning rate",
    "prior_learned": "a learned prior of each class, 10 normals",
    "warmup": "KL term grows over 3 epochs",
    "free_bits": "free bits, 0.1 nats a latent",
    "beta_half": "beta 0.5",
    "iwae": "importance-weighted bound, 5 samples, DReG",
    "label_added": "label added",
    "label_modulates": "label scales and shifts (FiLM)",
    "label_decoder_only": "label told to the decoder only",
}
WAYS = {
    "prior": "the prior",
    "gaussian": "a normal a class",
    "mixture": "`sampler=mixture`: 40 normals a class",
    "mixture_sobol": "the same, quasi-random (scrambled Sobol)",
    "flow": "a flow: 8 affine couplings, 174,240 parameters",
    "train": "latents of training images: the best that a sampler can do",
    "reconstructions": "posterior means of val itself",
}
GROUPS = {"taken": TAKEN_AWAY, "tried": TRIED}

SCORE, MSE, FID = "val/score_uncapped", "val/mse", "val/fid_judge"
COLUMNS = {SCORE: 2, "val/ssim": 4, MSE: 5, "val/fid_pixel": 2, FID: 3, "val/accuracy": 4}
HEAD = [
    "",
    "Score, uncapped",
    "SSIM",
    "MSE",
    "fid_pixel",
    "fid_judge",
    "accuracy",
    "training (s)",
    "for MSE",
    "for fid_judge",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="*", type=Path, help="sweep directories; without, the csv files are read")
    for directory, csv in zip(parser.parse_args().sweeps, (ABLATION, LONG, AT_THE_PAPERS), strict=False):
        write_csv(csv, measured(Sweep(directory)))
    rows = read_csv(ABLATION)
    (DOCS / "figures").mkdir(exist_ok=True)
    (DOCS / "figures" / "ablation.png").write_bytes(png_of(picture(rows)))
    (DOCS / "ablation.md").write_text(page(rows))


def measured(sweep: Sweep) -> pd.DataFrame:
    """One row a run; the judge reads the samples here, and only beside val, which spares half of the sweep's time."""
    rows = rows_of(sweep).reset_index(drop=True)
    return rows.join(judged(Run(sweep.path / str(run)) for run in rows["run"]))


def page(rows: pd.DataFrame) -> str:
    """The prose of ablation_page.md with its tables."""
    base = line(rows, BEST, "`ablation/best`")
    tables = {
        name: table(HEAD, [base, *(line(rows, row, title) for row, title in group.items())])
        for name, group in GROUPS.items()
    }
    first = rows.iloc[0]
    commands = {"command": COMMAND, "command_long": COMMAND_LONG, "command_at_the_papers": COMMAND_AT_THE_PAPERS}
    versions = f"torch {first['torch'].partition('+')[0]}, {first['threads']} thread"
    text = Path(__file__).with_name("ablation_page.md").read_text()
    others = {
        "at_50_epochs": at_50_epochs(read_csv(LONG), pd.read_csv(REFERENCE / "best" / "sweep.csv")),
        "at_the_papers": at_the_papers(pd.read_csv(AT_THE_PAPERS)),
        "ways": ways(pd.read_csv(WAYS_TO_DRAW)),
    }
    return Template(text).substitute(tables, **others, **commands, versions=versions)


def at_50_epochs(rows: pd.DataFrame, best: pd.DataFrame) -> str:
    """What does not depend on the sampler; `best` has more runs than those of its CVAE."""
    digits = {"elbo": 1, "log_likelihood": 1, "kl": 1, "ssim": 4, "mse": 5}
    of_row = {"`experiment=best`": best[best["model"] == "cvae"]}
    of_row |= {TAKEN_AWAY[str(name)]: runs for name, runs in rows.groupby("experiment")}
    body = [
        [title, *(spread(runs[f"val/{key}"], places) for key, places in digits.items())]
        for title, runs in of_row.items()
    ]
    return table(["", *digits], body)


def at_the_papers(rows: pd.DataFrame) -> str:
    """A row for each warm-up and number of free bits."""
    digits = {"score": 2, "elbo": 2, "kl": 2, "mse": 4, "fid_judge": 2, "accuracy": 3}
    settings = ["bound.warmup_epochs", "bound.free_bits"]
    body = [
        [f"{warmup:g}", f"{bits:g}", *(spread(of_both[f"val/{key}"], places) for key, places in digits.items())]
        for (warmup, bits), of_both in rows.groupby(settings)
    ]
    return table([*(f"`{key}`" for key in (*settings, *digits))], body)


def ways(draws: pd.DataFrame) -> str:
    """A row a way; each run counts with the mean of its draws."""
    by_run = draws.groupby(["way", "seed"], as_index=False).mean()
    digits = {"nats": 1, "fid_judge": 3, "precision": 3, "recall": 3}
    cells = [[spread(by_run[by_run["way"] == way][key], places) for key, places in digits.items()] for way in WAYS]
    return table(
        ["latents", "of val's latents, nats", *list(digits)[1:]],
        [[title, *line] for title, line in zip(WAYS.values(), cells, strict=True)],
    )


def line(rows: pd.DataFrame, name: str, title: str) -> list[str]:
    """Means and standard deviations over seeds, the median time, and what the row does to MSE and fid_judge."""
    of_name = rows[rows["experiment"] == name]
    cells = [spread(of_name[key], digits) for key, digits in COLUMNS.items()]
    verdicts = (
        ["", ""] if name == BEST else [verdict(paired(rows, key, "experiment", name, BEST)) for key in (MSE, FID)]
    )
    return [title, *cells, f"{of_name['fit_seconds'].median():.0f}", *verdicts]


def verdict(difference: Difference) -> str:
    """Of a number that is to be small, at two standard errors of the differences, seed by seed."""
    if not abs(difference.mean) > 2 * difference.error:
        return "="
    return "better" if difference.mean < 0 else "worse"


def picture(rows: pd.DataFrame) -> Figure:
    """Each row's MSE and fid_judge, over that of `ablation/best` with the same seed; a point a seed."""
    names = {**TAKEN_AWAY, **TRIED}
    figure = Figure(figsize=(9, 0.26 * len(names) + 0.9), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2, sharey=True), (MSE, FID), strict=True):
        by_seed = rows.pivot_table(index="seed", columns="experiment", values=key)
        for place, name in enumerate(names):
            ratios = by_seed[name] / by_seed[BEST]
            axes.plot(ratios, np.full(len(ratios), -place), "o", color=ACCENT, alpha=0.75, markersize=4)
        axes.axhline(0.5 - len(TAKEN_AWAY), color=GREY, linewidth=0.5)
        axes.axvline(1, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}")
        axes.set_yticks([-place for place in range(len(names))], list(names.values()))
        finish(axes, f"{key.removeprefix('val/')}, over that of ablation/best", "", "")
    return figure


if __name__ == "__main__":
    main()
