"""A model as Python code that needs only torch and safetensors: one function per part, of operations of torch.

The code is written from the graphs that torch.export records, so it computes what the model does, whatever the model
is. It reads the weights from model.safetensors, and what else it computes with from tables.safetensors.
"""

import math
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.export.graph_signature import InputKind, InputSpec

from cvae_lightning.core.errors import UserError
from cvae_lightning.exporters.parts import CLOSE, Part, difference_from, parts_of, value_names
from cvae_lightning.models.vae import VAE

CODE = '''\
"""A variational autoencoder as functions that need only torch and safetensors.

Images are float32 in [0, 1], of shape (batch, {shape}).{labels}
Latents are float32, of shape (batch, {latent_dim}).

>>> import torch
>>> from model import sample
>>> sample({example}).shape
torch.Size([3, {shape}])
"""

from pathlib import Path

import torch
from safetensors.torch import load_file

{names}FOLDER = Path(__file__).parent
WEIGHTS = {{
    name: weight.float() if weight.is_floating_point() else weight
    for file in ("model.safetensors", "tables.safetensors")
    for name, weight in load_file(FOLDER / file).items()
}}
aten = torch.ops.aten


def sample({of}):
    """New images: latents that are drawn, and decoded."""
    noise = torch.randn({num}, {latent_dim})
{sampled}


{functions}'''

FUNCTIONS = {  # by the part: the function's name, and what it returns
    "encoder": ("encode", "Mean and log variance of the latents of images, both of shape (batch, latent_dim)."),
    "decoder": ("decode", "The images that latents stand for."),
    "sampler": ("draw", "The latents for `noise` from N(0, I) and, if asked for, `uniform` (batch,) from [0, 1)."),
    "classifier": ("classify", "The log-probability of each class, (batch, classes), for images."),
}
ABOUT_LABELS = {
    "": "",
    "label": "\n`label` is int64, of shape (batch,): places in CLASSES.",
    "condition": "\n`condition` is float32, of shape (batch, values): what VALUES names; a class is a number.",
}
UNKNOWN = {"label": " -1 is an unknown class.", "condition": " nan is unknown."}
FOREVER = 2**63 - 1  # the end of a slice that has none


class Standalone(NamedTuple):
    """The code of a model, and the tensors that it reads besides the weights."""

    code: str
    tables: dict[str, Tensor]


def standalone(model: VAE) -> Standalone:
    """The code of `model`: encode, decode, draw and sample, and classify if the model has a classifier.

    Raises UserError for a model that does something else than operations of torch.
    """
    parts = parts_of(model)
    tables: dict[str, Tensor] = {}
    inputs = list(parts["sampler"].inputs)
    label = next((name for name in inputs if name in ABOUT_LABELS), "")
    values = value_names(model.condition)
    drawn = f"decode(draw({', '.join(inputs)}){label and f', {label}'})"
    code = CODE.format(
        shape=", ".join(map(str, model.image_shape)),
        labels=ABOUT_LABELS[label] + (UNKNOWN[label] if model.condition.may_be_unknown else ""),
        latent_dim=model.latent_dim,
        example={"": "3", "label": "torch.tensor([0, 1, 1])"}.get(label, f"torch.zeros(3, {len(values)})"),
        names={
            "": "",
            "label": f"CLASSES = {list(model.condition.class_names)!a}\n",
            "condition": f"VALUES = {values!a}\n",
        }[label],
        of=label or "num",
        num=f"len({label})" if label else "num",
        sampled="\n".join([*(["    uniform = torch.rand(len(noise))"] * ("uniform" in inputs)), f"    return {drawn}"]),
        functions="\n\n".join(_function(name, part, model.state_dict(), tables) for name, part in parts.items()),
    )
    return Standalone(code, tables)


def check_standalone(model: VAE, folder: Path) -> None:
    """Raises UserError if the code in `folder`, which was written just now, computes something else than `model`."""
    functions = runpy.run_path(str(folder / "model.py"))
    for name, part in parts_of(model).items():
        function, _ = FUNCTIONS[name]
        difference = difference_from(part.function, part.inputs, functions[function])
        if not difference <= CLOSE:
            raise UserError(
                f"Expected outputs of {function} in model.py within {CLOSE:g} of the model's, got a difference of "
                f"{difference:.2g}. Try another version of torch."
            )


def _function(name: str, part: Part, weights: dict[str, Tensor], tables: dict[str, Tensor]) -> str:
    """A part of a model as a Python function; what it reads besides the `weights` is added to the `tables`."""
    batch = torch.export.Dim("batch")
    shapes = {key: {0: batch} for key in part.inputs}
    with torch.no_grad():  # else a model that switches gradients off has graphs within its graph
        program = torch.export.export(part.function, (), kwargs=part.inputs, dynamic_shapes=shapes)
    read = {**program.constants, **program.state_dict}

    def stands_for(spec: InputSpec) -> str:
        if spec.kind == InputKind.USER_INPUT:
            return str(spec.arg.name)
        tensor: Any = read[str(spec.target)]
        for known, weight in (*weights.items(), *tables.items()):
            if weight.dtype == tensor.dtype and torch.equal(weight, tensor):
                return f"WEIGHTS[{known!a}]"
        tables[f"{name}.{spec.target}"] = tensor.detach().clone().contiguous()
        return f"WEIGHTS[{f'{name}.{spec.target}'!a}]"

    function, meaning = FUNCTIONS[name]
    placeholders = list(map(stands_for, program.graph_signature.input_specs))
    lines = [f"def {function}({', '.join(part.inputs)}):", f'    """{meaning}"""']
    return "\n".join([*lines, *_body(program.graph_module.graph, placeholders)]) + "\n"


def _body(graph: fx.Graph, placeholders: list[str]) -> Iterator[str]:
    """One line per operation of a graph, and what it returns; `placeholders` stand for its inputs, in their order."""
    names = dict(zip((node for node in graph.nodes if node.op == "placeholder"), placeholders, strict=True))
    for node in graph.nodes:
        if node.op == "output":
            (results,) = node.args
            yield f"    return {', '.join(names[result] for result in results)}"
        elif node.op == "call_function" and _changes_nothing(node):
            names[node] = names[node.args[0]]
        elif node.op == "call_function":
            names[node] = node.name
            yield f"    {node.name} = {_call(node, names)}"


def _changes_nothing(node: fx.Node) -> bool:
    aten = torch.ops.aten
    return node.target == aten.alias.default or (node.target == aten.slice.Tensor and node.args[2:] == (0, FOREVER))


def _call(node: fx.Node, names: dict[fx.Node, str]) -> str:
    """An operation as Python code."""
    arguments = [_value(argument, names) for argument in node.args]
    if getattr(node.target, "__name__", "") == "getitem":
        return f"{arguments[0]}[{arguments[1]}]"
    if not isinstance(node.target, torch._ops.OpOverload) or node.target.namespace != "aten":
        raise UserError(f"Expected a model of operations of torch, got {node.target}. Use format=onnx instead of to.")
    arguments += [f"{key}={_value(value, names)}" for key, value in node.kwargs.items()]
    return f"{node.target}({', '.join(arguments)})"


def _value(value: Any, names: dict[fx.Node, str]) -> str:
    if isinstance(value, fx.Node):
        return names[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item, names) for item in value)}]"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return f"torch.{value!r}" if isinstance(value, torch.device) else repr(value)
