"""A run's encoder, decoder and sampler as ONNX files, each compared with PyTorch before it is written."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from cvae_lightning.core.errors import UserError
from cvae_lightning.core.files import write_whole
from cvae_lightning.exporters.parts import CLOSE, difference_from, metadata, parts_of
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.metrics_file import StoredMetrics

PACKAGES = ("onnx", "onnxruntime", "onnxscript")

for library in ("onnx_ir", "onnxscript", "torch.onnx"):  # they log each step of their optimisation
    logging.getLogger(library).setLevel(logging.WARNING)


def write_onnx_models(model: VAE, metrics: StoredMetrics, folder: Path) -> Iterator[str]:
    """Write encoder.onnx, decoder.onnx and sampler.onnx, and classifier.onnx if there is one; yield a line about each.

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


def largest_difference(graph: bytes, part: nn.Module, inputs: dict[str, Tensor]) -> float:
    """The largest difference between the outputs of onnxruntime and of PyTorch, as `difference_from` measures it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def run(**batch: Tensor) -> tuple[Tensor, ...]:
        outputs = session.run(None, {name: values.numpy() for name, values in batch.items()})
        return tuple(map(torch.from_numpy, outputs))

    return difference_from(part, inputs, run)
