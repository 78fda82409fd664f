"""What is missing in an image, against the exact conditional distribution of a linear-Gaussian model."""

import pytest
import torch
from linear_gaussian import LinearGaussian
from torch import Tensor

from cvae_lightning.core.errors import UserError
from cvae_lightning.models.inpainting import inpaint
from cvae_lightning.models.likelihoods import (
    BatchGaussianPixels,
    Bernoulli,
    BernoulliPixels,
    ContinuousBernoulli,
    ContinuousBernoulliPixels,
    GaussianPixels,
    PartlySeenPixels,
    PixelDistribution,
)

Y = torch.zeros(1, dtype=torch.long)
OUTPUT = torch.randn(4, 3, 5, 6)
PIXELS: dict[str, PartlySeenPixels] = {
    "gaussian": GaussianPixels(OUTPUT.sigmoid(), 0.3),
    "one variance": GaussianPixels(OUTPUT.sigmoid(), torch.tensor(0.3)),
    "a variance per channel": GaussianPixels(OUTPUT.sigmoid(), torch.tensor([0.1, 0.3, 0.9])),
    "bernoulli": BernoulliPixels(OUTPUT),
    "continuous bernoulli": ContinuousBernoulliPixels(OUTPUT),
}


@pytest.mark.parametrize("name", PIXELS)
def test_the_parts_of_an_image_add_up(name: str) -> None:
    pixels, x = PIXELS[name], torch.rand(4, 3, 5, 6)
    seen = (torch.rand_like(x) < 0.4).float()
    torch.testing.assert_close(pixels.log_prob_of(x, torch.ones_like(x)), pixels.log_prob(x))
    assert pixels.log_prob_of(x, torch.zeros_like(x)).tolist() == [0, 0, 0, 0]
    both = pixels.log_prob_of(x, seen) + pixels.log_prob_of(x, 1 - seen)
    torch.testing.assert_close(both, pixels.log_prob(x), atol=1e-3, rtol=1e-5)


def test_the_likelihoods_of_the_project_know_parts_of_images() -> None:
    for likelihood in (Bernoulli(), ContinuousBernoulli()):
        assert isinstance(likelihood(OUTPUT), PartlySeenPixels)
    assert not isinstance(BatchGaussianPixels(OUTPUT, lambda variance: None, False), PartlySeenPixels)


def exact(model: LinearGaussian, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the covariance of W z + b given the seen pixels."""
    weights, bias = model.weights.detach(), model.bias.detach()
    rows = seen.flatten().bool()
    precision = torch.eye(weights.shape[1]) + weights[rows].T @ weights[rows] / model.variance
    covariance = precision.inverse()
    mean = covariance @ weights[rows].T @ (x.flatten()[rows] - bias[rows]) / model.variance
    return weights @ mean + bias, weights @ covariance @ weights.T


@pytest.mark.parametrize("seen", [[1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0]])
def test_draws_follow_the_exact_conditional_distribution(seen: list[int]) -> None:
    model = LinearGaussian(latent_dim=2, variance=0.5)
    x, mask = model.draw(1), torch.tensor(seen).float().reshape(1, 1, 2, 3)
    found = inpaint(model, x, Y, mask, num_draws=20_000, num_proposals=100_000)
    mean, covariance = exact(model, x, mask)
    missing = mask.flatten() == 0
    draws = found.images.flatten(1)[:, missing]
    torch.testing.assert_close(draws.mean(0), mean[missing], atol=0.06, rtol=0)
    torch.testing.assert_close(
        draws.T.cov().reshape(int(missing.sum()), -1), covariance[missing][:, missing], atol=0.12, rtol=0.05
    )
    assert torch.equal(found.images[:, :, mask[0, 0] > 0], x[:, :, mask[0, 0] > 0].expand(20_000, -1, -1))
    assert found.effective > 1000


def test_what_is_seen_whole_stays_as_it_is() -> None:
    model = LinearGaussian()
    x = model.draw(1)
    found = inpaint(model, x, Y, torch.ones_like(x), num_draws=3, num_proposals=50)
    assert torch.equal(found.images, x.expand(3, -1, -1, -1))


def test_a_likelihood_that_knows_no_parts_is_refused() -> None:
    class Whole(LinearGaussian):
        def likelihood(self, z: Tensor, y: Tensor) -> PixelDistribution:
            return BatchGaussianPixels(super().likelihood(z, y).mean, lambda variance: None, False)

    with pytest.raises(UserError, match=r"a likelihood with log_prob_of\(x, seen\) \(likelihood\)"):
        inpaint(Whole(), torch.rand(1, 1, 2, 3), Y, torch.ones(1, 1, 2, 3), 1, 10)
