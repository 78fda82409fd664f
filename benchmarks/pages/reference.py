"""The tables between markers in docs/{drawing,reproduction,results}.md and multirun/reference/README.md."""

from typing import Any

import pandas as pd
from kept import kept
from pages.claims import SCORE, grid
from writing import cells, spread, spread_of, spreads_of, table

from cvae_lightning.reports.statistics import rank_correlation
from cvae_lightning.runs.paper import TABLE_2, TABLE_3

PAPER = {"ssim": 4, "mse": 4, "fid_pixel": 2, "score": 2}
"""The metrics of the paper, and their decimals."""

AREAS = ("nll", "distance", "excess", "mse")
"""The scores whose areas under the ROC curve other_images/runs has, as <other images>/<score>."""


def beside_the_paper() -> str:
    """Three rows of the paper's Table 3 and both of its Table 2: ours on val and on test, and the paper's number."""
    rows = kept("table3/sweep").set_index(["epochs", "latent_dim", "lr"]).sort_index()
    body = []
    for title, key in (
        ("CVAE, `epochs=10 lr=0.002`", (10, 20, 0.002)),
        ("CVAE, `epochs=50 latent_dim=15 lr=0.002`", (50, 15, 0.002)),
        ("CVAE, `epochs=50 lr=0.002`", "cvae"),
        ("VAE, `model=vae epochs=50 lr=0.002`", "vae"),
        ("CVAE, the default, Table 1", (10, 20, 0.005)),
    ):
        in_table_2 = isinstance(key, str)
        ours = table_2(key, 20) if isinstance(key, str) else rows.loc[[key]]
        *others, score = of_the_paper(TABLE_2[key] if isinstance(key, str) else {"score": TABLE_3[key]})
        body.append([title, "val", *cells(ours, spreads_of("val", PAPER))])
        body.append(["", "test", *cells(ours, spreads_of("test", PAPER))])
        body.append(["", "paper", *others, f"{score} (Table {2 if in_table_2 else 3})"])
    return table(["run", "", "SSIM", "MSE", "fid_pixel", "Score"], body)


def of_the_paper(numbers: dict[str, float]) -> list[str]:
    return [f"{numbers[key]:g}" if key in numbers else "-" for key in PAPER]


def table_2(model: str, latent_dim: int) -> pd.DataFrame:
    return kept("table2/sweep").query("model == @model and latent_dim == @latent_dim")


def best_conv() -> str:
    """One line per metric: a public number, ours on val, ours on test."""
    rows = kept("best_conv/sweep")
    public = {"score_uncapped": "28.48", "ssim": "0.882", "mse": "0.0104", "fid_pixel": "3.43", "accuracy": "0.9955"}
    decimals = {"score_uncapped": 2, "ssim": 4, "mse": 5, "fid_pixel": 2, "fid_judge": 3, "fid_judge_floor": 3}
    decimals |= {"precision": 3, "recall": 3, "accuracy": 4, "accuracy_worst_class": 3}
    body = [
        [f"`{key}`", public.get(key, ""), *(spread(rows[f"{split}/{key}"], num) for split in ("val", "test"))]
        for key, num in decimals.items()
    ]
    return table(["", "public", "val", "test"], body)


def likelihood() -> str:
    """One line per preset, and two for commands of several keys: a mixture with labels, and the paper's network."""
    rows = kept("likelihood/sweep").set_index("experiment")
    given_label = "nll_mixture model=cvae prior.num_components=20"
    fully_connected = "nll_vae network=mlp prior=normal"
    columns = [spread_of("val/nll_iw"), spread_of("test/nll_iw"), spread_of("test/elbo")]
    body = [
        [f"`experiment={command}`", training, *(cell(rows.loc[[name]]) for cell in columns), public]
        for name, command, training, public in (
            ("nll_vae", "nll_vae", "75 epochs, 40 min", "78.6"),
            ("nll_cvae", "nll_cvae", "30 epochs, 15 min", "80.78"),
            ("nll_mixture", "nll_mixture", "30 epochs, 12 min", "86.35"),
            ("nll_mixture_given_label", given_label, "30 epochs, 12 min", "82.32"),
            ("nll_iwae", "nll_iwae", "24 epochs, 24 min", "84.59"),
            ("nll_vae_mlp", fully_connected, "75 epochs, 6 to 9 min", "86.35"),
        )
    ]
    head = ["preset", "training, one core", "`nll_iw`, val", "`nll_iw`, test", "`elbo`, test", "public, test"]
    return table(head, body)


def conditional() -> str:
    """What a conditional model does as a classifier and as a teacher: two lines per preset and data set."""
    decimals = {"cas": 4, "cas_real": 4, "bayes_accuracy": 3, "bayes_nll": 1, "bayes_ece": 3, "nll_marginal": 0}
    rows = kept("conditional/runs")
    body = []
    for title, experiment, dataset in (
        ("`best`", "best", "mnist"),
        ("`best_conv`", "best_conv", "mnist"),
        ("`best_conv`, clothes", "best_conv", "fashion_mnist"),
        ("`best_fashion`", "best_fashion", "fashion_mnist"),
    ):
        own = rows[(rows["experiment"] == experiment) & (rows["dataset"] == dataset)]
        for split in ("val", "test"):
            cas, _, *bayes = cells(own, spreads_of(split, decimals))
            of_the_one_judge = spread(own[f"{split}/cas_real"].head(1), decimals["cas_real"])
            start = [title, str(len(own)), "val"] if split == "val" else ["", "", "test"]
            body.append([*start, cas, of_the_one_judge, *bayes])
    return table(["`experiment=`", "seeds", "", *(f"`{name}`" for name in decimals)], body)


def samples() -> str:
    """How close samples come to images with more latents and more components, beside the presets: two lines each."""
    decimals = {"fid_judge": 3, "fid_judge_floor": 3, "precision": 3, "recall": 3, "accuracy": 4}
    body = []
    for title, rows in sample_rows().items():
        for split in ("val", "test"):
            times = f"{times_the_floor(rows, split):.2f}"
            start = [title, str(len(rows))] if split == "val" else ["", ""]
            body.append([*start, split, *cells(rows, spreads_of(split, decimals)), times])
    return table(["`experiment=`", "seeds", "", *(f"`{name}`" for name in decimals), "times the floor"], body)


def sample_rows() -> dict[str, pd.DataFrame]:
    """The runs of each line of that table."""
    own = kept("samples/runs")
    return {
        "`best`": kept("best/sweep").query("model == 'cvae'"),
        "`best`, 64 latents, 200 components": own.query("experiment == 'best' and components == 200"),
        "`best`, 64 latents, 800 components": own.query("experiment == 'best' and components == 800"),
        "`best_conv`": kept("best_conv/sweep").query("model == 'cvae'"),
        "`best_samples`": own.query("experiment == 'best_samples'"),
    }


def flows() -> str:
    """How close samples come to images if a flow is the prior, by its size: one line per run."""
    decimals = {"epochs": 0, "latent_dim": 0, "num_couplings": 0, "width": 0, "prior_parameters": 0}
    decimals |= {"val/elbo": 0, "val/fid_judge": 3, "val/accuracy": 4}
    body = [
        [
            *(f"{row[key]:,.{num}f}" for key, num in decimals.items()),
            *(f"{times_the_floor(pd.DataFrame([row]), split):.2f}" for split in ("val", "test")),
            f"{row['fit_seconds'] / 60:.0f}",
        ]
        for _, row in kept("flows/runs").iterrows()
    ]
    of_val = ["`elbo`, val", "`fid_judge`, val", "`accuracy`, val", "times the floor, val"]
    return table(["epochs", "latents", "couplings", "width", "parameters", *of_val, "test", "minutes"], body)


def other_images() -> str:
    """How well each score tells other images from those of the data set that a model was trained on."""
    kinds = {"fashion_mnist": "Fashion-MNIST", "mnist": "MNIST", "letters": "letters", "hiragana": "hiragana"}
    kinds |= {"noise": "noise", "blurred": "blurred digits"}
    body = []
    for dataset in ("mnist", "fashion_mnist"):
        rows = kept("other_images/runs").query("dataset == @dataset")
        for others in (kind for kind in kinds if kind != dataset):
            areas = [spread(rows[f"{others}/{score}"], 3) for score in AREAS]
            body.append([kinds[dataset], kinds[others], *areas])
    return table(["trained on", "other images", *(f"`{score}`" for score in AREAS)], body)


def times_the_floor(rows: pd.DataFrame, split: str) -> float:
    """The mean `fid_judge` of runs as a multiple of its mean floor."""
    return float(rows[f"{split}/fid_judge"].mean() / rows[f"{split}/fid_judge_floor"].mean())


def rows_of_table_3() -> pd.DataFrame:
    """Our Score in each row of the paper's Table 3, its mean and standard deviation, beside the paper's."""
    groups = kept("table3/sweep").groupby(["epochs", "latent_dim", "lr"])[SCORE]
    rows = groups.agg(["mean", "std"]).reset_index()
    rows["paper"] = [TABLE_3[key] for key in zip(rows["epochs"], rows["latent_dim"], rows["lr"], strict=True)]
    return rows


def table_3() -> str:
    """Every row of the paper's Table 3, in the order of the paper's Score, and how well both agree."""
    rows: Any = rows_of_table_3().sort_values("paper", ascending=False)
    body = []
    for row in rows.itertuples():
        settings = [str(row.epochs), str(row.latent_dim), f"{row.lr:g}"]
        body.append([*settings, f"{row.mean:.2f} ± {row.std:.2f}", f"{row.paper:g}", f"{row.mean - row.paper:+.2f}"])
    below = rows[rows["lr"] < 0.005]
    sentences = [
        f"* {title}: mean absolute difference {(part['mean'] - part['paper']).abs().mean():.2f}, "
        f"Spearman rank correlation {rank_correlation(part['mean'], part['paper']):.3f}."
        for title, part in (("All 13 rows", rows), (f"The {len(below)} rows with lr below 0.005", below))
    ]
    lines = table(["epochs", "latent_dim", "lr", "ours", "paper", "difference"], body)
    return "\n".join([lines, "", *sentences])


def both_of_table_2() -> str:
    """The paper's VAE and CVAE, and ours with 15 and with 20 latents, on test."""
    body = []
    for model, numbers in TABLE_2.items():
        body.append([f"{model.upper()}, paper", "not stated", *of_the_paper(numbers)])
        for latent_dim in (15, 20):
            ours = cells(table_2(model, latent_dim), spreads_of("test", PAPER))
            body.append([model.upper(), str(latent_dim), *ours])
    return table(["model", "latent_dim", "SSIM", "MSE", "FID", "Score"], body)


def grid_by_rate() -> str:
    """The mean Score over latent_dim at each learning rate and number of epochs."""
    means = grid("epochs")
    first, *others = map(str, means.columns)
    body = [[f"lr {lr:g}", *map("{:.2f}".format, row)] for lr, row in means.iterrows()]
    return table(["mean over latent_dim", f"{first} epochs", *others], body)


def grid_by_size() -> str:
    """The Score at each latent_dim, after 50 epochs at learning rate 0.002."""
    scores = kept("grid/sweep").query("lr == 0.002 and epochs == 50").set_index("latent_dim")[SCORE].sort_index()
    first, *others = map(str, scores.index)
    head = ["lr 0.002, 50 epochs", f"latent_dim {first}", *others]
    return table(head, [["Score", *map("{:.2f}".format, scores)]])


TABLES = {
    "beside_the_paper": beside_the_paper,
    "best_conv": best_conv,
    "likelihood": likelihood,
    "conditional": conditional,
    "samples": samples,
    "flows": flows,
    "other_images": other_images,
    "table_3": table_3,
    "table_2": both_of_table_2,
    "grid_by_rate": grid_by_rate,
    "grid_by_size": grid_by_size,
}
