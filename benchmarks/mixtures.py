"""Mixtures of other sizes for a trained run: how good their samples are, and how well they describe latents of val.

    python benchmarks/mixtures.py <run directory> <components>:<images per component> ...

Each mixture is fitted three times, to other draws from the posteriors of the training images and from other seeds, and
the judge compares other samples each time. The density is that of one draw from the posterior of each image of val,
given its class, in nats per image. `nearest` is the mean distance of 2,000 samples from the nearest training image, in
the features of the judge, beside that of as many images of val: samples that are much nearer would be copies.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from taught import NUM_SAMPLES, distance, refit
from writing import spread

from cvae_lightning import VAE, Run
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Labels, Latents
from cvae_lightning.data.loader import Loader
from cvae_lightning.evaluators.sample_quality import SampleQuality
from cvae_lightning.evaluators.samples import drawn
from cvae_lightning.judging.store import judge_for
from cvae_lightning.models.em import Mixture
from cvae_lightning.models.samplers import MixtureSampler
from cvae_lightning.training.parts import local_data

FITS = 3
DECIMALS = {"fid_judge": 4, "fid_judge_floor": 4, "accuracy": 4, "density": 2, "nearest": 3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("mixtures", nargs="+", metavar="components:images")
    asked = parser.parse_args()
    run = Run(asked.run)
    model, data = run.model(), local_data(run, {})
    data.setup("fit")
    train, val, folder = data.splits["train"], data.splits["val"], Path(run.raw_config.data_dir) / "judges"
    with random_stream(0):
        z, y = latents_of(model, data.batches("val"))
    judge = judge_for(train, folder)
    of_train = judge.features_of([train.images])
    print(f"val: nearest {distance(judge.features_of([val.images[:NUM_SAMPLES]]), of_train):.3f}", flush=True)
    for mixture in asked.mixtures:
        rows = []
        for seed in range(FITS):
            refit(model, data, mixture, seed)
            sampler = model.sampler
            assert isinstance(sampler, MixtureSampler)
            with random_stream(seed):
                samples = judge.features_of(drawn(model, y[:NUM_SAMPLES]))
            measured = SampleQuality(str(folder), seed=seed).measure(model, data.batches("val"), train, "val")
            rows.append({**measured, "density": density(sampler, z, y), "nearest": distance(samples, of_train)})
        frame = pd.DataFrame(rows)
        print(mixture, *(f"{name} {spread(frame[name], num)}" for name, num in DECIMALS.items()), sep="  ", flush=True)


@torch.no_grad()
def latents_of(model: VAE, batches: Loader) -> tuple[Latents, Labels]:
    """One draw from the posterior of each image, and its class."""

    def drawn() -> Iterator[tuple[Latents, Labels]]:
        for x, y in batches:
            yield model.posterior(x, y).sample(), y

    z, y = zip(*drawn(), strict=True)
    return torch.cat(z), torch.cat(y)


def density(sampler: MixtureSampler, z: Latents, y: Labels) -> float:
    """The mean log density of latents under the mixture of their class, averaged over classes."""
    parts = zip(sampler.weights.double(), sampler.means.double(), sampler.factors.double(), strict=True)
    by_class = [Mixture(*part).log_prob(z[y == label].double()).mean() for label, part in enumerate(parts)]
    return float(torch.stack(by_class).mean())


if __name__ == "__main__":
    main()
