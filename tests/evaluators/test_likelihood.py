"""`nll_iw`, `active_units` and `label_leak`, on models where they are known."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import TRAIN, batches_of, measured
from linear_gaussian import LinearGaussian
from torch import Tensor

from cvae_lightning.core.errors import UserError
from cvae_lightning.core.shapes import Batch
from cvae_lightning.evaluators import likelihood
from cvae_lightning.evaluators.evaluator import NO_LATENTS
from cvae_lightning.evaluators.latents import LatentSpace, held_out_accuracy
from cvae_lightning.evaluators.likelihood import ImportanceWeighting
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.latents import DiagonalGaussian
from cvae_lightning.models.likelihoods import Gaussian
from cvae_lightning.models.optimizers import adam
from cvae_lightning.models.priors import StandardGaussianPrior
from cvae_lightning.networks.mlp import MLP


@pytest.mark.parametrize("error", [0.0, 0.1])
@pytest.mark.parametrize("latent_dim", [1, 2, 4])
def test_nll_iw_is_within_a_twentieth_of_a_nat_of_the_exact_value(latent_dim: int, error: float) -> None:
    model = LinearGaussian(latent_dim, error=error)
    x = model.draw(500)
    numbers = measured(ImportanceWeighting(num_samples=2000), model, x)
    assert numbers["nll_iw"] == pytest.approx(-model.log_p(x).mean().item(), abs=0.05)
    assert numbers["nll_iw_samples"] == 2000


def test_nll_iw_falls_with_the_number_of_samples_from_the_negative_elbo() -> None:
    model = LinearGaussian(error=0.2)
    x = model.draw(1000)
    values = [measured(ImportanceWeighting(num), model, x)["nll_iw"] for num in (1, 4, 16, 64)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1] + 0.1


def images_and_labels(num: int = 90) -> Batch:
    return torch.rand(num, 1, 28, 28), torch.arange(num) % 10


@pytest.mark.parametrize("size", [1, 7, 90])
def test_neither_depends_on_the_batch_size(size: int) -> None:
    torch.manual_seed(0)
    model = CVAE(MLP([16]), Gaussian(0.05), adam(lr=0.01), latent_dim=3, num_classes=10)
    x, y = images_and_labels()
    for evaluator in (ImportanceWeighting(num_samples=5), ImportanceWeighting(5, num_images=50), LatentSpace()):
        values = measured(evaluator, model, x, y, size)
        assert values == pytest.approx(measured(evaluator, model, x, y, 30), rel=1e-6)
        assert tuple(values) == evaluator.names


def test_samples_that_do_not_fit_at_once_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LinearGaussian(error=0.2)
    x = model.draw(20)
    whole = measured(ImportanceWeighting(num_samples=2000), model, x)["nll_iw"]
    sizes: list[int] = []
    decode = LinearGaussian.likelihood

    def noted(self: LinearGaussian, z: Tensor, y: Any) -> Any:
        sizes.append(len(z))
        return decode(self, z, y)

    monkeypatch.setattr(LinearGaussian, "likelihood", noted)
    monkeypatch.setattr(likelihood, "ROWS", 300)
    parts = measured(ImportanceWeighting(num_samples=2000), model, x)["nll_iw"]
    assert (sum(sizes), max(sizes)) == (40_000, 300)
    assert parts == pytest.approx(whole, abs=0.05)


def test_a_part_of_the_split_is_drawn_at_random_and_the_same_again() -> None:
    model = LinearGaussian()
    x = model.draw(400)
    x[:200] += 5  # less likely
    half = ImportanceWeighting(num_samples=50, num_images=200)
    one, all_ = (measured(evaluator, model, x)["nll_iw"] for evaluator in (half, ImportanceWeighting(50)))
    assert one == measured(half, model, x)["nll_iw"]
    assert one == pytest.approx(all_, rel=0.15), "not the first 200"


def test_a_control_variate_makes_few_images_stand_for_the_whole_split() -> None:
    model = LinearGaussian(error=0.2)
    x = model.draw(1000)
    x[:500] += 5  # less likely
    exact = -model.log_p(x).mean().item()
    alone, with_control = (
        abs(measured(ImportanceWeighting(2000, num_images=50, control_samples=num), model, x)["nll_iw"] - exact)
        for num in (None, 10)
    )
    assert with_control < 0.1 < alone
    control_alone = measured(ImportanceWeighting(10), model, x)["nll_iw"]
    assert control_alone - exact > 2 * with_control, "the part corrects the bound of the few samples"


def speaking(latent_dim: int, mean: Any, log_var: float = 0.0) -> Any:
    """A model with the given posterior; what it says of images is not asked for."""

    def posterior(x: Tensor, y: Tensor) -> DiagonalGaussian:
        means = mean(x, y)
        return DiagonalGaussian(means, torch.full_like(means, log_var))

    prior = StandardGaussianPrior(latent_dim, 0)
    return SimpleNamespace(posterior=posterior, likelihood=Gaussian(), prior=prior, latent_dim=latent_dim)


def test_active_units_are_the_latents_whose_mean_varies() -> None:
    scales = torch.tensor([1.0, 0.5, 0.11, 0.09, 0.01, 0.0])
    x, y = torch.randn(5000, 1, 1, 6), torch.arange(5000) % 2
    model = speaking(6, lambda x, y: 7 + x[:, 0, 0] * scales)
    assert measured(LatentSpace(), model, x, y)["active_units"] == 3


def test_the_label_leaks_where_it_can_be_read_from_latents_alone() -> None:
    x, y = torch.randn(4000, 1, 1, 10), torch.arange(4000) % 10
    one_hot = torch.eye(10)
    silent = speaking(10, lambda x, y: x[:, 0, 0])
    loud = speaking(10, lambda x, y: 5 * one_hot[y])
    hoarse = speaking(10, lambda x, y: one_hot[y])
    drowned = speaking(10, lambda x, y: 0.01 * one_hot[y])
    leaks = [measured(LatentSpace(), model, x, y)["label_leak"] for model in (silent, drowned, hoarse, loud)]
    assert leaks[0] == pytest.approx(0.1, abs=0.03)
    assert leaks[1] == pytest.approx(0.1, abs=0.03), "the mean alone would tell it"
    assert 0.3 < leaks[2] < 0.6
    assert leaks[3] > 0.99


def test_the_probe_is_as_good_as_logistic_regression_and_does_not_remember() -> None:
    from sklearn.linear_model import LogisticRegression

    y = torch.arange(2000) % 5
    z = torch.randn(5, 8)[y] + torch.randn(2000, 8)
    reference = LogisticRegression(max_iter=1000).fit(z[:1000], y[:1000]).score(z[1000:], y[1000:])
    assert held_out_accuracy(z, y) == pytest.approx(reference, abs=0.03)
    assert held_out_accuracy(torch.randn(300, 100), torch.arange(300) % 10) < 0.25


def test_a_model_without_latents_has_none_of_these() -> None:
    model: Any = SimpleNamespace(num_classes=10, latent_dim=0, image_shape=(1, 28, 28))
    for evaluator in (ImportanceWeighting(), LatentSpace()):
        x, y = images_and_labels()
        assert evaluator.evaluate(model, batches_of(x, y, 100), TRAIN) == dict.fromkeys(evaluator.names, NO_LATENTS)


def test_numbers_of_samples_and_images_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match=r"of at least 1 \(evaluators\.nll\.num_samples\), got 0"):
        ImportanceWeighting(num_samples=0)
    with pytest.raises(UserError, match=r"of at least 1 \(evaluators\.nll\.num_images\), got 0\. null takes all"):
        ImportanceWeighting(num_images=0)
