r"""Keeps the runs behind the picture of docs/theory.md.

    vae="model=vae epochs=5 batch_size=256 lr=0.002 schedule=one_cycle"
    python -m cvae_lightning -m $vae seed=0 likelihood.variance=0.005,0.05,0.5,2.5,12.5 \
        hydra.sweep.dir=multirun/theory/variance
    python -m cvae_lightning -m $vae seed=1 beta=0.01,0.1,5,784 hydra.sweep.dir=multirun/theory/beta
    python -m cvae_lightning -m $vae seed=0 likelihood=gaussian_optimal hydra.sweep.dir=multirun/theory/optimal
    python benchmarks/theory.py multirun/theory

It writes to multirun/reference/theory: the numbers of the runs, some of their reconstructions, and the variances of
MNIST's principal components.
"""

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from kept import keep
from pages.theory import NUM_PIXELS, RECONSTRUCTIONS, SHOWN
from PIL import Image

from cvae_lightning.data.sources import source_of
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.pca import principal_components
from cvae_lightning.runs.run import Run

NUM_DIGITS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the three sweeps")
    runs = [Run(file.parent) for file in sorted(parser.parse_args().folder.glob("*/*/metrics.json"))]
    rows = pd.DataFrame([row_of(run) for run in runs])
    rows["weight"] = 2 * rows["beta"] * rows["variance"]
    keep(rows.sort_values(["way", "weight"]).drop(columns="weight"), "theory/sweep")
    train, val = source_of(runs[0].raw_config).fit_splits()
    keep(pd.DataFrame({"variance": principal_variances(train)}), "theory/principal_variances")
    by_weight = {weight: run for run, weight in zip(runs, rows["weight"], strict=True)}
    reconstructions(by_weight, val).save(RECONSTRUCTIONS, optimize=True)


def row_of(run: Run) -> dict[str, Any]:
    """What the sweep of the run varied, its settings, and its metrics on val; the variance as it was in the end."""
    metrics, way = run.metrics, run.path.parent.name
    variance = metrics["variance"]
    if way == "optimal":
        (variance,) = (float(value) for key, value in run.model().state_dict().items() if key.endswith(".variance"))
    names = ("kl", "mse", "ssim", "log_likelihood")
    settings = {"way": way, "seed": metrics["seed"], "beta": metrics["beta"], "variance": variance}
    return {**settings, **{f"val/{name}": metrics["val"][name] for name in names}}


def principal_variances(train: Split) -> list[float]:
    """The variances of the images along their principal components, from the largest to the smallest."""
    mean, components = principal_components(train, NUM_PIXELS)
    codes = (train.images.flatten(1).double() / 255 - mean) @ components
    variances: list[float] = codes.square().mean(0).flip(0).clamp(min=0).tolist()
    return variances


@torch.no_grad()
def reconstructions(runs: Mapping[float, Run], val: Split) -> Image.Image:
    """The first image of each of five digits, and beside it its reconstruction by a run of each weight in `SHOWN`."""
    chosen = val.take(torch.stack([(val.labels == label).nonzero()[0, 0] for label in range(NUM_DIGITS)]))
    x = chosen.images.float() / 255
    columns = [x]
    for shown in SHOWN:
        model = next(run for weight, run in runs.items() if math.isclose(weight, shown)).model()
        columns.append(model.likelihood(model.posterior(x, chosen.labels).mean, chosen.labels).mean)
    images = torch.stack(columns)[:, :, 0]  # (columns, digits, 28, 28)
    pixels = (255 * images.permute(1, 2, 0, 3).flatten(2).flatten(0, 1)).round().byte()
    return Image.fromarray(255 - pixels.numpy())


if __name__ == "__main__":
    main()
