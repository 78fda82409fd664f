"""CPU seconds and peak memory of each evaluator on large images of many classes, at two numbers of images.

    python benchmarks/evaluators.py                              # each in a process of its own, one thread
    python benchmarks/evaluators.py PCA --images 5000            # a single one, in this process

The images are noise of 64x64 pixels in colour, labelled with one of 200 classes and a number; the model is an untrained
CVAE with the paper's network. Networks that judge are fitted for one epoch only: how long their whole fit takes follows
from docs/metrics.md.
"""

import argparse
import functools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import torch

from cvae_lightning.core.conditions import Classes, Condition, Number
from cvae_lightning.data.loader import Loader
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.conditions import ConditionQuality
from cvae_lightning.evaluators.evaluator import Evaluator
from cvae_lightning.evaluators.grader import Grader
from cvae_lightning.evaluators.gradients import GradientVariance
from cvae_lightning.evaluators.latents import LatentSpace
from cvae_lightning.evaluators.likelihood import ImportanceWeighting
from cvae_lightning.evaluators.pca import PCA
from cvae_lightning.evaluators.sample_quality import SampleQuality
from cvae_lightning.judging import store
from cvae_lightning.judging.classifier import fit
from cvae_lightning.judging.values import fit_values
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.likelihoods import Gaussian
from cvae_lightning.models.optimizers import adam
from cvae_lightning.networks.mlp import MLP

NUMBERS = (5000, 10_000)
CLASSES, SHAPE = 200, (3, 64, 64)
EVALUATORS: dict[str, Callable[[str], Evaluator]] = {
    "Grader": lambda _: Grader(),
    "LatentSpace": lambda _: LatentSpace(),
    "PCA": lambda _: PCA(),
    "ImportanceWeighting": lambda _: ImportanceWeighting(num_samples=10),
    "GradientVariance": lambda _: GradientVariance(num_draws=10),
    "ConditionQuality": ConditionQuality,
    "SampleQuality": SampleQuality,
}


def noise(num: int) -> Split:
    condition = Condition(
        (Classes("species", tuple(map(str, range(CLASSES)))), Number("angle", 0.0, 1.0, low=-2.0, high=2.0))
    )
    labels = torch.stack([torch.arange(num).float() % CLASSES, torch.randn(num)], 1)
    return Split(torch.randint(256, (num, *SHAPE), dtype=torch.uint8), labels, condition)


def measure(name: str, num: int) -> str:
    """One row of a Markdown table."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for network in (fit, fit_values):
        setattr(store, network.__name__, functools.partial(network, epochs=1))
    split = noise(num)
    parts = (MLP(), Gaussian(), adam(lr=0.001))
    model = CVAE(*parts, image_shape=SHAPE, latent_dim=20, condition=split.condition).eval()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        EVALUATORS[name](folder).measure(model, Loader(split, 1000), split, "val")
    seconds = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"| {name} | {num:,} | {seconds:.1f} | {before / 1e6:.2f} | {after / 1e6:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluator", nargs="?", choices=EVALUATORS)
    parser.add_argument("--images", type=int, default=NUMBERS[0])
    given = parser.parse_args()
    if given.evaluator:
        print(measure(given.evaluator, given.images))
        return
    print("| evaluator | images | CPU s | GB before | GB at most |\n|---|---:|---:|---:|---:|")
    for name in EVALUATORS:
        for num in NUMBERS:
            subprocess.run([sys.executable, __file__, name, "--images", str(num)], check=True)


if __name__ == "__main__":
    main()
