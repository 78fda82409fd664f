"""An encoder and a decoder of two stages, with latents of the first stage in between."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.shapes import Context, Images, Latents, no_context
from cvae_lightning.networks.injection import Layers
from cvae_lightning.networks.mlp import MLP


@runtime_checkable
class Network(Protocol):
    """Builds the encoder and the decoder of the first stage."""

    def encoder(self, image_shape: Sequence[int], context_dim: int, output_dim: int) -> nn.Module: ...

    def decoder(self, latent_dim: int, context_dim: int, image_shape: Sequence[int]) -> nn.Module: ...


class Stacked:
    """A first stage between images and latents z1, and a second one between z1 and z, which alone sees the context.

    `first` builds the first stage. The second is fully connected, with layers as wide as `hidden` says.
    """

    def __init__(self, first: Network, first_latent_dim: int = 50, hidden: Sequence[int] = (500,)) -> None:
        self.first = first
        self.first_latent_dim = check_integer(
            "model.network.first_latent_dim", first_latent_dim, 1, "Kingma et al. 2014 use 50."
        )
        self.second = MLP(hidden)

    def encoder(self, image_shape: Sequence[int], context_dim: int, output_dim: int) -> nn.Module:
        first = self.first.encoder(image_shape, 0, 2 * self.first_latent_dim)
        return StackedEncoder(first, self.second.layers("encoder", self.first_latent_dim, context_dim, output_dim))

    def decoder(self, latent_dim: int, context_dim: int, image_shape: Sequence[int]) -> nn.Module:
        first = self.first.decoder(self.first_latent_dim, 0, image_shape)
        return StackedDecoder(first, self.second.layers("decoder", latent_dim, context_dim, 2 * self.first_latent_dim))

    def classifier(self, num_classes: int) -> nn.Module:
        """(z1, an empty context) -> one output per class."""
        return self.second.layers("encoder", self.first_latent_dim, 0, num_classes)


class StackedEncoder(nn.Module):
    """(x, context) -> the parameters of q(z | z1, y) at the mean of q(z1 | x)."""

    def __init__(self, first: nn.Module, second: Layers) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: Images, context: Context) -> Latents:
        return self.second(means(self.first(x, no_context(x))), context)


class StackedDecoder(nn.Module):
    """(z, context) -> one output per pixel, at the mean of p(z1 | z, y)."""

    def __init__(self, first: nn.Module, second: Layers) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, z: Latents, context: Context) -> Images:
        z1 = means(self.second(z, context))
        return self.first(z1, no_context(z1))

    def layers_of_means(self) -> list[nn.Module]:
        """The layers of the second stage, the last of them without the variances."""
        *layers, last = self.second
        assert isinstance(last, nn.Linear)
        only_means = nn.Linear(last.in_features, last.out_features // 2)
        for name, parameter in last.named_parameters():
            setattr(only_means, name, nn.Parameter(parameter[: only_means.out_features]))
        return [*layers, only_means]


def means(parameters: Tensor) -> Latents:
    """The means of Gaussians, of which `parameters` (batch, 2 * latent) has the means and the logs of the variances."""
    return parameters.float().chunk(2, dim=1)[0]
