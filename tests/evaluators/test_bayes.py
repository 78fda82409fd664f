"""A conditional model as a classifier: against exact posteriors, and against sums that are known."""

import math
from typing import Any

import pytest
import torch
from helpers import batches_of, numbers_of
from linear_gaussian import LinearGaussian
from torch import Tensor
from torch.distributions import MultivariateNormal

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.shapes import Images, Labels
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.bayes import BayesClassifier, calibration_error
from cvae_lightning.evaluators.evaluator import NO_CLASSES, UNCONDITIONAL
from cvae_lightning.models.class_probabilities import likelihoods_by_class, log_class_frequencies
from cvae_lightning.models.latents import DiagonalGaussian
from cvae_lightning.models.likelihoods import GaussianPixels, PixelDistribution

SHIFTS = torch.tensor([[0.0], [1.0], [-1.5]])


class ByClass(LinearGaussian):
    """x | y ~ N(b + shift of y, W W' + variance I)."""

    condition = Condition.of_classes(3)
    num_classes = 3
    image_shape = (1, 2, 3)

    def posterior(self, x: Images, y: Labels) -> DiagonalGaussian:
        return super().posterior(x - SHIFTS[y][..., None, None], y)

    def likelihood(self, z: Tensor, y: Labels) -> PixelDistribution:
        pixels = super().likelihood(z, y)
        return GaussianPixels(pixels.mean + SHIFTS[y][..., None, None], self.variance)

    def exact(self, x: Images) -> Tensor:
        """Log p(x | y) of each class."""
        covariance = self.weights @ self.weights.T + self.variance * torch.eye(6)
        return torch.stack(
            [MultivariateNormal(self.bias + shift, covariance).log_prob(x.flatten(1)) for shift in SHIFTS], 1
        ).detach()


def generative(model: ByClass) -> Any:
    """The model as an evaluator takes it; no images are drawn of it."""
    return model


def drawn(model: ByClass, y: Labels) -> Images:
    return model.draw(len(y)) + SHIFTS[y][..., None, None]


def test_p_of_y_given_x_is_the_exact_posterior_of_a_linear_gaussian_model() -> None:
    model = ByClass(error=0.2)
    y = torch.arange(30) % 3
    x = drawn(model, y)
    estimate, elbo = likelihoods_by_class(model, model.condition, x, y, num_samples=20_000)
    assert (elbo < estimate).all()
    torch.testing.assert_close(estimate, model.exact(x), atol=0.05, rtol=0)
    probabilities = estimate.softmax(1)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(30))
    torch.testing.assert_close(probabilities, model.exact(x).softmax(1), atol=0.02, rtol=0)


def test_the_metrics_are_those_of_the_exact_posterior() -> None:
    model = ByClass()
    classes = torch.tensor([0] * 500 + [1] * 300 + [2] * 200)
    x = drawn(model, classes)
    train = Split(torch.zeros(1000, 1, 2, 3, dtype=torch.uint8), classes)
    measured = BayesClassifier(num_samples=300).measure(generative(model), batches_of(x, classes, 400), train, "val")
    numbers = numbers_of(measured)
    joint = model.exact(x).double() + torch.tensor([0.5, 0.3, 0.2]).double().log()
    posterior = joint.softmax(1)
    assert numbers["bayes_accuracy"] == pytest.approx(float((posterior.argmax(1) == classes).double().mean()), abs=0.01)
    assert 0.5 < numbers["bayes_accuracy"] < 0.99, "the classes overlap"
    nll = -posterior.log()[torch.arange(1000), classes].mean()
    assert numbers["bayes_nll"] == pytest.approx(float(nll), abs=0.02)
    assert numbers["nll_marginal"] == pytest.approx(-float(joint.logsumexp(1).mean()), abs=0.05)
    assert numbers["bayes_ece"] < 0.05, "the model is the truth"
    assert (numbers["num_images_bayes"], numbers["bayes_samples"]) == (1000, 300)
    at_class = joint[torch.arange(1000), classes].mean()
    assert numbers["nll_marginal"] == pytest.approx(-float(at_class) - numbers["bayes_nll"], abs=0.05), "the theorem"


def test_few_images_are_chosen_at_random_and_those_of_unknown_class_are_left_out() -> None:
    model = ByClass()
    classes = torch.tensor([0, 1, 2, -1]).repeat(50)
    x = drawn(model, classes.clamp(min=0))
    train = Split(torch.zeros(200, 1, 2, 3, dtype=torch.uint8), classes)
    evaluator = BayesClassifier(num_samples=5, num_images=30)
    first, again = (evaluator.measure(generative(model), batches_of(x, classes, 64), train, "val") for _ in range(2))
    assert first == again
    assert first["num_images_bayes"] == 30
    everything = BayesClassifier(num_samples=5).measure(generative(model), batches_of(x, classes, 64), train, "val")
    assert everything["num_images_bayes"] == 150
    nothing = BayesClassifier().measure(generative(model), batches_of(x, classes.fill_(-1), 64), train, "val")
    assert set(nothing.values()) == {NO_CLASSES}


def test_without_a_class_to_condition_on_there_is_a_reason() -> None:
    model = ByClass()
    model.condition = Condition()
    y = torch.zeros(4, dtype=torch.long)
    train = Split(torch.zeros(4, 1, 2, 3, dtype=torch.uint8), y)
    measured = BayesClassifier().measure(generative(model), [(torch.rand(4, 1, 2, 3), y)], train, "val")
    assert set(measured.values()) == {UNCONDITIONAL}


def test_the_calibration_error_compares_confidence_with_accuracy() -> None:
    sure = torch.tensor([[0.8, 0.2]]).repeat(10, 1)
    right = torch.tensor([0] * 8 + [1] * 2)
    assert calibration_error(sure, right) == pytest.approx(0, abs=1e-6)
    assert calibration_error(sure, torch.zeros(10, dtype=torch.long)) == pytest.approx(0.2, abs=1e-6)
    assert calibration_error(torch.eye(2), torch.tensor([1, 0])) == pytest.approx(1)
    two_bins = torch.cat([sure, torch.tensor([[0.45, 0.55]]).repeat(10, 1)])
    classes = torch.cat([torch.zeros(10, dtype=torch.long), torch.ones(10, dtype=torch.long)])
    assert calibration_error(two_bins, classes) == pytest.approx((0.2 + 0.45) / 2, abs=1e-6)


def test_the_frequencies_of_classes_are_shares_of_the_known_ones() -> None:
    log_p = log_class_frequencies(torch.tensor([0, 0, 1, -1]), 3)
    assert log_p.exp().tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert math.isinf(float(log_p[2]))
