"""The explorer: one HTML file that shows a run and computes its decoder itself, without a server or network."""

import json
import math
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import torch
from torch import Tensor

from cvae_lightning.core.conditions import Classes, Column, Number
from cvae_lightning.core.files import write_whole
from cvae_lightning.exporters.javascript import (
    check_the_page_can_compute,
    decoder_content,
    difference_in_float16,
    flow_content,
    mixtures_content,
)
from cvae_lightning.metrics.catalog import describe
from cvae_lightning.models.inference import decode, draws, kl_by_latent
from cvae_lightning.models.priors import FlowPrior, approximate_mixtures
from cvae_lightning.models.samplers import PriorSampler, approximate_density, density_of
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.metrics_file import Metrics, Numbers
from cvae_lightning.runs.summary import title_of

TITLES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "emnist": "EMNIST",
    "qmnist": "QMNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
    "usps": "USPS",
    "omniglot": "Omniglot",
}
"""The usual spelling of the names of data sets; others are shown as the configuration has them."""
DARK = 0.1  # median grey of the outermost pixels, below which grey images are shown as ink on paper
SHOWN = ("ssim", "mse", "fid_pixel", "score_uncapped", "elbo", "kl", "nll_iw", "fid_judge", "accuracy")


def write_explorer(model: VAE, metrics: Metrics, folder: Path) -> Iterator[str]:
    """Write explorer.html into `folder`, and yield one line about it.

    Raises UserError for a model that the page can't compute.
    """
    page = explorer_page(model, metrics)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "explorer.html"
    write_whole(file, page)
    rounding = f"pixels within {255 * difference_in_float16(model):.1f}/255 of PyTorch's"
    yield f"{file}: one file of {file.stat().st_size / 1e6:.2f} MB, {rounding}. Open it in a browser."


def explorer_page(model: VAE, metrics: Metrics) -> str:
    """The page as HTML, for a model and the metrics.json of its run.

    Raises UserError for a model that the page can't compute.
    """
    check_the_page_can_compute(model, metrics["network"])
    return Template(_file("explorer.html")).substitute(
        title=escape(f"{metrics['model'].upper()} on {data_title(metrics)}"),
        introduction=_introduction(model),
        metrics=_list(metrics["test"]),
        settings=escape(title_of(metrics)),
        sampler=_sampler(model),
        style=_file("explorer.css"),
        data=json.dumps(_content(model), allow_nan=False).replace("<", "\\u003c"),
        decoder=_file("decoder.js"),
        script=_file("explorer.js"),
    )


def _content(model: VAE) -> dict[str, Any]:
    """The data that the page's script reads.

    `reach` is the largest absolute value of a slider: three standard deviations of the prior from its mean, or more if
    the sampler draws latents beyond that.
    """
    prior, density = approximate_mixtures(model.prior_net).moments(), density_of(model.sampler, model.prior_net)
    gaussians = approximate_density(model.sampler, model.prior_net).as_single_gaussians()
    sampler = flow_content(density) if isinstance(density, FlowPrior) else mixtures_content(density)
    deviations = (0.5 * prior.log_var).exp()
    reach = max(float((prior.mean.abs() + 3 * deviations).max()), float(draws(model, 1000)[1].abs().quantile(0.995)))
    kl = kl_by_latent(model)
    return {
        "condition": [column_content(column) for column in model.condition.columns],
        "ink": _shows_ink(model),
        "kl": _rounded(kl),
        "order": kl.argsort(descending=True).tolist(),
        "prior": {"means": _rounded(prior.mean), "deviations": _rounded(deviations)},
        "reach": math.ceil(10 * reach) / 10,
        "decoder": decoder_content(model),
        "sampler": sampler,
        "gaussians": mixtures_content(gaussians),
    }


def data_title(metrics: Metrics) -> str:
    """The usual spelling of the name of a run's data set; a part of one, such as emnist_letters, keeps its name."""
    name = metrics["dataset"]["name"]
    whole, _, part = name.partition("_")
    if name not in TITLES and part and whole in TITLES:
        return f"{TITLES[whole]} {part}"
    return TITLES.get(name, name)


def column_content(column: Column) -> dict[str, Any]:
    """A column of the condition as the script reads it."""
    facts: dict[str, Any] = {"name": column.name, "optional": column.optional}
    if isinstance(column, Number):
        numbers = {"mean": column.mean, "std": column.std, "low": column.low, "high": column.high}
        return {"kind": "number", **facts, **numbers}
    return {"kind": "classes" if isinstance(column, Classes) else "flags", **facts, "names": column.names}


def _shows_ink(model: VAE) -> bool:
    """Whether the model's images are grey on black, such as MNIST's, which the page shows as ink on paper."""
    labels, latents = draws(model, 100)
    images = decode(model, latents, labels)
    border = torch.cat([images[..., [0, -1], :].flatten(), images[..., [0, -1]].flatten()])
    return images.shape[1] == 1 and float(border.median()) < DARK


def _rounded(values: Tensor) -> Any:
    return values.double().round(decimals=4).tolist()


def _introduction(model: VAE) -> str:
    names = [column.name for column in model.condition.columns]
    given = "a label" if model.condition.is_one_class else f"a condition ({', '.join(names)})"
    inputs = f"{model.latent_dim} numbers z{f' and {escape(given)}' if names else ''}"
    return f"A decoder turns {inputs} into an image. It runs on this page: drag a slider to see what that number does."


def _sampler(model: VAE) -> str:
    if isinstance(model.sampler, PriorSampler):
        return "the prior"
    num = model.sampler.mixtures(model.prior_net).num_components  # of a sampler that was fitted
    fitted = "a Gaussian" if num == 1 else f"a mixture of {num} Gaussians"
    return f"{fitted}{' per class' if model.num_classes else ''}, fitted after training"


def _list(numbers: Numbers) -> str:
    values = {describe(name).label: numbers.get(name) for name in SHOWN}
    texts = {label: f"{value:.4g}".replace("-", "\u2212") for label, value in values.items() if value is not None}
    return "".join(f"<div><dt>{escape(label)}</dt><dd>{text}</dd></div>" for label, text in texts.items())


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
