"""A model's encoder, decoder, sampler and classifier as functions of tensors, which can be exported as graphs."""

import itertools
import json
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cvae_lightning.core.conditions import Classes, Column, Condition, Flags, Number
from cvae_lightning.core.errors import refuse
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Conditions, Context, Images, Labels, Latents, Logits
from cvae_lightning.models.latents import GaussianMixtures
from cvae_lightning.models.m2 import M2
from cvae_lightning.models.priors import FlowPrior
from cvae_lightning.models.samplers import density_of
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.metrics_file import StoredMetrics

CLOSE = 1e-5
"""The largest `difference_from` PyTorch that something exported may have."""

BATCH_SIZES = (1, 7)


class GraphContext(nn.Module):
    """The context of a model as a graph computes it, which refuses unknown values that the model has not learned.

    A class outside the model's is out of bounds, which is an error in the runtime; so is an unknown one, unless the
    column may be unknown. An unknown number or flag that may not be unknown makes every output nan.
    """

    def __init__(self, model: VAE) -> None:
        """Raises UserError for a model that computes its context in a way of its own."""
        super().__init__()
        self.condition = model.condition
        for index, column in enumerate(self.condition.columns):
            if isinstance(column, Classes):
                self.register_buffer(f"contexts{index}", torch.eye(column.width + column.optional))
        y = tried(self.condition)
        if not torch.equal(self(y), model.context(y)):
            remedy = "A graph knows no other context."
            refuse("a model whose context is that of its condition", "model", type(model).__name__, remedy)

    def forward(self, y: Conditions) -> Context:
        """The context of `y`, with the values of core/conditions.py."""
        columns = zip(self.condition.columns, _by_column(self.condition, y), strict=True)
        return torch.cat([self._of_column(index, *pair) for index, pair in enumerate(columns)], 1)

    def _of_column(self, index: int, column: Column, values: Tensor) -> Context:
        if isinstance(column, Classes):
            contexts: Tensor = self.get_buffer(f"contexts{index}")
            return contexts[_row_of(_class_of(values), column)]
        context = (values - column.mean) / column.std if isinstance(column, Number) else values
        if not column.optional:
            return context
        unknown = values.isnan()
        return torch.cat([torch.where(unknown, 0, context), unknown.any(1, keepdim=True).float()], 1)


class Encoder(nn.Module):
    """q(z | x, y) of a model, as a graph computes it."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.context = GraphContext(model) if model.condition else None

    def forward(
        self, image: Images, label: Labels | None = None, condition: Tensor | None = None
    ) -> tuple[Latents, Latents]:
        """Mean and log_var of q(z | x, y)."""
        mean, log_var = self.encoder(image, _context(self.context, image, label, condition)).chunk(2, dim=1)
        return mean, log_var


class Decoder(nn.Module):
    """The mean of p(x | z, y) of a model, as a graph computes it."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.decoder, self.likelihood_head = model.decoder, model.likelihood_head
        self.context = GraphContext(model) if model.condition else None

    def forward(self, latent: Latents, label: Labels | None = None, condition: Tensor | None = None) -> Images:
        return self.likelihood_head(self.decoder(latent, _context(self.context, latent, label, condition))).mean


class Sampler(nn.Module):
    """A draw of z as a function of random numbers, for a graph that draws none itself."""

    thresholds: Tensor  # (groups, components - 1): below the first of them the first component is chosen, and so on
    means: Tensor
    factors: Tensor

    def __init__(self, mixtures: GaussianMixtures, condition: Condition) -> None:
        """`mixtures` has one mixture per group of the condition, or a single one."""
        super().__init__()
        self.condition = condition
        mixtures = mixtures.by_class(condition.num_groups)
        self.register_buffer("thresholds", mixtures.weights.cumsum(1)[:, :-1])
        self.register_buffer("means", mixtures.means)
        self.register_buffer("factors", mixtures.factors)

    def forward(
        self, noise: Latents, uniform: Tensor, label: Labels | None = None, condition: Tensor | None = None
    ) -> Latents:
        """The z for `noise` from N(0, I), and for `uniform` (batch,) from [0, 1), which chooses the component."""
        group = _group(self.condition, label if condition is None else condition, uniform)
        component = (uniform[:, None] >= self.thresholds[group]).sum(1)
        return self.means[group, component] + (self.factors[group, component] @ noise[..., None])[..., 0]


class FlowSampler(nn.Module):
    """A draw of z from a flow as a function of random numbers."""

    contexts: Tensor  # (groups, classes)

    def __init__(self, prior: FlowPrior, condition: Condition) -> None:
        super().__init__()
        self.flow, self.condition = prior.flow, condition
        self.register_buffer("contexts", torch.eye(max(prior.num_classes, 1))[:, : prior.num_classes])

    def forward(self, noise: Latents, label: Labels | None = None, condition: Tensor | None = None) -> Latents:
        """The z for `noise` from N(0, I)."""
        group = _group(self.condition, label if condition is None else condition, noise[:, 0])
        return self.flow.inverse(noise, self.contexts[group])


class Classifier(nn.Module):
    """q(y | x) of a model that has a classifier, as a graph computes it."""

    def __init__(self, model: M2) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Images) -> Logits:
        """Log q(y | x) of each class."""
        return self.model.class_log_probabilities(image)


class Part(NamedTuple):
    """A part of a model as a function of tensors by name, with inputs to try it on."""

    function: nn.Module
    inputs: dict[str, Tensor]
    outputs: list[str]


def parts_of(model: VAE) -> dict[str, Part]:
    """Encoder, decoder and sampler, and the classifier of a model that has one, by the names of their files.

    A model of one class per image takes its number as `label`, any other condition as `condition`, (batch, values); a
    model without a condition takes neither. The sampler of a flow needs no `uniform`.
    """
    condition = model.condition
    y = tried(condition)
    labels = {"label" if condition.is_one_class else "condition": y} if condition else {}
    with random_stream(0):
        image, latent, noise = (torch.rand(len(y), *model.image_shape), *torch.randn(2, len(y), model.latent_dim))
        uniform = torch.rand(len(y))
    density = density_of(model.sampler, model.prior_net)
    if isinstance(density, FlowPrior):
        sampler = Part(FlowSampler(density, condition).eval(), {"noise": noise, **labels}, ["latent"])
    else:
        inputs = {"noise": noise, "uniform": uniform, **labels}
        sampler = Part(Sampler(density, condition).eval(), inputs, ["latent"])
    parts = {
        "encoder": Part(Encoder(model).eval(), {"image": image, **labels}, ["mean", "log_var"]),
        "decoder": Part(Decoder(model).eval(), {"latent": latent, **labels}, ["image"]),
        "sampler": sampler,
    }
    if isinstance(model, M2):
        parts["classifier"] = Part(Classifier(model).eval(), {"image": image}, ["log_probability"])
    return parts


def tried(condition: Condition) -> Conditions:
    """Labels with all classes of the main column and eight more, some of them unknown where they may be."""
    y = condition.spread(condition.num_classes + 8)
    if condition.is_one_class:
        return torch.cat([y, condition.unknown(1)]) if condition.may_be_unknown else y
    columns = [column for column in condition.columns for _ in range(column.num_values)]
    for place, column in enumerate(columns):
        if column.optional:
            y[-1, place] = y[-2 - place % 7, place] = torch.nan
    return y


@torch.no_grad()
def difference_from(
    part: nn.Module, inputs: dict[str, Tensor], other: Callable[..., Tensor | tuple[Tensor, ...]]
) -> float:
    """The largest difference between the outputs of `part` and of `other`, for `BATCH_SIZES` and for all inputs.

    It is absolute for values below 1, and relative above.
    """
    differences = []
    for size in (*BATCH_SIZES, len(next(iter(inputs.values())))):
        batch = {name: values[:size] for name, values in inputs.items()}
        for ours, theirs in zip(_as_tuple(part(**batch)), _as_tuple(other(**batch)), strict=True):
            differences.append((ours - theirs).abs() / ours.abs().clamp(min=1))
    return float(torch.cat([values.flatten() for values in differences]).max())


def metadata(model: VAE, metrics: StoredMetrics) -> dict[str, str]:
    """What the files say about the run: plain strings, or JSON.

    `condition` describes the columns of the labels as core/conditions.py does, and `condition_values` names the values
    of the input `condition` in their order.
    """
    condition = model.condition
    return {
        "model": metrics["model"],
        "dataset": metrics["dataset"]["name"],
        "label_names": json.dumps(condition.class_names, ensure_ascii=False),
        "condition": json.dumps(condition.described(), ensure_ascii=False),
        "condition_values": json.dumps(value_names(condition), ensure_ascii=False),
        "image_shape": json.dumps(model.image_shape),
        "latent_dim": json.dumps(model.latent_dim),
        "value_range": json.dumps([0, 1]),
        "weights_sha256": metrics["weights_sha256"],
        "metrics": json.dumps(metrics),
    }


def value_names(condition: Condition) -> list[str]:
    """The name of each value of a label: that of its column, or for a flag, of the column and the flag."""
    names = []
    for column in condition.columns:
        names += [f"{column.name}: {flag}" for flag in column.names] if isinstance(column, Flags) else [column.name]
    return names


def _as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _context(context: GraphContext | None, like: Tensor, label: Labels | None, condition: Tensor | None) -> Context:
    y = label if condition is None else condition
    return like.new_empty(like.shape[0], 0) if context is None or y is None else context(y)


def _group(condition: Condition, y: Conditions | None, like: Tensor) -> Labels:
    """The density that the latents of each image are drawn from, by its row; `like` has one number per image."""
    main = condition.main
    if main is None or y is None:
        return torch.zeros_like(like, dtype=torch.long)
    values = _by_column(condition, y)[condition.columns.index(main)]
    return _row_of(_class_of(values), main)


def _by_column(condition: Condition, y: Conditions) -> list[Tensor]:
    """The values of each column, (batch, values): int64 for a label, else float32 with nan for unknown."""
    if y.ndim == 1:
        return [y[:, None]]
    ends = list(itertools.accumulate(column.num_values for column in condition.columns))
    return [y[:, start:end] for start, end in itertools.pairwise([0, *ends])]


def _class_of(values: Tensor) -> Labels:
    """The class, (batch,) int64, of values (batch, 1): -1 if it is unknown, and -2 for any other below 0."""
    if not values.is_floating_point():
        return values[:, 0]
    return torch.where(values.isnan(), -1.0, torch.where(values < 0, -2.0, values)).long()[:, 0]


def _row_of(label: Labels, column: Classes) -> Labels:
    """The row of a table for each class, the last one for an unknown class if it may be unknown.

    Any other label is out of bounds, also a negative one, which would count from the end.
    """
    rows = torch.where((label >= 0) & (label < column.width), label, column.width + column.optional)
    return torch.where(label == -1, column.width, rows) if column.optional else rows
