"""Models that learn from images of unknown class: exact sums, and the supervised model where every class is known."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from helpers import composed, untrained_model
from labelled_data import Bars
from pytorch_lightning import Trainer

from cvae_lightning.core.build import build
from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import UserError
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.data.digits import Digits
from cvae_lightning.models.bounds import ELBO
from cvae_lightning.models.m1m2 import M1M2
from cvae_lightning.models.m2 import M2
from cvae_lightning.networks.stacked import StackedDecoder, StackedEncoder

QUIET: Any = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
OVERRIDES = ["data=digits", "network.hidden=[16]", "latent_dim=3"]
STACKED = "model=m1m2 model.network.first_latent_dim=5 model.network.hidden=[8]"
MODELS = ["model=m2", STACKED]
X, Y = torch.rand(12, 1, 28, 28), torch.arange(12) % 10


def exact(model: M2, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """log_likelihood minus KL of each latent, at the posterior's mean, so that nothing is drawn."""
    q = model.posterior(x, y)
    return model.likelihood(q.mean, y).log_prob(x) - model.prior(y).kl(q, q.mean)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> M2:
    """Its ELBO is taken at the mean of the posterior."""
    model = untrained_model(*OVERRIDES, "model=m2")
    assert isinstance(model, M2)
    monkeypatch.setattr(model, "elbo_of", lambda x, y: ELBO(exact(model, x, y), torch.zeros(len(x))), raising=True)
    return model


def test_an_image_of_unknown_class_counts_with_the_sum_over_all_classes(model: M2) -> None:
    q = model.class_log_probabilities(X).exp()
    by_class = torch.stack([exact(model, X, torch.full_like(Y, number)) for number in range(10)], 1)
    expected = (q * by_class).sum(1) - (q * (q.log() - math.log(0.1))).sum(1)
    torch.testing.assert_close(model.marginal_elbo(X, torch.full_like(Y, -1)).value, expected)


def test_an_image_of_known_class_counts_with_its_own(model: M2) -> None:
    half = torch.where(torch.arange(12) < 6, Y, -1)
    values = model.marginal_elbo(X, half).value
    torch.testing.assert_close(values[:6], exact(model, X, Y)[:6])
    torch.testing.assert_close(values[6:], model.marginal_elbo(X, torch.full_like(Y, -1)).value[6:])


def test_the_marginal_bound_is_below_the_log_sum_of_the_class_bounds(model: M2) -> None:
    """Equal if q(y | x) is the posterior of the classes: the inequality of Jensen."""
    by_class = torch.stack([exact(model, X, torch.full_like(Y, number)) for number in range(10)], 1)
    assert (model.marginal_elbo(X, torch.full_like(Y, -1)).value <= by_class.logsumexp(1) - math.log(10) + 1e-3).all()


def test_the_other_columns_of_a_condition_stay_as_they_are() -> None:
    condition = Condition.from_config({"digit": 10, "angle": {"mean": 0, "std": 1, "low": -1, "high": 1}})
    config = composed(*OVERRIDES, "model=m2")
    config.data.condition = condition.described()
    model: M2 = build(config.model)
    y = torch.stack([torch.full((12,), torch.nan), torch.linspace(-1, 1, 12)], 1)
    completed = model.completed(X, y)
    assert torch.equal(completed[:, 1], y[:, 1])
    assert torch.equal(completed[:, 0].long(), model.class_log_probabilities(X).argmax(1))
    assert model.marginal_elbo(X, y).value.isfinite().all()


@pytest.mark.parametrize("overrides", MODELS)
def test_the_classifier_sees_moved_images_in_training_alone(overrides: str) -> None:
    """A dot in the middle is moved by up to 2 pixels along each axis, to all 25 places."""
    model = untrained_model(*OVERRIDES, *overrides.split(), "model.classifier_shift=2")
    assert isinstance(model, M2)
    dots = torch.zeros(2000, 1, 28, 28)
    dots[:, :, 13, 14] = 1
    assert model.moved(dots) is dots
    moved = model.train().moved(dots)
    number, _, row, column = moved.nonzero().T
    assert torch.equal(number, torch.arange(2000))
    assert set(zip(row.tolist(), column.tolist(), strict=True)) == set(product(range(11, 16), range(12, 17)))


def trained(*overrides: str, labelled: Any = "all") -> Any:
    torch.manual_seed(0)
    model = build(composed(*OVERRIDES, *overrides).model)
    torch.manual_seed(1)
    data = DataModule(Digits(), batch_size=100, labelled=labelled)
    Trainer(max_epochs=2, **QUIET).fit(model, datamodule=data)
    return model


def test_with_all_labels_m2_is_the_supervised_model_beside_a_classifier() -> None:
    """The CVAE's weights, step by step: the classifier shares none of them, and draws nothing."""
    m2 = trained("model=m2")
    cvae = trained("model=cvae")
    weights = m2.state_dict()
    for name, value in cvae.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("overrides", MODELS)
def test_few_labels_and_many_images_teach_the_classes(overrides: str) -> None:
    """The bright column tells the class of an image; one image of each class has a label."""
    torch.manual_seed(0)
    config = composed("data=digits", "network.hidden=[32]", "latent_dim=2", "lr=0.01", *overrides.split())
    config.data.image_shape, config.data.condition = [1, 4, 4], {"bar": 4}
    config.likelihood.variance = 0.01
    config.model.classification_weight = 5.0
    if "m1m2" in overrides:
        config.model.first_epochs = 20
    model: M2 = build(config.model)
    data = DataModule(Bars(), batch_size=50, image_shape=(1, 4, 4), labelled=4)
    Trainer(max_epochs=40, **QUIET).fit(model, datamodule=data)
    x, y = next(iter(data.batches("val")))
    assert (model.class_log_probabilities(x).argmax(1) == y).float().mean() > 0.99


def test_the_first_stage_is_trained_alone_and_then_stays() -> None:
    model = untrained_model(*OVERRIDES, *STACKED.split(), "model.first_epochs=1")
    assert isinstance(model, M1M2)
    for epoch in (0, 1):
        model.zero_grad(set_to_none=True)
        model.loss(X, torch.full_like(Y, -1), epoch)[0].backward()
        moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
        first = {name for name, _ in model.named_parameters() if ".first." in name}
        assert moved == (first if epoch == 0 else {name for name, _ in model.named_parameters()} - first)


def test_images_of_m1m2_go_through_both_stages() -> None:
    model = untrained_model(*OVERRIDES, *STACKED.split())
    assert isinstance(model, M1M2)
    encoder, decoder, context, z = model.encoder, model.decoder, model.context(Y), torch.randn(12, 3)
    assert isinstance(encoder, StackedEncoder)
    assert isinstance(decoder, StackedDecoder)
    z1 = model.first_likelihood(z, Y).mean
    torch.testing.assert_close(decoder(z, context), decoder.first(z1, torch.empty(12, 0)))
    parameters = encoder.second(model.first_posterior(X).mean, context)
    torch.testing.assert_close(model.posterior(X, Y).mean, parameters.chunk(2, dim=1)[0])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("bound=iwae", r"an ELBO without free bits \(bound\), got 'IWAEBound'\."),
        ("bound.free_bits=0.1", r"an ELBO without free bits \(bound\)"),
        ("model.classification_weight=-1", r"\(model\.classification_weight\), got -1"),
        ("model.classifier_shift=28", r"fewer than 28 pixels \(model\.classifier_shift\), got 28\."),
        ("model.labelled_batch_size=0", r"\(model\.labelled_batch_size\), got 0"),
        ("data.condition={label:1}", r"at least 2 classes \(data\.condition\), got 1\."),
        ("+data.condition.label={mean:0,std:1,low:0,high:1}", r"at least 2 classes"),
        ("+model.label_dropout=0.1", r"0 \(model\.label_dropout\), got 0\.1\."),
    ],
)
def test_what_m2_cannot_be_built_of_is_refused(overrides: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(composed(*OVERRIDES, "model=m2", overrides).model)


def test_a_training_on_loaders_alone_is_refused() -> None:
    model, data = untrained_model(*OVERRIDES, "model=m2").train(), DataModule(Digits(), batch_size=100)
    data.setup("fit")
    with pytest.raises(UserError, match=r"a DataModule of this package \(datamodule\), got 'NoneType'"):
        Trainer(max_epochs=1, **QUIET).fit(model, data.train_dataloader(), data.val_dataloader())


def test_m1m2_has_no_classifier_of_images() -> None:
    with pytest.raises(UserError, match=r"null \(model\.classifier\), got 'MLP'"):
        build(composed(*OVERRIDES, *STACKED.split(), "model.classifier=${network}").model)


def test_a_training_that_never_reaches_the_second_stage_is_refused() -> None:
    with pytest.raises(UserError, match=r"fewer than the 2 epochs \(model\.first_epochs\), got 2"):
        trained(*STACKED.split(), "model.first_epochs=2")
