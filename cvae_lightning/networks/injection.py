"""How a network is told its context, the label's one-hot: at its input, or before each activation."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.shapes import Context

PLACES = ("encoder", "decoder")


class Injection(nn.Module):
    """A layer that is told the context too: features (batch, width, ...) -> (batch, output_width, ...)."""

    output_width: int


class Concatenate(Injection):
    """The context beside the features; as constant planes where these have a height and a width."""

    def __init__(self, width: int, context_dim: int) -> None:
        super().__init__()
        self.output_width = width + context_dim

    def forward(self, features: Tensor, context: Context) -> Tensor:
        return torch.cat([features, _planes(context, features).expand(-1, -1, *features.shape[2:])], 1)


class Add(Injection):
    """A linear map of the context added to the features."""

    def __init__(self, width: int, context_dim: int) -> None:
        super().__init__()
        self.output_width = width
        self.shift = nn.Linear(context_dim, width, bias=False)

    def forward(self, features: Tensor, context: Context) -> Tensor:
        return features + _planes(self.shift(context), features)


class Modulate(Injection):
    """Each feature scaled and shifted by linear maps of the context: FiLM, Perez et al. 2018. It starts as identity."""

    def __init__(self, width: int, context_dim: int) -> None:
        super().__init__()
        self.output_width = width
        self.scale_and_shift = nn.Linear(context_dim, 2 * width, bias=False)
        nn.init.zeros_(self.scale_and_shift.weight)

    def forward(self, features: Tensor, context: Context) -> Tensor:
        scale, shift = _planes(self.scale_and_shift(context), features).chunk(2, dim=1)
        return features * (1 + scale) + shift


class Ignore(Injection):
    """The features as they are."""

    def __init__(self, width: int, context_dim: int) -> None:
        super().__init__()
        self.output_width = width

    def forward(self, features: Tensor, context: Context) -> Tensor:
        return features


class Layers(nn.ModuleList):
    """Layers one after the other, of which the injections are told the context.

    Maps lie in memory channels last, as convolutions want them, above all in bfloat16.
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
    """Which injections a network has, by the names that a configuration uses."""

    def __init__(self, injection: str, inject_into: Sequence[str]) -> None:
        if not isinstance(injection, str) or injection not in AT_INPUT:
            remedy = "The paper concatenates."
            refuse(f"one of {', '.join(AT_INPUT)}", "network.injection", injection, remedy)
        if not isinstance(inject_into, list | tuple) or not all(place in PLACES for place in inject_into):
            refuse("a list of encoder, decoder", "network.inject_into", inject_into, "The paper injects into both.")
        self.injection = injection
        self.inject_into = tuple(inject_into)

    def at_input(self, place: str, width: int, context_dim: int) -> Injection:
        """What comes before the first layer of the encoder or the decoder."""
        if place not in self.inject_into or not context_dim:
            return Ignore(width, context_dim)
        return AT_INPUT[self.injection](width, context_dim)

    def before_activation(self, place: str, width: int, context_dim: int) -> list[nn.Module]:
        """What comes between a hidden layer and its activation."""
        modulates = self.injection == "modulate" and place in self.inject_into and context_dim
        return [Modulate(width, context_dim)] if modulates else []


def _planes(values: Tensor, features: Tensor) -> Tensor:
    """(batch, width) with as many trailing dimensions of size 1 as the features have beyond these two."""
    return values[(..., *[None] * (features.ndim - 2))]


def _channels_last(features: Tensor) -> Tensor:
    return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features
