"""How noisy the gradient with respect to the encoder's parameters is."""

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import nn

from cvae_lightning.core.capacity import check_memory
from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.shapes import Batch
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import NO_LATENTS, Evaluator, Measured
from cvae_lightning.evaluators.gradient_estimators import (
    draw,
    mean_of_the_others,
    reinforce,
    reparameterised,
    total_variance,
)
from cvae_lightning.evaluators.samples import labels_of, taken
from cvae_lightning.models.protocols import Generative, LatentVariableModel

ESTIMATORS = ("reparameterised", "reinforce", "reinforce_baseline")


class GradientVariance(Evaluator):
    """`gradient_variance_<estimator>` of the trained model, and `..._untrained` of a copy with newly drawn weights.

    The gradient is that of the mean log-likelihood of `num_images` random images of the split, estimated with one z per
    image. Its variance over `num_draws` estimates is summed over the encoder's parameters; all estimators use the same
    draws. `reparameterised` is the gradient of training, `reinforce` the plain score function, and `reinforce_baseline`
    the score function with the mean reward of the image's other draws as its baseline.
    """

    names = tuple(f"gradient_variance_{name}{when}" for when in ("", "_untrained") for name in ESTIMATORS)

    def __init__(self, num_images: int = 128, num_draws: int = 50, seed: int = 0) -> None:
        super().__init__(seed)
        self.num_images = check_integer("evaluators.gradients.num_images", num_images, 1, "The default is 128.")
        self.num_draws = check_integer("evaluators.gradients.num_draws", num_draws, 2, "The default is 50.")
        draws = 16 * num_draws * num_images  # bytes: noise, reward and slope of each, of one latent at least
        check_memory(draws, f"evaluators.gradients.num_draws={num_draws}", "The default is 50.")

    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        if not isinstance(model, LatentVariableModel):
            return dict.fromkeys(self.names, NO_LATENTS)
        with torch.inference_mode(False), torch.enable_grad():
            index = torch.randperm(len(labels_of(batches)))[: self.num_images]
            x, y = taken(batches, index)
            images = (x.clone(), y.clone())
            trained, new = self._variances(model, images), self._variances(untrained(model), images)
        values = [*trained, *new]
        return dict(zip(self.names, values, strict=True))

    def _variances(self, model: LatentVariableModel, images: Batch) -> list[float]:
        """The variance of each of `ESTIMATORS`, in that order."""
        assert isinstance(model, nn.Module)
        x, y = images
        q = model.posterior(x, y)
        draws = draw(model, q, x, y, self.num_draws)
        baseline = mean_of_the_others(draws.reward)
        gradients = (reparameterised(q, draws), reinforce(q, draws), reinforce(q, draws, baseline))
        return [total_variance(q, gradient, list(model.parameters())) for gradient in gradients]


def untrained(model: LatentVariableModel) -> LatentVariableModel:
    """A copy of the model whose layers have new random weights, drawn as torch draws them for a new layer."""
    copy = deepcopy(model)
    assert isinstance(copy, nn.Module)
    for layer in copy.modules():
        if callable(reset := getattr(layer, "reset_parameters", None)):
            reset()
    return copy
