"""Scores: how likely each image is under a model, which class it probably has, and how typical it is."""

import csv
import io
import logging
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import DataUnavailable, check_integer
from cvae_lightning.core.files import write_whole
from cvae_lightning.core.pictures import image_table, reliability
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Conditions, Images, Labels
from cvae_lightning.drawing.inputs import images_to_score, split_of
from cvae_lightning.drawing.labels import label_arrays
from cvae_lightning.drawing.picture import Picture
from cvae_lightning.drawing.request import Request
from cvae_lightning.models import inference
from cvae_lightning.models.class_probabilities import (
    ROWS,
    Likelihoods,
    likelihoods,
    likelihoods_by_class,
    log_class_frequencies,
)
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.run import Run

log = logging.getLogger(__name__)

COLUMNS = 12  # of the picture
NUM_TYPICAL = 500  # images of val that say which likelihoods are typical
BINS = 10
LOWEST, HIGHEST = "least likely", "most likely"


class Scores(NamedTuple):
    """The scores of a batch of images. Those that need a class are nan where it is unknown."""

    elbo: Tensor
    nll: Tensor
    """-log p(x) in nats, over all classes that the model is conditioned on."""
    nll_given_label: Tensor
    log_posterior: Tensor
    """Log p(y | x), (batch, classes); no columns for a model that is not conditioned on a class."""


class Typicality(NamedTuple):
    """How -log p(x) of each image compares with that of images of val."""

    distance: Tensor
    """Standard deviations from the mean. An image that is likelier than each of val is not typical either."""
    excess: Tensor
    """Nats above what images of val have that compress equally well, after Serrà et al. 2020.

    A likelihood is higher for simple images, whatever they show (Nalisnick et al. 2019); this takes it out again.
    """


def pictures(request: Request) -> Iterator[Picture]:
    """The images with the lowest and the highest likelihood, and the arrays and the table of the scores of all.

    The arrays are images, labels as in `label_arrays`, elbo, nll, nll_given_label, mse, distance, excess and
    log_posterior (number, classes). A second picture shows how far p(y | x) can be trusted, if labels are known.
    """
    keys = request.keys
    num = check_integer("num", keys.num, 1, "1000 is the default.")
    num_samples = check_integer("num_samples", keys.num_samples, 1, "50 is the default.")
    model = request.run.model()
    x, y, names = images_to_score(request, model, num)
    scores = scores_of(model, request.run, x, y, num_samples, request.seed)
    reconstructions = inference.reconstruct(model, x, known_or_likely(model, y, scores), request.seed)
    mse = (reconstructions - x).square().flatten(1).mean(1)
    typicality = _typicality(request, model, x, scores.nll, num_samples)

    write_table(request.folder / "scores.csv", model.condition, names, y, scores, mse, typicality)
    log.info("%s", request.folder / "scores.csv")
    arrays = {**scores._asdict(), "mse": mse, **typicality._asdict()}
    labels = label_arrays(model.condition, y)
    order = scores.nll.argsort()
    columns = min(COLUMNS, len(order))
    shown = torch.cat([order[:columns], order.flip(0)[:columns]])
    mean, deviation = scores.nll.mean(), scores.nll.std(correction=0)
    title = f"-log p(x) of {len(x):,} images: {mean:.1f} nats on average, standard deviation {deviation:.1f}"
    yield Picture("scores", image_table(x[shown], columns, [HIGHEST, LOWEST], title), {"images": x, **labels, **arrays})
    classes = model.condition.classes(y)
    if model.num_classes and (classes >= 0).any():
        yield _reliability(scores.log_posterior[classes >= 0].exp(), classes[classes >= 0])


def scores_of(model: VAE, run: Run, x: Images, y: Conditions, num_samples: int, seed: int) -> Scores:
    """The scores of images with the labels `y`, with `num_samples` draws per image and class from one stream."""
    size = max(1, ROWS // num_samples)
    bounds = []
    with random_stream(seed):
        for images, labels in zip(torch.split(x, size), torch.split(y, size), strict=True):
            if model.num_classes:
                bounds.append(likelihoods_by_class(model, model.condition, images, labels, num_samples))
            else:
                bounds.append(likelihoods(model, images, labels, num_samples))
    found = Likelihoods(*(torch.cat(part).double() for part in zip(*bounds, strict=True)))
    if not model.num_classes:
        nll = -found.importance_weighted
        return Scores(found.elbo, nll, nll, torch.empty(len(x), 0, dtype=torch.double))
    shares = run.metrics["dataset"].get("images_per_class")
    counted = torch.arange(model.num_classes).repeat_interleave(torch.tensor(shares or [1] * model.num_classes))
    joint = found.importance_weighted + log_class_frequencies(counted, model.num_classes)
    classes = model.condition.classes(y)
    place = torch.where(classes < 0, joint.argmax(1), classes)[:, None]
    given = -found.importance_weighted.gather(1, place)[:, 0]
    return Scores(
        found.elbo.gather(1, place)[:, 0],
        -joint.logsumexp(1),
        torch.where(classes < 0, torch.nan, given),
        joint.log_softmax(1),
    )


def known_or_likely(model: VAE, y: Conditions, scores: Scores) -> Conditions:
    """The labels `y`, with the most probable class where the class is unknown."""
    if not model.num_classes:
        return y
    unknown = model.condition.classes(y) < 0
    likely = scores.log_posterior.argmax(1)
    filled = y.clone()
    for number in likely[unknown].unique().tolist():
        rows = unknown & (likely == number)
        filled[rows] = model.condition.with_class(y[rows], number)
    return filled


def write_table(
    file: Path,
    condition: Condition,
    names: Sequence[str],
    y: Conditions,
    scores: Scores,
    mse: Tensor,
    typicality: Typicality,
) -> None:
    """Write a row per image: its number or file, its label, and its scores; what is unknown is empty."""
    header = ["image", "label", "elbo", "nll", "nll_given_label", "mse", *Typicality._fields]
    classes = condition.class_names if scores.log_posterior.shape[1] else ()
    header += ["prediction", "probability", *(f"p({name})" for name in classes)] if classes else []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    labels = condition.written(y) if condition else [""] * len(y)
    numbers = torch.stack([scores.elbo, scores.nll, scores.nll_given_label, mse.double(), *typicality], 1).tolist()
    for row, name in enumerate(names):
        posterior = scores.log_posterior[row].exp()
        shown = ["" if value != value else f"{value:.7g}" for value in numbers[row]]
        if classes:
            best = int(posterior.argmax())
            shown += [classes[best], *(f"{value:.5g}" for value in (posterior[best], *posterior.tolist()))]
        table.writerow([name, labels[row], *shown])
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, text.getvalue())


def _typicality(request: Request, model: VAE, x: Images, nll: Tensor, num_samples: int) -> Typicality:
    """How -log p(x) of each image compares with images of val; nan without these."""
    unknown = Typicality(*[torch.full_like(nll, torch.nan)] * 2)
    try:
        val = split_of(request.run, "val", request.run.data_moved_to(request.keys))
    except DataUnavailable as reason:
        log.warning("%s Without it, the columns distance and excess stay empty.", reason)
        return unknown
    order = torch.randperm(len(val.labels), generator=torch.Generator().manual_seed(request.seed))[:NUM_TYPICAL]
    images, labels, _ = val.take(order)
    typical = scores_of(model, request.run, images / 255, labels, num_samples, request.seed).nll
    if len(typical) < 2 or not float(typical.std()):
        return unknown
    design, given = (torch.stack([torch.ones(len(each)), log_size(each)], 1).double() for each in (images / 255, x))
    line = torch.linalg.pinv(design) @ typical
    return Typicality((nll - typical.mean()).abs() / typical.std(), nll - given @ line)


def log_size(x: Images) -> Tensor:
    """The log of the bytes of each image, compressed without loss: of the differences of neighbouring pixels."""
    levels = (255 * x).round().to(torch.int16)
    differences = levels.diff(dim=3, prepend=levels.new_zeros(*levels.shape[:3], 1)).to(torch.uint8)
    return torch.tensor([float(len(zlib.compress(image.numpy().tobytes(), 9))) for image in differences]).log()


def _reliability(probabilities: Tensor, classes: Labels) -> Picture:
    """How often the most probable class is right, in bins of its probability."""
    confidence, read = probabilities.max(1)
    place = (confidence * BINS).long().clamp(max=BINS - 1)
    counts = place.bincount(minlength=BINS)
    sums = [values.new_zeros(BINS).index_add(0, place, values) for values in (confidence, (read == classes).double())]
    means, shares = (part / counts.clamp(min=1) for part in sums)
    accuracy = float((read == classes).double().mean())
    error = float((counts * (means - shares).abs()).sum() / len(classes))
    title = f"{accuracy:.1%} of {len(classes):,} right, calibration error {error:.3f}"
    arrays = {"confidence": means, "accuracy": shares, "counts": counts}
    return Picture("reliability", reliability(means, shares, counts, title), arrays)
