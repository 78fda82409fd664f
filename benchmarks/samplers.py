"""Compares samplers of the latents of one decoder: those of the package, and two that docs/ablation.md advises against.

    python benchmarks/samplers.py <run directory of experiment=best> ...

For each sampler, multirun/reference/ablation/samplers.csv gets the distances of its samples from val in the features of
the judge, and the mean of -log p(z) over the latents of val, where the sampler has a density.
"""

import argparse
from collections.abc import Callable, Iterator
from math import log, pi, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from kept import keep
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from cvae_lightning.core.shapes import Labels, Latents
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.grader import rounded
from cvae_lightning.evaluators.judged import distances
from cvae_lightning.evaluators.samples import CHUNK, whole
from cvae_lightning.judging.store import judge_for
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.samplers import MixtureSampler
from cvae_lightning.runs.run import Run
from cvae_lightning.training.parts import local_data

CLASSES = 10
DRAWS = 2


class Way(NamedTuple):
    draw: Callable[[Labels], Latents]
    log_prob: Callable[[Latents, Labels], Tensor] | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    rows = [row for path in parser.parse_args().runs for row in measured(Run(path))]
    keep(pd.DataFrame(rows), "ablation/samplers")


@torch.no_grad()
def measured(run: Run) -> Iterator[dict[str, Any]]:
    """One row per sampler and draw."""
    torch.manual_seed(0)
    model: Any = run.model()
    datamodule = local_data(run, {})
    datamodule.setup("fit")
    encoded = [(model.posterior(x, y).rsample(), y) for x, y in datamodule.batches("train")]
    train = Split(*(torch.cat(parts) for parts in zip(*encoded, strict=True)))
    images, labels = whole(datamodule.val_dataloader())
    judge = judge_for(*datamodule.splits["train"], Path())
    real, _ = judge.read(images)
    posteriors = [model.posterior(x, y) for x, y in datamodule.val_dataloader()]
    z = torch.cat([posterior.rsample() for posterior in posteriors])
    for name, way in ways(model, train, torch.cat([posterior.mean for posterior in posteriors])).items():
        nats = -way.log_prob(z, labels).mean() if way.log_prob else float("nan")
        for number in range(DRAWS):
            torch.manual_seed(number)
            pairs = zip(way.draw(labels).split(CHUNK), labels.split(CHUNK), strict=True)
            made = torch.cat([rounded(model.likelihood(*pair).mean) for pair in pairs])
            found = distances(real, judge.read(made)[0])
            yield {"way": name, "seed": run.metrics["seed"], "draw": number, "nats": float(nats), **found}


def ways(model: CVAE, train: Split, encoded_val: Latents) -> dict[str, Way]:
    """The samplers by name; `train` has latents in place of images."""
    z, y = train
    normal = MixtureSampler(model.latent_dim, CLASSES, num_components=1)
    normal.fit([(z, y)])
    mixture: Any = model.sampler
    flow = fitted_flow(z, y)
    return {
        "prior": Way(
            lambda labels: model.prior(labels).sample(), lambda z, labels: Normal(0.0, 1.0).log_prob(z).sum(1)
        ),
        "gaussian": Way(lambda labels: normal(labels, model.prior(labels)), log_prob_of(normal)),
        "mixture": Way(lambda labels: mixture(labels, model.prior(labels)), log_prob_of(mixture)),
        "mixture_sobol": Way(lambda labels: quasi_random(mixture, labels)),
        "flow": Way(flow.sample, flow.log_prob),
        "train": Way(lambda labels: of_others(train, labels)),
        "reconstructions": Way(lambda labels: encoded_val),
    }


def log_prob_of(mixture: MixtureSampler) -> Callable[[Latents, Labels], Tensor]:
    def log_prob(z: Latents, labels: Labels) -> Tensor:
        log_probs = torch.empty(len(z))
        for label, places in by_class(labels):
            normals = MultivariateNormal(mixture.means[label], scale_tril=mixture.factors[label])
            weights = Categorical(mixture.weights[label], validate_args=False)
            log_probs[places] = MixtureSameFamily(weights, normals, validate_args=False).log_prob(z[places])
        return log_probs

    return log_prob


def by_class(labels: Labels) -> Iterator[tuple[int, Tensor]]:
    """Each class, and the places in `labels` where it stands."""
    for label in range(CLASSES):
        yield label, (labels == label).nonzero()[:, 0]


def quasi_random(mixture: MixtureSampler, labels: Labels) -> Latents:
    """Draws from the mixture, made of a scrambled Sobol sequence instead of random numbers (Owen 1998)."""
    latent_dim = mixture.means.shape[2]
    seed = int(torch.randint(2**31, ()))
    engine = torch.quasirandom.SobolEngine(latent_dim + 1, scramble=True, seed=seed)
    z = torch.empty(len(labels), latent_dim)
    for label, places in by_class(labels):
        uniform = engine.draw(len(places)).double().clamp(1e-6, 1 - 1e-6)
        ends = mixture.weights[label].double().cumsum(0)
        component = torch.searchsorted(ends / ends[-1], uniform[:, 0].contiguous())
        noise = (sqrt(2) * torch.erfinv(2 * uniform[:, 1:] - 1)).float()[..., None]
        z[places] = mixture.means[label, component] + (mixture.factors[label, component] @ noise)[..., 0]
    return z


def of_others(train: Split, labels: Labels) -> Latents:
    """Latents of training images with these labels, as the best possible sampler would draw them."""
    z = torch.empty(len(labels), train.images.shape[1])
    for label, places in by_class(labels):
        (members,) = (train.labels == label).nonzero(as_tuple=True)
        z[places] = train.images[members[torch.randperm(len(members))[: len(places)]]]
    return z


class Flow(nn.Module):
    """Affine couplings with permutations in between (Dinh et al. 2017, RealNVP), conditioned on the label."""

    def __init__(self, latent_dim: int, layers: int = 8, width: int = 128) -> None:
        super().__init__()
        self.num_kept = latent_dim // 2
        self.permutations = [torch.randperm(latent_dim) for _ in range(layers)]
        self.networks = nn.ModuleList(self._network(latent_dim, width) for _ in range(layers))

    def _network(self, latent_dim: int, width: int) -> nn.Module:
        last = nn.Linear(width, 2 * (latent_dim - self.num_kept))
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        middle = nn.Linear(width, width)
        return nn.Sequential(nn.Linear(self.num_kept + CLASSES, width), nn.SiLU(), middle, nn.SiLU(), last)

    def log_prob(self, z: Latents, labels: Labels) -> Tensor:
        condition, log_det = F.one_hot(labels, CLASSES).float(), torch.zeros(len(z))
        for network, permutation in zip(self.networks, self.permutations, strict=True):
            kept, moved = z[:, permutation].tensor_split([self.num_kept], 1)
            shift, scale = network(torch.cat([kept, condition], 1)).chunk(2, 1)
            scale = scale.tanh()
            z = torch.cat([kept, (moved - shift) * (-scale).exp()], 1)
            log_det = log_det - scale.sum(1)
        return log_det - 0.5 * (z.square() + log(2 * pi)).sum(1)

    def sample(self, labels: Labels) -> Latents:
        condition, z = F.one_hot(labels, CLASSES).float(), torch.randn(len(labels), len(self.permutations[0]))
        for network, permutation in zip(reversed(self.networks), reversed(self.permutations), strict=True):
            kept, moved = z.tensor_split([self.num_kept], 1)
            shift, scale = network(torch.cat([kept, condition], 1)).chunk(2, 1)
            z = torch.cat([kept, moved * scale.tanh().exp() + shift], 1)[:, permutation.argsort()]
        return z


@torch.enable_grad()
def fitted_flow(z: Latents, labels: Labels, epochs: int = 40, batch_size: int = 512) -> Flow:
    torch.manual_seed(0)
    flow = Flow(z.shape[1])
    steps = epochs * (len(z) // batch_size)
    optimizer = torch.optim.Adam(flow.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.002, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        if step % (len(z) // batch_size) == 0:
            batches = torch.randperm(len(z)).split(batch_size)
        chosen = batches[step % (len(z) // batch_size)]
        optimizer.zero_grad()
        (-flow.log_prob(z[chosen], labels[chosen]).mean()).backward()
        optimizer.step()
        schedule.step()
    return flow


if __name__ == "__main__":
    main()
