"""Densities fitted to latents, and learning rates over a training."""

from typing import Any

import pytest
import torch
from helpers import MakeRun
from torch import Tensor

from cvae_lightning.core.errors import UserError
from cvae_lightning.models.optimizers import Schedule, cosine, one_cycle
from cvae_lightning.models.priors import StandardGaussianPrior
from cvae_lightning.models.samplers import MixtureSampler, PriorSampler, Sampler
from cvae_lightning.training.train import train

CENTRES = torch.tensor([[-4.0, 0.0], [4.0, 0.0], [0.0, 5.0]])


def clouds(num: int) -> tuple[Tensor, Tensor]:
    """`num` points a class; class y lies around CENTRES[y], longer than wide."""
    y = torch.arange(3).repeat(num)
    return CENTRES[y] + torch.randn(len(y), 2) * torch.tensor([1.0, 0.3]), y


def drawn_from(sampler: Sampler, y: Tensor) -> Tensor:
    return sampler(y, StandardGaussianPrior(4, 10)(y))


def test_a_sampler_of_classes_draws_from_the_class_that_it_is_asked_for() -> None:
    z, y = clouds(2000)
    for components in (1, 3):
        sampler = MixtureSampler(2, num_classes=3, num_components=components)
        sampler.fit([(z[:1000], y[:1000]), (z[1000:], y[1000:])])
        for label in range(3):
            drawn, real = drawn_from(sampler, torch.full((20_000,), label)), z[y == label]
            torch.testing.assert_close(drawn.mean(0), real.mean(0), atol=0.05, rtol=0)
            torch.testing.assert_close(drawn.T.cov(), real.T.cov(), atol=0.05, rtol=0.05)


def test_a_class_with_fewer_than_two_images_keeps_the_standard_normal() -> None:
    z, y = clouds(200)
    seen = (y == 0) | (torch.arange(len(y)) == int((y == 1).nonzero()[0]))  # all of class 0, one of class 1
    sampler = MixtureSampler(2, num_classes=3, num_components=2)
    sampler.fit([(z[seen], y[seen])])
    for label in (1, 2):
        drawn = drawn_from(sampler, torch.full((20_000,), label))
        torch.testing.assert_close(drawn.mean(0), torch.zeros(2), atol=0.03, rtol=0)
        torch.testing.assert_close(drawn.T.cov(), torch.eye(2), atol=0.05, rtol=0)


def test_without_classes_a_mixture_finds_the_clouds() -> None:
    z, y = clouds(2000)
    sampler = MixtureSampler(2, num_classes=0, num_components=3)
    sampler.fit([(z, y)])
    distances = torch.cdist(sampler.means[0], CENTRES).min(0).values
    assert distances.max() < 0.1
    torch.testing.assert_close(sampler.weights[0], torch.full((3,), 1 / 3), atol=0.02, rtol=0)


def test_the_fit_is_the_same_again_and_travels_with_the_weights() -> None:
    z, y = clouds(400)
    first, second = (MixtureSampler(2, num_classes=3, num_components=2) for _ in range(2))
    for sampler in (first, second):
        torch.rand(3)  # whatever was drawn before
        sampler.fit([(z, y)])
    copy = MixtureSampler(2, num_classes=3, num_components=2)
    copy.load_state_dict(first.state_dict())
    labels = torch.arange(3).repeat(5)
    draws = []
    for sampler in (first, second, copy):
        torch.manual_seed(1)
        draws.append(drawn_from(sampler, labels))
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2])


def test_a_temperature_shrinks_each_component_about_its_mean() -> None:
    z, y = clouds(2000)
    warm, cool = (MixtureSampler(2, num_classes=3, num_components=1, temperature=t) for t in (1.0, 0.5))
    for sampler in (warm, cool):
        sampler.fit([(z, y)])
    labels = torch.ones(50_000, dtype=torch.long)
    small, large = (drawn_from(sampler, labels) for sampler in (cool, warm))
    torch.testing.assert_close(small.T.cov(), large.T.cov() / 4, atol=0.01, rtol=0)
    torch.testing.assert_close(small.mean(0), large.mean(0), atol=0.02, rtol=0)


def test_few_images_get_few_components() -> None:
    z, y = clouds(250)
    sampler = MixtureSampler(2, num_classes=3, num_components=5)
    sampler.fit([(z, y)])
    assert (sampler.weights > 0).sum(1).tolist() == [2, 2, 2]
    many = MixtureSampler(2, num_classes=3, num_components=5, images_per_component=60)
    many.fit([(z, y)])
    assert (many.weights > 0).sum(1).tolist() == [4, 4, 4]


def test_the_prior_is_not_fitted() -> None:
    def never() -> Any:
        raise AssertionError("nothing is to be encoded")
        yield

    prior = PriorSampler(4, 10)
    prior.fit(never())
    assert not prior.state_dict()
    assert drawn_from(prior, torch.zeros(7, dtype=torch.long)).shape == (7, 4)


@pytest.mark.parametrize("number", [0, -1, 1.5, True])
def test_components_that_are_none_are_refused(number: Any) -> None:
    with pytest.raises(UserError, match=r"Expected an integer of at least 1 \(sampler\.num_components\), got"):
        MixtureSampler(2, 0, number)
    with pytest.raises(UserError, match=r"Expected an integer of at least 1 \(sampler\.images_per_component\), got"):
        MixtureSampler(2, 0, 3, images_per_component=number)


def test_a_run_samples_from_what_was_fitted_and_keeps_it(make_run: MakeRun) -> None:
    run = make_run("run", "sampler=mixture", "model=cvae")
    train(run)
    assert run.metrics["sampler"] == "mixture"
    sampler: Any = run.model().sampler
    assert sampler.means.abs().sum() > 0
    assert sampler.means.shape == (10, 40, 3)


def test_a_fitted_sampler_changes_nothing_but_the_samples(make_run: MakeRun) -> None:
    plain, fitted = make_run("plain"), make_run("fitted", "sampler=gaussian")
    for run in (plain, fitted):
        train(run)
    for split in ("val", "test"):
        assert plain.metrics[split]["fid_pixel"] != fitted.metrics[split].pop("fid_pixel")
        same = ("elbo", "log_likelihood", "kl", "ssim", "mse")
        assert [plain.metrics[split][key] for key in same] == [fitted.metrics[split][key] for key in same]


def rates_of(schedule: Schedule, epochs: int = 5, steps_per_epoch: int = 20) -> list[float]:
    """The learning rate in each step of a training at 0.01."""
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.01)
    scheduler = schedule(optimizer, steps_per_epoch)
    rates = []
    for _ in range(epochs * steps_per_epoch):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


def test_a_cosine_falls_from_the_learning_rate_to_nearly_nothing() -> None:
    rates = rates_of(cosine(epochs=5))
    assert rates[0] == 0.01
    assert rates == sorted(rates, reverse=True)
    assert rates[50] == pytest.approx(0.005)
    assert rates[-1] < 1e-5


def test_one_cycle_rises_to_the_learning_rate_and_falls_to_nearly_nothing() -> None:
    rates = rates_of(one_cycle(epochs=5, rising_fraction=0.2))
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.01)
    assert peak == 19
    assert rates[:20] == sorted(rates[:20])
    assert rates[19:] == sorted(rates[19:], reverse=True)
    assert rates[-1] < 1e-6


@pytest.mark.parametrize("epochs", [1, 2, 5, 10])
def test_the_shortest_cycles_train_too(epochs: int) -> None:
    """One step per epoch, as where a batch holds all images. The rise of ten steps has no length at the default."""
    rates = rates_of(one_cycle(epochs), epochs, steps_per_epoch=1)
    assert max(rates) > 0.005
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("arguments", "key"), [({"epochs": 0}, "epochs"), ({"rising_fraction": 1}, "rising_fraction")])
def test_a_schedule_that_is_none_is_refused(arguments: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=rf"\(schedule\.{key}\), got"):
        one_cycle(**{"epochs": 1, **arguments})
