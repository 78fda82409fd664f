r"""The picture of docs/theory.md: what the weight of the KL term does, and that the decoder's variance does the same.

    vae="model=vae epochs=5 batch_size=256 lr=0.002 schedule=one_cycle"
    python -m cvae_lightning -m $vae seed=0 likelihood.variance=0.005,0.05,0.5,2.5,12.5 \
        hydra.sweep.dir=multirun/theory/variance
    python -m cvae_lightning -m $vae seed=1 beta=0.01,0.1,5,784 hydra.sweep.dir=multirun/theory/beta
    python -m cvae_lightning -m $vae seed=0 likelihood=gaussian_optimal hydra.sweep.dir=multirun/theory/optimal
    python benchmarks/beta_and_variance.py multirun/theory

The last line reads the runs into docs/figures/beta_and_variance.csv, some of their reconstructions into
reconstructions.png beside it, the variances of MNIST's principal components into principal_variances.csv, and draws
beta_and_variance.png. Without a folder it draws from the three files.
"""

import argparse
import csv
import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from cvae_lightning.core.pictures import ACCENT, GREY, INK

FIGURES = Path(__file__).parent.parent / "docs" / "figures"
RUNS, VARIANCES = FIGURES / "beta_and_variance.csv", FIGURES / "principal_variances.csv"
DIGITS, PICTURE = FIGURES / "reconstructions.png", FIGURES / "beta_and_variance.png"
COLUMNS = ("way", "seed", "beta", "variance", "kl", "mse", "ssim", "log_likelihood")
NUM_PIXELS, LATENT_DIM = 784, 20
BLUE, GOLD = "#30638e", "#edae49"
SHOWN = ((0.01, "0.01"), (0.1, "0.1"), (1.0, "1"), (5.0, "5"), (784.0, "784"))
FIRST_OF_VAL = 5

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="of the three sweeps; without it the files are drawn")
    folder = parser.parse_args().folder
    if folder:
        write(RUNS, COLUMNS, measured(folder))
        write(VARIANCES, ("variance",), [{"variance": f"{value:.6f}"} for value in principal_variances(folder)])
        reconstructions(folder).save(DIGITS, optimize=True)
    with Image.open(DIGITS) as digits:
        figure = drawn(read(RUNS), [row["variance"] for row in read(VARIANCES)], digits.copy())
    figure.savefig(PICTURE)


def weight(row: Row) -> float:
    """2 * beta * variance: the squared error that a nat has to save."""
    return float(2 * row["beta"] * row["variance"])


def run_paths(folder: Path) -> list[Path]:
    return sorted(file.parent for file in folder.glob("*/*/metrics.json"))


def measured(folder: Path) -> list[Row]:
    """A row a run: val metrics, and the variance that it had at the end."""
    return sorted((row_of(path) for path in run_paths(folder)), key=lambda row: (row["way"], weight(row)))


def row_of(path: Path) -> Row:
    from cvae_lightning.runs.run import Run

    run = Run(path)
    metrics, way = run.metrics, path.parent.name
    variance = float(run.model().state_dict()["likelihood_head.variance"]) if way == "optimal" else metrics["variance"]
    numbers = {name: metrics["val"][name] for name in ("kl", "mse", "ssim", "log_likelihood")}
    return {"way": way, "seed": metrics["seed"], "beta": metrics["beta"], "variance": variance, **numbers}


def principal_variances(folder: Path) -> list[float]:
    """Of the training images along their principal components, from the largest to the smallest."""
    from cvae_lightning.data.sources import source_of
    from cvae_lightning.evaluators.pca import principal_components
    from cvae_lightning.runs.run import Run

    train, _ = source_of(Run(folder / "variance" / "0").raw_config).fit_splits()
    mean, components = principal_components(train, NUM_PIXELS)
    codes = (train.images.flatten(1).double() / 255 - mean) @ components
    values: list[float] = codes.square().mean(0).flip(0).clamp(min=0).tolist()
    return values


def reconstructions(folder: Path) -> Image.Image:
    """Columns: a run of each weight that is shown, and the originals; the means of the posteriors, decoded."""
    import torch

    from cvae_lightning.data.sources import source_of
    from cvae_lightning.runs.run import Run

    _, val = source_of(Run(folder / "variance" / "0").raw_config).fit_splits()
    firsts = [(val.labels == label).nonzero()[0, 0] for label in range(FIRST_OF_VAL)]
    split = val.take(torch.stack(firsts))
    x = split.images.float() / 255
    columns = []
    for shown, _ in SHOWN:
        (path, *_) = [path for path in run_paths(folder) if math.isclose(weight(row_of(path)), shown)]
        model = Run(path).model()
        with torch.no_grad():
            columns.append(model.likelihood(model.posterior(x, split.labels).mean, split.labels).mean)
    table = torch.stack([x, *columns])[:, :, 0]  # (columns, digits, 28, 28)
    pixels = (255 * table.permute(1, 2, 0, 3).flatten(2).flatten(0, 1)).round().byte()
    return Image.fromarray(255 - pixels.numpy())


def linear_model(variances: list[float], level: float) -> tuple[float, float]:
    """KL and MSE of the best linear VAE: its first components are kept, each down to an error of `level`."""
    kept = [value for value in variances[:LATENT_DIM] if value > level]
    kl = sum(0.5 * math.log(value / level) for value in kept)
    return kl, (len(kept) * level + sum(variances[len(kept) :])) / NUM_PIXELS


def drawn(rows: list[Row], variances: list[float], digits: Image.Image) -> Figure:
    figure = Figure(figsize=(8.6, 5), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2.25, 1])
    frontier(left, rows, variances)
    left.set_title("One curve: what is learnt depends on beta times variance", fontsize=11, color=INK, loc="left")
    samples(right, digits)
    return figure


def frontier(axes: Axes, rows: list[Row], variances: list[float]) -> None:
    levels = [variances[0] * 0.94**step for step in range(105)]
    kl, mse = zip(*(linear_model(variances, level) for level in levels), strict=True)
    axes.plot(kl, mse, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate("the best linear VAE", (kl[60], mse[60]), (6, 6), textcoords="offset points", color=GREY, fontsize=8)
    ours = sorted((row for row in rows if row["way"] != "optimal"), key=lambda row: row["kl"])
    axes.plot([row["kl"] for row in ours], [row["mse"] for row in ours], color=INK, alpha=0.12, linewidth=6, zorder=1)
    styles: dict[str, Row] = {
        "variance": {"s": 55, "color": BLUE, "label": "the variance varied, beta 1"},
        "beta": {
            "s": 190,
            "facecolor": "none",
            "edgecolor": ACCENT,
            "linewidth": 1.8,
            "label": "beta varied, variance 0.5",
        },
        "optimal": {"s": 75, "marker": "D", "color": GOLD, "label": "variance = MSE (sigma-VAE), beta 1"},
    }
    for way, style in styles.items():
        points = [row for row in rows if row["way"] == way]
        axes.scatter([row["kl"] for row in points], [row["mse"] for row in points], zorder=3, **style)
    named = {1.0: "1, the paper", 12.5: "", 784.0: "25 and 784, a mean over pixels:\nnothing is learnt"}
    for row in rows:
        name = named.get(round(weight(row), 4), f"{weight(row):.2g}")
        if (row["way"] == "variance" and weight(row) < 20) or weight(row) == 784:
            axes.annotate(name, (row["kl"], row["mse"]), (10, 6), textcoords="offset points", color=INK, fontsize=9)
    axes.set_xlabel("KL, nats per image", fontsize=9)
    axes.set_ylabel("mean squared error of reconstructions", fontsize=9)
    axes.set_yscale("log")
    axes.set_ylim(0.01, 0.09)
    axes.set_yticks([0.01, 0.02, 0.03, 0.05, 0.07], ["0.01", "0.02", "0.03", "0.05", "0.07"])
    axes.minorticks_off()
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25, linewidth=0.6)
    axes.legend(frameon=False, fontsize=8.5, loc="upper right")


def samples(axes: Axes, digits: Image.Image) -> None:
    axes.imshow(digits, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
    names = ["original", *(name for _, name in SHOWN)]
    axes.set_xticks([28 * column + 14 for column in range(len(names))], names, fontsize=8, color=INK)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("2 * beta * variance", fontsize=9)


def write(path: Path, columns: tuple[str, ...], rows: list[Row]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: value if key == "way" else float(value) for key, value in row.items()} for row in rows]


if __name__ == "__main__":
    main()
