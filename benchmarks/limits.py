"""How close to val the images of a run come, by where they or their latents come from.

    python benchmarks/limits.py <run directory> [<temperature> ...]

The lines are training images; the same moved as `data.max_shift=1` moves them; what the decoder makes of a draw from
the posterior of each of both; and draws from the run's own sampler at each temperature. Each has the mean and the
standard deviation of `fid_judge` over three sets of as many images as val has, and the mean as a multiple of the first.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from writing import spread

from cvae_lightning import VAE, Run
from cvae_lightning.core.products import exact_products
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Images, Labels
from cvae_lightning.data.loader import Loader
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.samples import rounded, with_labels
from cvae_lightning.judging.store import judge_for
from cvae_lightning.metrics.distances import frechet_distance
from cvae_lightning.models import inference
from cvae_lightning.training.parts import local_data

SETS = 3
BATCH_SIZE = 128  # of the images that are moved together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("temperatures", nargs="*", type=float, default=[1.0])
    asked = parser.parse_args()
    run = Run(asked.run)
    model, data = run.model().eval(), local_data(run, {})
    data.setup("fit")
    train, val = data.splits["train"], data.splits["val"]
    judge = judge_for(train, Path(run.raw_config.data_dir) / "judges")
    real = judge.features_of([val.images])

    sets: dict[str, Callable[[int], Iterable[Images]]] = {
        "training images": partial(images_of, train, val.labels, 0),
        "the same, moved": partial(images_of, train, val.labels, 1),
        "their posteriors": partial(decoded, model, train, val.labels, 0),
        "their posteriors, moved": partial(decoded, model, train, val.labels, 1),
        **{f"the sampler at {at:g}": partial(sampled, model, val.labels, at) for at in asked.temperatures},
    }
    floor = 0.0
    with exact_products(model.device):
        for name, images in sets.items():
            numbers = pd.Series(
                [frechet_distance(real, judge.features_of(map(rounded, images(seed)))) for seed in range(SETS)]
            )
            floor = floor or float(numbers.mean())
            print(f"{name:24} {spread(numbers, 4)}  {numbers.mean() / floor:.2f}", flush=True)


def chosen(train: Split, y: Labels, max_shift: int, seed: int) -> Loader:
    """Training images with these labels, every second batch of them moved by up to `max_shift` pixels."""
    with random_stream(seed):
        (index,) = with_labels(train, y, 1)
    return Loader(train.take(index), BATCH_SIZE, shuffle_seed=seed, max_shift=max_shift)


def images_of(train: Split, y: Labels, max_shift: int, seed: int) -> Iterator[Images]:
    return (x for x, _ in chosen(train, y, max_shift, seed))


def decoded(model: VAE, train: Split, y: Labels, max_shift: int, seed: int) -> Iterator[Images]:
    """What the decoder makes of a draw from the posterior of each training image."""
    with torch.no_grad(), random_stream(seed):
        for x, labels in chosen(train, y, max_shift, seed):
            yield inference.decode(model, model.posterior(x, labels).sample(), labels)


def sampled(model: VAE, y: Labels, temperature: float, seed: int) -> Iterable[Images]:
    return [inference.decode(model, inference.sample_latents(model, y, temperature, seed), y)]


if __name__ == "__main__":
    main()
