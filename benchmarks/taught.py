"""What a judge learns from a run's reconstructions and samples, in place of real images.

    python benchmarks/taught.py <run directory> [<components>:<images per component> ...]

Each judge is trained for 12 epochs on 20,000 images with the labels of random training images, and reads val. The lines
are the real images, their reconstructions, samples, samples with the pixel noise of p(x | z, y), and samples of each
mixture that is named, fitted anew; each with the mean and the standard deviation over the repetitions so far, which
have other labels, draws and judges. `nearest` is the mean distance, in the features of the judge of train, of 2,000 of
the images from the nearest of 10,000 other training images.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from writing import spread

from cvae_lightning import VAE, DataModule, Run
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import ByteImages, Features
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.samples import rounded
from cvae_lightning.judging.classifier import fit
from cvae_lightning.judging.store import judge_for
from cvae_lightning.models import inference
from cvae_lightning.models.likelihoods import GaussianPixels
from cvae_lightning.models.samplers import MixtureSampler
from cvae_lightning.training.parts import local_data

REPETITIONS = 3
NUM_IMAGES, EPOCHS = 20_000, 12
NUM_SAMPLES, NUM_NEAR = 2000, 10_000
NUM_AT_ONCE = 500  # images whose distances from all others are held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("mixtures", nargs="*", metavar="components:images")
    asked = parser.parse_args()
    run = Run(asked.run)
    data = local_data(run, {})
    data.setup("fit")
    train, val = data.splits["train"], data.splits["val"]
    judge_of_train = judge_for(train, Path(run.raw_config.data_dir) / "judges")
    numbers: dict[str, list[float]] = defaultdict(list)
    for seed in range(REPETITIONS):
        with random_stream(seed):
            index, others = torch.randperm(len(train.images))[: NUM_IMAGES + NUM_NEAR].split([NUM_IMAGES, NUM_NEAR])
        near = judge_of_train.features_of([train.images[others]])
        y = train.labels[index]
        for name, images in lessons(run.model(), data, index, asked.mixtures, seed):
            judge = fit(Split(images, y, train.condition), epochs=EPOCHS, seed=seed)
            numbers[name].append(float((judge.read(val.images)[1] == val.classes).double().mean()))
            nearest = distance(judge_of_train.features_of([images[:NUM_SAMPLES]]), near)
            print(f"{name}: {spread(pd.Series(numbers[name]), 4)}, nearest {nearest:.2f}", flush=True)
        print(f"val: nearest {distance(judge_of_train.features_of([val.images[:NUM_SAMPLES]]), near):.2f}")


def lessons(
    model: VAE, data: DataModule, index: Tensor, mixtures: Sequence[str], seed: int
) -> Iterator[tuple[str, ByteImages]]:
    """What a judge is trained on, by name: the training images with these numbers, or others with their labels."""
    train = data.splits["train"]
    x, y = train.images[index], train.labels[index]
    yield "real images", x
    yield "reconstructions", rounded(inference.reconstruct(model, x, y, seed))
    yield "samples", rounded(inference.decode(model, inference.sample_latents(model, y, seed=seed), y))
    yield "samples with pixel noise", rounded(noisy_samples(model, y, seed))
    for mixture in mixtures:
        refit(model, data, mixture, seed)
        yield mixture, rounded(inference.decode(model, inference.sample_latents(model, y, seed=seed), y))


@torch.no_grad()
def noisy_samples(model: VAE, y: Tensor, seed: int) -> Tensor:
    """Draws from p(x | z, y), a Gaussian, at the latents of the samples."""
    latents = inference.sample_latents(model, y, seed=seed)
    drawn = []
    with random_stream(seed):
        for part in zip(latents.split(1000), y.split(1000), strict=True):
            pixels = model.likelihood(*part)
            assert isinstance(pixels, GaussianPixels)
            sd = torch.as_tensor(pixels.variance).sqrt()
            drawn.append((pixels.mean + sd * torch.randn_like(pixels.mean)).clamp(0, 1))
    return torch.cat(drawn)


def refit(model: VAE, data: DataModule, mixture: str, seed: int) -> None:
    """Replace the sampler of `model` by a mixture, <components>:<images per component>, fitted to its latents."""
    size, images = map(int, mixture.split(":"))
    groups = model.condition.num_groups
    model.sampler = MixtureSampler(model.latent_dim, groups, size, seed=seed, images_per_component=images)
    with random_stream(seed):
        model.fit_sampler(data.batches_to_fit())


def distance(features: Features, others: Features) -> float:
    """The mean distance of each image from the nearest of the others."""
    return float(torch.cat([torch.cdist(part, others).amin(1) for part in features.split(NUM_AT_ONCE)]).mean())


if __name__ == "__main__":
    main()
