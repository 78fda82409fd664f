"""The explorer: one HTML file that shows a run and computes its decoder itself, without a server or network."""

import json
import math
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from torch import Tensor

from cvae_lightning.core.files import write_whole
from cvae_lightning.exporters.javascript import (
    check_the_page_can_compute,
    decoder_content,
    difference_in_float16,
    mixtures_content,
)
from cvae_lightning.exporters.labels import data_title, label_names
from cvae_lightning.metrics.catalog import describe
from cvae_lightning.models.inference import draws, kl_by_latent
from cvae_lightning.models.samplers import PriorSampler
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.metrics_file import Metrics, Numbers
from cvae_lightning.runs.summary import title_of

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
        title=escape(f"{metrics['model'].upper()} on {data_title(metrics['dataset']['name'])}"),
        introduction=_introduction(model),
        metrics=_list(metrics["test"]),
        settings=escape(title_of(metrics)),
        sampler=_sampler(model),
        style=_file("explorer.css"),
        data=json.dumps(_content(model, metrics), allow_nan=False).replace("<", "\\u003c"),
        decoder=_file("decoder.js"),
        script=_file("explorer.js"),
    )


def _content(model: VAE, metrics: Metrics) -> dict[str, Any]:
    """The data that the page's script reads.

    `reach` is the largest absolute value of a slider: three standard deviations of the prior from its mean, or more if
    the sampler draws latents beyond that.
    """
    prior, sampler = model.prior_net.mixtures().moments(), model.sampler.mixtures(model.prior_net)
    deviations = (0.5 * prior.log_var).exp()
    reach = max(float((prior.mean.abs() + 3 * deviations).max()), float(draws(model, 1000)[1].abs().quantile(0.995)))
    kl = kl_by_latent(model)
    return {
        "labels": label_names(metrics["dataset"]["name"], model.num_classes),
        "kl": _rounded(kl),
        "order": kl.argsort(descending=True).tolist(),
        "prior": {"means": _rounded(prior.mean), "deviations": _rounded(deviations)},
        "reach": math.ceil(10 * reach) / 10,
        "decoder": decoder_content(model),
        "sampler": mixtures_content(sampler),
        "gaussians": mixtures_content(sampler.as_single_gaussians()),
    }


def _rounded(values: Tensor) -> Any:
    return values.double().round(decimals=4).tolist()


def _introduction(model: VAE) -> str:
    inputs = f"{model.latent_dim} numbers z and a label" if model.num_classes else f"{model.latent_dim} numbers z"
    return f"A decoder turns {inputs} into an image. It runs on this page: drag a slider to see what that number does."


def _sampler(model: VAE) -> str:
    if isinstance(model.sampler, PriorSampler):
        return "the prior"
    num = model.sampler.mixtures(model.prior_net).num_components
    fitted = "a Gaussian" if num == 1 else f"a mixture of {num} Gaussians"
    return f"{fitted}{' per class' if model.num_classes else ''}, fitted after training"


def _list(numbers: Numbers) -> str:
    values = {describe(name).label: numbers.get(name) for name in SHOWN}
    texts = {label: f"{value:.4g}".replace("-", "\u2212") for label, value in values.items() if value is not None}
    return "".join(f"<div><dt>{escape(label)}</dt><dd>{text}</dd></div>" for label, text in texts.items())


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
