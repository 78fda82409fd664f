"""The network that reads numbers and flags from images."""

import pytest
import torch

from cvae_lightning.core.conditions import Condition
from cvae_lightning.data.splits import Split
from cvae_lightning.judging.values import fit_values


def test_it_is_trained_in_inference_mode_too_and_is_the_same() -> None:
    """Evaluators run in inference mode, and train it when they need it first."""
    described = {"bright": {"mean": 0.5, "std": 0.3, "low": 0, "high": 1}, "tags": {"flags": ["a", "b"]}}
    flags = torch.randint(2, (40, 2)).float()
    images = torch.randint(256, (40, 1, 12, 12), dtype=torch.uint8)
    train = Split(images, torch.cat([torch.rand(40, 1), flags], 1), Condition.from_config(described))
    expected = fit_values(train, epochs=1)
    with torch.inference_mode():
        found = fit_values(train, epochs=1)
    for name, weights in expected.state_dict().items():
        assert torch.equal(weights, found.state_dict()[name]), name
    assert expected.head.out_features == 3


@pytest.mark.parametrize("inference", [False, True])
def test_a_number_is_read_from_images_that_show_it(inference: bool) -> None:
    brightness = torch.linspace(0, 1, 256)
    images = (255 * brightness).byte()[:, None, None, None].expand(-1, 1, 12, 12).contiguous()
    described = {"bright": {"mean": 0.5, "std": 0.3, "low": 0, "high": 1}}
    train = Split(images, brightness[:, None], Condition.from_config(described))
    with torch.inference_mode(inference):
        reader = fit_values(train, epochs=40)
        read = reader.head(reader.features_of([images]))[:, 0] * 0.3 + 0.5
    assert (read - brightness).abs().mean() < 0.1
