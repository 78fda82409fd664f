"""Convolutional networks take images of any size, and for MNIST they are what they were when they took no other."""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from allpairspy import AllPairs
from torch import Tensor, nn

from cvae_lightning.core.errors import UserError
from cvae_lightning.networks.conv import Conv
from cvae_lightning.networks.grids import Grids
from cvae_lightning.networks.injection import LabelInjection, Layers
from cvae_lightning.networks.mlp import MLP
from cvae_lightning.networks.residual import DARK, Block, Residual

BOTH = ["encoder", "decoder"]
SIZES = [(1, 1), (1, 9), (2, 3), (7, 7), (8, 8), (28, 28), (30, 45), (32, 32), (64, 64), (100, 100), (256, 256)]
NETWORKS: dict[str, Callable[..., Any]] = {
    "conv": partial(Conv, 8, 16),
    "residual": partial(Residual, 8),
    "residual_no_blocks": partial(Residual, 8, 0),
    "mlp": partial(MLP, [16]),
}


LEVELS: dict[str, Callable[[int], int | None]] = {
    "default": lambda _: None,
    "none": lambda _: 0,
    "one": lambda longer: min(1, longer - 1),
    "most": lambda longer: (longer - 1).bit_length(),
}
INJECTIONS = ["concatenate", "add", "modulate"]
CASES = [tuple(case) for case in AllPairs([SIZES, list(LEVELS), [1, 3, 5], list(NETWORKS), INJECTIONS])]


def built(network: Any, image_shape: Sequence[int], context_dim: int = 2) -> tuple[Layers, Layers]:
    """Encoder and decoder for 3 latents with random parameters, among them those that start at 0."""
    torch.manual_seed(0)
    parts = network.encoder(image_shape, context_dim, 6), network.decoder(3, context_dim, image_shape)
    for part in parts:
        for parameter in part.parameters():
            nn.init.normal_(parameter, std=1 / math.sqrt(max(parameter[0].numel(), 1)))
    return parts


@pytest.mark.parametrize(("size", "levels", "channels", "network", "injection"), CASES)
def test_images_of_any_size_go_in_and_come_out(
    size: tuple[int, int], levels: str, channels: int, network: str, injection: str
) -> None:
    """And each parameter has a share in it. Each pair of values of two arguments is in one of the cases."""
    settings = {} if network == "mlp" else {"levels": LEVELS[levels](max(size))}
    image_shape = (channels, *size)
    encoder, decoder = built(NETWORKS[network](injection=injection, **settings), image_shape)
    context = F.one_hot(torch.arange(16) % 2, 2).float()
    parameters, images = encoder(torch.rand(16, *image_shape), context), decoder(torch.randn(16, 3), context)
    assert parameters.shape == (16, 6)
    assert images.shape == (16, *image_shape)
    (parameters.square().sum() + images.square().sum()).backward()
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("size", "levels", "coarsest"),
    [
        ((1, 1), 0, (1, 1)),
        ((8, 8), 0, (8, 8)),
        ((9, 4), 1, (5, 2)),
        ((28, 28), 2, (7, 7)),
        ((32, 32), 2, (8, 8)),
        ((33, 32), 3, (5, 4)),
        ((30, 45), 3, (4, 6)),
        ((64, 64), 3, (8, 8)),
        ((100, 100), 4, (7, 7)),
        ((256, 256), 5, (8, 8)),
        ((1, 1000), 7, (1, 8)),
    ],
)
def test_images_are_halved_until_the_longer_side_is_at_most_eight(
    size: tuple[int, int], levels: int, coarsest: tuple[int, int]
) -> None:
    grids = Grids((1, *size), 32, None)
    assert grids.levels == levels
    assert grids.coarsest[1:] == coarsest
    given = Grids((1, *size), 32, levels)
    assert vars(given) == vars(grids)


def test_widths_double_up_to_eight_times_the_first() -> None:
    assert Grids((3, 1000, 1000), 32, None).widths == [32, 64, 128, 256, 256, 256, 256]
    assert Grids((1, 28, 28), 10, None).widths == [10, 20]
    assert Grids((1, 5, 5), 10, None).widths == [10]


@pytest.mark.parametrize("network", [Conv(), Residual()])
def test_linear_layers_stay_bounded_as_images_grow(network: Any) -> None:
    def num_linear(size: int) -> int:
        with torch.device("meta"):
            parts = network.encoder((3, size, size), 10, 40), network.decoder(20, 10, (3, size, size))
        layers = [layer for part in parts for layer in part if isinstance(layer, nn.Linear)]
        return sum(layer.weight.numel() for layer in layers)

    assert num_linear(128) == num_linear(256) == num_linear(4096)
    assert max(map(num_linear, range(9, 400, 23))) <= num_linear(256)


@pytest.mark.parametrize("network", [Conv(4, 8), Residual(4)])
def test_sides_that_can_not_be_halved_are_padded_with_black_and_cropped_again(network: Any) -> None:
    """The same weights on images of 32x48 do the same, with a margin around 30x45."""
    encoder, decoder = built(network, (3, 30, 45))
    padded_encoder, padded_decoder = built(network, (3, 32, 48))
    x, z, context = torch.rand(2, 3, 30, 45), torch.randn(2, 3), torch.randn(2, 2)
    around = F.pad(x, (1, 2, 1, 1))
    torch.testing.assert_close(encoder(x, context), padded_encoder(around, context))
    torch.testing.assert_close(decoder(z, context), padded_decoder(z, context)[..., 1:31, 1:46])


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_each_cell_of_the_coarsest_grid_has_a_share_of_the_image(levels: int) -> None:
    for height, width in itertools.product((9, 12, 17, 31, 32, 33), repeat=2):
        grids = Grids((1, height, width), 1, levels)
        image = torch.ones(1, 1, height, width)
        padded = nn.Sequential(*grids.padding())(image)
        cells: Tensor = F.max_pool2d(padded, 2**levels)
        assert cells.shape[2:] == grids.coarsest[1:]
        assert cells.eq(1).all()
        assert torch.equal(nn.Sequential(*grids.cropping())(padded), image)


@pytest.mark.parametrize("network", [Conv(4, 8), Residual(4)])
def test_small_images_that_are_not_halved_go_through_convolutions_too(network: Any) -> None:
    for part in built(network, (1, 8, 8)):
        layers = list(part.modules())
        assert any(isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) for layer in layers)
        assert any(isinstance(layer, nn.ReLU) for layer in layers)


@pytest.mark.parametrize("network", [Conv, Residual])
def test_a_number_of_levels_that_is_none_is_refused(network: Any) -> None:
    with pytest.raises(UserError, match=r"an integer of at least 0 \(network\.levels\), got -1\. null chooses"):
        network(levels=-1)


@pytest.mark.parametrize("network", [Conv, Residual])
@pytest.mark.parametrize(("size", "most", "default"), [((28, 28), 5, 2), ((1, 1), 0, 0), ((30, 65), 7, 4)])
def test_more_levels_than_an_image_has_halvings_are_refused(
    network: Any, size: tuple[int, int], most: int, default: int
) -> None:
    image_shape = (1, *size)
    network(levels=most).encoder(image_shape, 0, 2)
    message = rf"null or 0 to {most} halvings of an image of {size[0]}x{size[1]} pixels \(network\.levels\), "
    with pytest.raises(UserError, match=rf"{message}got {most + 1}\. null chooses {default}\."):
        network(levels=most + 1).encoder(image_shape, 0, 2)
    with pytest.raises(UserError, match=message):
        network(levels=most + 1).decoder(2, 0, image_shape)


def first_conv(injection: LabelInjection) -> tuple[nn.Module, nn.Module]:
    """The networks for MNIST, layer by layer, as they were when they took only sides divisible by 4."""

    def act(place: str, width: int) -> list[nn.Module]:
        return injection.activation(place, width, 10)

    first = injection.at_input("encoder", 1, 10)
    encoder = Layers(
        first,
        nn.Conv2d(first.output_width, 32, 4, stride=2, padding=1),
        *act("encoder", 32),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        *act("encoder", 64),
        nn.Flatten(),
        nn.Linear(64 * 49, 128),
        *act("encoder", 128),
        nn.Linear(128, 40),
    )
    first = injection.at_input("decoder", 20, 10)
    decoder = Layers(
        first,
        nn.Linear(first.output_width, 128),
        *act("decoder", 128),
        nn.Linear(128, 64 * 49),
        nn.Unflatten(1, (64, 7, 7)),
        *act("decoder", 64),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        *act("decoder", 32),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
    )
    return encoder, decoder


def first_residual(injection: LabelInjection) -> tuple[nn.Module, nn.Module]:
    """As `first_conv`, with two blocks on each grid."""

    def grid(place: str, width: int) -> list[nn.Module]:
        def act() -> list[nn.Module]:
            return injection.activation(place, width, 10)

        return [*(Block(width, act(), act()) for _ in range(2)), *act()]

    first = injection.at_input("encoder", 1, 10)
    encoder = Layers(
        first,
        nn.Conv2d(first.output_width, 32, 4, stride=2, padding=1),
        *grid("encoder", 32),
        nn.Conv2d(32, 64, 2, stride=2),
        *grid("encoder", 64),
        nn.Flatten(),
        nn.Linear(64 * 49, 40),
    )
    first = injection.at_input("decoder", 20, 10)
    last = nn.Conv2d(32, 4, 3, padding=1)
    nn.init.constant_(cast(Tensor, last.bias), DARK)
    decoder = Layers(
        first,
        nn.Linear(first.output_width, 64 * 49),
        nn.Unflatten(1, (64, 7, 7)),
        *grid("decoder", 64),
        nn.Conv2d(64, 128, 1),
        nn.PixelShuffle(2),
        *grid("decoder", 32),
        last,
        nn.PixelShuffle(2),
    )
    return encoder, decoder


@pytest.mark.parametrize("injection", INJECTIONS)
@pytest.mark.parametrize(("network", "first"), [(Conv, first_conv), (partial(Residual, blocks=2), first_residual)])
def test_for_mnist_the_networks_are_what_they_were_from_the_first_draw_to_the_last(
    network: Any, first: Any, injection: str
) -> None:
    torch.manual_seed(3)
    expected, drawn = first(LabelInjection(injection, BOTH)), torch.rand(8)
    torch.manual_seed(3)
    parts = network(injection=injection)
    got, then = (parts.encoder((1, 28, 28), 10, 40), parts.decoder(20, 10, (1, 28, 28))), torch.rand(8)
    assert torch.equal(drawn, then), "nothing more is drawn, nothing less"
    for one, other in zip(expected, got, strict=True):
        assert [type(layer) for layer in one.modules()] == [type(layer) for layer in other.modules()]
        assert list(one.state_dict()) == list(other.state_dict())
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
        assert repr(one) == repr(other), "kernel sizes, strides and paddings"
