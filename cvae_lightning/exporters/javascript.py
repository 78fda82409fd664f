"""A model's decoder and latent distributions in the form that decoder.js computes with."""

import base64
import copy
import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cvae_lightning.core.errors import refuse
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.flows import MOST_LOG_SCALE
from cvae_lightning.models.inference import draws
from cvae_lightning.models.latents import GaussianMixtures
from cvae_lightning.models.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, GaussianLearned, GaussianOptimal
from cvae_lightning.models.m1m2 import M1M2
from cvae_lightning.models.m2 import M2
from cvae_lightning.models.priors import FlowPrior
from cvae_lightning.models.vae import VAE
from cvae_lightning.networks.injection import Add, Concatenate, Modulate
from cvae_lightning.networks.mlp import MLPDecoder
from cvae_lightning.networks.stacked import StackedDecoder

MOST_PRODUCTS = 10_000_000  # per image, which then takes 8 ms at 1.3 per nanosecond; the weights are 27 MB
NUM_COMPARED = 1000
ONNX = "Use format=onnx."
CLOSE = 2 / 255
MEANS: dict[type[nn.Module], str] = {
    **dict.fromkeys((Gaussian, GaussianLearned, GaussianOptimal, Bernoulli), "sigmoid"),
    ContinuousBernoulli: "continuous_bernoulli",
}


def decoder_content(model: VAE) -> dict[str, Any]:
    """The decoder's layers, all their parameters in the same order, and how outputs become the mean of p(x | z, y)."""
    layers: list[tuple[str, int]] = []
    parameters: list[Tensor] = []
    for layer in linear_layers(model.decoder):
        if isinstance(layer, nn.Linear):
            layers.append(("linear", layer.out_features))
            parameters += [layer.weight.T, layer.bias]
        elif isinstance(layer, nn.ReLU):
            layers.append(("relu", layers[-1][1]))
        elif isinstance(layer, Add):
            layers.append(("add", layer.output_width))
            parameters.append(layer.shift.weight.T)
        elif isinstance(layer, Modulate):
            layers.append(("modulate", layer.output_width))
            parameters.append(layer.scale_and_shift.weight.T)
        elif isinstance(layer, Concatenate):
            layers.append(("concatenate", layer.output_width))
    channels, height, width = model.image_shape
    return {
        "latents": model.latent_dim,
        "contexts": model.condition.width,
        "channels": channels,
        "height": height,
        "width": width,
        "mean": MEANS[type(model.likelihood_head)],
        "layers": layers,
        "parameters": packed(parameters),
    }


def linear_layers(decoder: nn.Module) -> list[nn.Module]:
    """The layers through which a latent becomes an image; empty for a decoder that is not of linear layers alone."""
    if isinstance(decoder, MLPDecoder):
        return list(decoder.layers)
    if isinstance(decoder, StackedDecoder) and isinstance(decoder.first, MLPDecoder):
        return [*decoder.layers_of_means(), *decoder.first.layers]
    return []


def mixtures_content(mixtures: GaussianMixtures) -> dict[str, Any]:
    """The weights, the means, and the lower triangle of each factor, row by row."""
    groups, components, latents = mixtures.means.shape
    rows, columns = torch.tril_indices(latents, latents)
    parameters = [mixtures.weights, mixtures.means, mixtures.factors[..., rows, columns]]
    return {"groups": groups, "components": components, "latents": latents, "parameters": packed(parameters)}


def flow_content(prior: FlowPrior) -> dict[str, Any]:
    """The couplings in the order in which a draw goes through them, and the layers of each: weights, then biases."""
    orders, couplings = zip(*reversed(prior.flow.steps), strict=True)
    layers = [[layer for layer in coupling.layers if isinstance(layer, nn.Linear)] for coupling in couplings]
    parameters = [part for linear in itertools.chain(*layers) for part in (linear.weight.T, linear.bias)]
    return {
        "classes": prior.num_classes,
        "kept": couplings[0].sizes[0],
        "widths": [linear.out_features for linear in layers[0]],
        "most": MOST_LOG_SCALE,
        "orders": [order.tolist() for order in orders],
        "parameters": packed(parameters),
    }


def packed(tensors: list[Tensor]) -> str:
    """All values in one sequence as float16, little-endian, in base64."""
    values = torch.cat([tensor.detach().flatten() for tensor in tensors])
    return base64.b64encode(values.half().numpy().astype("<f2").tobytes()).decode()


def check_the_page_can_compute(model: VAE, network: str) -> None:
    """Raises UserError for a decoder that the page can't compute at all, fast enough, or to 2/255 in float16."""
    products = _products(model)
    if not linear_layers(model.decoder) or products > MOST_PRODUCTS:
        what = f"a decoder of linear layers with at most {MOST_PRODUCTS:,} multiplications per image"
        remedy = "The page redraws an image in 16 ms, in plain JavaScript: use format=onnx."
        refuse(what, "network", f"{network} with {products:,}", remedy)
    for key, part, known in (
        ("model", model, (VAE, CVAE, M2, M1M2)),
        ("likelihood", model.likelihood_head, tuple(MEANS)),
    ):
        if type(part) not in known:
            names = ", ".join(kind.__name__ for kind in known)
            refuse(f"one of {names}", key, type(part).__name__, "The page knows no other: use format=onnx.")
    if model.image_shape[0] not in (1, 3):
        refuse(
            "images of 1 or 3 channels, grey or red, green and blue", "data.image_shape", list(model.image_shape), ONNX
        )
    y = model.condition.spread(NUM_COMPARED)
    if model.condition and not torch.equal(model.context(y), model.condition.context(y)):
        remedy = f"The page knows no other. {ONNX}"
        refuse("a model whose context is that of its condition", "model", type(model).__name__, remedy)
    difference = difference_in_float16(model)
    if not difference <= CLOSE:
        refuse("images within 2/255 with weights in float16", "format", difference, ONNX)


@torch.no_grad()
def difference_in_float16(model: VAE) -> float:
    """The largest difference of a pixel in 1000 images when the decoder's parameters are rounded to float16."""
    labels, latents = draws(model, NUM_COMPARED)
    rounded = copy.deepcopy(model.decoder).half().float()
    image = model.likelihood_head(rounded(latents, model.context(labels))).mean
    return float((image - model.likelihood(latents, labels).mean).abs().max())


@torch.no_grad()
def _products(model: VAE) -> int:
    with FlopCounterMode(display=False) as counter:
        model.likelihood(torch.zeros(1, model.latent_dim), model.condition.spread(1))
    return counter.get_total_flops() // 2
