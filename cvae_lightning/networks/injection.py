"""How a network is conditioned on its context, the label's one-hot vector: at its input, or before activations."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.shapes import Context

PLACES = ("encoder", "decoder")


class Injection(nn.Module):
    """A layer that also takes the context: features (batch, width, ...) -> (batch, output_width, ...)."""

    output_width: int


class Concatenate(Injection):
    """The features with the context appended, as constant planes if the features have a height and a width."""

    def __init__(self, width: int, context_dim: int) -> None:
        super().__init__()
        self.output_width = width + context_dim

    def forward(self, features: Tensor, context: Context) -> Tensor:
        return torch.cat([features, _planes(context, features).expand(-1, -1, *features.shape[2:])], 1)


class Add(Injection):
    """The features plus a linear map of the context."""

    def __init__(self, width: int, context_dim: int) -> None:
        super().__init__()
        self.output_width = width
        self.shift = nn.Linear(context_dim, width, bias=False)

    def forward(self, features: Tensor, context: Context) -> Tensor:
        return features + _planes(self.shift(context), features)


class Modulate(Injection):
    """Each feature scaled and shifted by linear maps of the context: FiLM, Perez et al. 2018.

    It starts as the identity.
    """

    def __init__(self, width: int, context_dim: int) -> None:
        super().__init__()
        self.output_width = width
        self.scale_and_shift = nn.Linear(context_dim, 2 * width, bias=False)
        nn.init.zeros_(self.scale_and_shift.weight)

    def forward(self, features: Tensor, context: Context) -> Tensor:
        scale, shift = _planes(self.scale_and_shift(context), features).chunk(2, dim=1)
        return features * (1 + scale) + shift


class Ignore(Injection):
    """The features unchanged: no injection."""

    def __init__(self, width: int, context_dim: int) -> None:
        super().__init__()
        self.output_width = width

    def forward(self, features: Tensor, context: Context) -> Tensor:
        return features


class Layers(nn.ModuleList):
    """A sequence of layers; the injections among them also get the context.

    Feature maps are kept in memory with channels last, which convolutions prefer, above all in bfloat16.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(layers)

    def forward(self, features: Tensor, context: Context) -> Tensor:
        for layer in self:
            features = _channels_last(features)
            features = layer(features, context) if isinstance(layer, Injection) else layer(features)
        return features


AT_INPUT = {"concatenate": Concatenate, "add": Add, "modulate": Ignore}


class LabelInjection:
    """Where and how a network is conditioned on the label, by the names that a configuration uses.

    `injection` is concatenate, add or modulate; `inject_into` lists encoder, decoder, both or none. Raises UserError
    for anything else.
    """

    def __init__(self, injection: str, inject_into: Sequence[str]) -> None:
        if not isinstance(injection, str) or injection not in AT_INPUT:
            remedy = "The paper concatenates."
            refuse(f"one of {', '.join(AT_INPUT)}", "network.injection", injection, remedy)
        if not isinstance(inject_into, list | tuple) or not all(place in PLACES for place in inject_into):
            refuse("a list of encoder, decoder", "network.inject_into", inject_into, "The paper injects into both.")
        self.injection = injection
        self.inject_into = tuple(inject_into)

    def at_input(self, place: str, width: int, context_dim: int) -> Injection:
        """The injection before the first layer of `place`, the encoder or the decoder."""
        if place not in self.inject_into or not context_dim:
            return Ignore(width, context_dim)
        return AT_INPUT[self.injection](width, context_dim)

    def activation(self, place: str, width: int, context_dim: int) -> list[nn.Module]:
        """The layers after a hidden layer of `place`: the injection, if there is one here, and ReLU."""
        modulates = self.injection == "modulate" and place in self.inject_into and context_dim
        return [Modulate(width, context_dim), nn.ReLU()] if modulates else [nn.ReLU()]


def _planes(values: Tensor, features: Tensor) -> Tensor:
    """`values` (batch, width) with trailing dimensions of size 1, as many as the features have beyond two."""
    return values[(..., *[None] * (features.ndim - 2))]


def _channels_last(features: Tensor) -> Tensor:
    return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features
