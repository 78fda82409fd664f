"""A run's encoder, decoder and sampler as ONNX files, each compared with PyTorch before it is written."""

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cvae_lightning.core.errors import UserError
from cvae_lightning.core.files import write_whole
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Images, Labels, Latents
from cvae_lightning.exporters.labels import label_names
from cvae_lightning.models.latents import GaussianMixtures
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.metrics_file import StoredMetrics

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
CLOSE = 1e-5  # absolute below 1, relative above
BATCH_SIZES = (1, 7)

for library in ("onnx_ir", "onnxscript", "torch.onnx"):  # they log each step of their optimisation
    logging.getLogger(library).setLevel(logging.WARNING)


class Encoder(nn.Module):
    """q(z | x, y) of a model, as a graph computes it."""

    contexts: Tensor

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.register_buffer("contexts", _contexts(model))

    def forward(self, image: Images, label: Labels | None = None) -> tuple[Latents, Latents]:
        """Mean and log_var of q(z | x, y)."""
        mean, log_var = self.encoder(image, _context(self.contexts, image, label)).chunk(2, dim=1)
        return mean, log_var


class Decoder(nn.Module):
    """The mean of p(x | z, y) of a model, as a graph computes it."""

    contexts: Tensor

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.decoder, self.likelihood_head = model.decoder, model.likelihood_head
        self.register_buffer("contexts", _contexts(model))

    def forward(self, latent: Latents, label: Labels | None = None) -> Images:
        return self.likelihood_head(self.decoder(latent, _context(self.contexts, latent, label))).mean


class Sampler(nn.Module):
    """A draw of z as a function of random numbers, for a graph that draws none itself."""

    thresholds: Tensor  # (groups, components - 1): below the first of them the first component is chosen, and so on
    means: Tensor
    factors: Tensor

    def __init__(self, mixtures: GaussianMixtures) -> None:
        """`mixtures` has one mixture per class, or a single one."""
        super().__init__()
        self.register_buffer("thresholds", mixtures.weights.cumsum(1)[:, :-1])
        self.register_buffer("means", mixtures.means)
        self.register_buffer("factors", mixtures.factors)

    def forward(self, noise: Latents, uniform: Tensor, label: Labels | None = None) -> Latents:
        """The z for `noise` from N(0, I), and for `uniform` (batch,) from [0, 1), which chooses the component."""
        group = torch.zeros_like(uniform, dtype=torch.long) if label is None else _row_of(label, len(self.means))
        component = (uniform[:, None] >= self.thresholds[group]).sum(1)
        return self.means[group, component] + (self.factors[group, component] @ noise[..., None])[..., 0]


def write_onnx_models(model: VAE, metrics: StoredMetrics, folder: Path) -> Iterator[str]:
    """Write encoder.onnx, decoder.onnx and sampler.onnx; yield a line about each.

    Raises UserError if a package of the extra `export` is missing, or if a file's outputs differ from PyTorch's.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        install = "Install the extra: pip install 'cvae_lightning[export]'."
        raise UserError(f"format=onnx needs the package {missing[0]}, which is not installed. {install}")
    folder.mkdir(parents=True, exist_ok=True)
    facts = metadata(model, metrics)
    for name, (part, inputs, outputs) in parts_of(model).items():
        file = folder / f"{name}.onnx"
        graph = onnx_graph(part, inputs, outputs, facts)
        difference = largest_difference(graph, part, inputs)
        if not difference <= CLOSE:
            raise UserError(
                f"Expected outputs of {name}.onnx within {CLOSE:g} of PyTorch's, got a difference of {difference:.2g}. "
                "Try another version of torch or onnxruntime."
            )
        write_whole(file, graph)
        signature = f"{', '.join(inputs)} -> {', '.join(outputs)}"
        yield f"{file}: {signature}; {file.stat().st_size / 1e6:.2f} MB, within {difference:.1g} of PyTorch."


class Part(NamedTuple):
    """A part of a model as a function of tensors by name, with inputs to try it on."""

    function: nn.Module
    inputs: dict[str, Tensor]
    outputs: list[str]


def parts_of(model: VAE) -> dict[str, Part]:
    """Encoder, decoder and sampler, by the names of their files."""
    with random_stream(0):
        image, latent, noise = (torch.rand(8, *model.image_shape), *torch.randn(2, 8, model.latent_dim))
        uniform = torch.rand(8)
    label = {"label": torch.arange(8) % model.num_classes} if model.num_classes else {}
    sampler = Sampler(model.sampler.mixtures(model.prior_net).by_class(model.num_classes))
    return {
        "encoder": Part(Encoder(model).eval(), {"image": image, **label}, ["mean", "log_var"]),
        "decoder": Part(Decoder(model).eval(), {"latent": latent, **label}, ["image"]),
        "sampler": Part(sampler.eval(), {"noise": noise, "uniform": uniform, **label}, ["latent"]),
    }


def onnx_graph(part: nn.Module, inputs: dict[str, Tensor], outputs: Sequence[str], facts: dict[str, str]) -> bytes:
    """The content of an ONNX file: a graph for any batch size, with its weights."""
    import onnx

    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about itself; its output is compared with PyTorch
        program = torch.onnx.export(
            part,
            kwargs=inputs,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes={name: {0: batch} for name in inputs},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    onnx.helper.set_model_props(graph, facts)
    onnx.checker.check_model(graph)
    return graph.SerializeToString()


@torch.no_grad()
def largest_difference(graph: bytes, part: nn.Module, inputs: dict[str, Tensor]) -> float:
    """The largest difference between onnxruntime and PyTorch for `BATCH_SIZES`: absolute below 1, relative above."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    differences = []
    for size in BATCH_SIZES:
        batch = {name: values[:size] for name, values in inputs.items()}
        outputs = part(**batch)
        for ours, theirs in zip(
            outputs if isinstance(outputs, tuple) else (outputs,),
            session.run(None, {name: values.numpy() for name, values in batch.items()}),
            strict=True,
        ):
            differences.append((ours - torch.from_numpy(theirs)).abs() / ours.abs().clamp(min=1))
    return float(torch.cat([values.flatten() for values in differences]).max())


def metadata(model: VAE, metrics: StoredMetrics) -> dict[str, str]:
    """What the files say about the run: plain strings, or JSON."""
    names = label_names(metrics["dataset"]["name"], model.num_classes)
    return {
        "model": metrics["model"],
        "dataset": metrics["dataset"]["name"],
        "label_names": json.dumps(names, ensure_ascii=False),
        "image_shape": json.dumps(model.image_shape),
        "latent_dim": json.dumps(model.latent_dim),
        "value_range": json.dumps([0, 1]),
        "weights_sha256": metrics["weights_sha256"],
        "metrics": json.dumps(metrics),
    }


def _contexts(model: VAE) -> Tensor:
    """The context of each label, (labels, context)."""
    return model.context(torch.arange(model.num_classes))


def _context(contexts: Tensor, like: Tensor, label: Labels | None) -> Tensor:
    return like.new_empty(like.shape[0], 0) if label is None else contexts[_row_of(label, len(contexts))]


def _row_of(label: Labels, num_classes: int) -> Labels:
    """The row of a table for `label`; out of bounds for a negative label, which would count from the end."""
    return torch.where(label < 0, num_classes, label)
