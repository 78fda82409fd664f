"""One model with and without its labels: model.label_dropout, and data of which some labels are unknown."""

from typing import Any

import pytest
import torch
from helpers import composed, untrained_model
from labelled_data import Bars
from pytorch_lightning import Trainer

from cvae_lightning.core.build import build
from cvae_lightning.core.errors import UserError
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.models import inference
from cvae_lightning.models.cvae import CVAE

OVERRIDES = ["data=digits", "network.hidden=[16]", "latent_dim=3"]
QUIET: Any = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}


def trained(sampler: str) -> CVAE:
    torch.manual_seed(0)
    config = composed(*OVERRIDES, f"sampler={sampler}", "lr=0.01", "likelihood.variance=0.01")
    config.data.image_shape = [1, 4, 4]
    config.data.condition = {"bar": {"classes": 4, "optional": True}}
    model: CVAE = build(config.model)
    data = DataModule(Bars(), batch_size=50, image_shape=(1, 4, 4))
    Trainer(max_epochs=60, **QUIET).fit(model, datamodule=data)
    model.eval().fit_sampler(data.batches("train"))
    return model


@pytest.mark.parametrize(("sampler", "share"), [("prior", 0.6), ("gaussian", 0.9)])
def test_a_model_of_half_labelled_images_draws_what_is_asked_and_anything_without(sampler: str, share: float) -> None:
    """The prior is wider than the latents of so small a training; a Gaussian per class is fitted to them."""
    model = trained(sampler)
    asked = inference.sample(model, [0, 1, 2, 3] * 25).images[:, 0].mean(1).argmax(1)
    assert float((asked == torch.arange(100) % 4).float().mean()) > share
    anything = inference.sample(model, num=200).images[:, 0].mean(1).argmax(1)
    assert (anything.bincount(minlength=4) > 10).all()


def test_hidden_labels_are_the_only_difference_of_the_training() -> None:
    """Without label_dropout nothing is drawn for it, and the context has no flag."""
    plain, hiding = (untrained_model(*OVERRIDES, f"model.label_dropout={share}") for share in (0.0, 0.25))
    assert (plain.condition.width, hiding.condition.width) == (10, 11)
    state = torch.get_rng_state()
    y = torch.arange(10)
    assert torch.equal(plain.context(y), torch.eye(10))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_share_of_the_labels_that_are_hidden() -> None:
    model = untrained_model(*OVERRIDES, "model.label_dropout=0.25")
    seen: list[torch.Tensor] = []

    def loss(model: CVAE, x: torch.Tensor, y: torch.Tensor, epoch: int) -> Any:
        seen.append(y)
        raise StopIteration

    model.bound.loss = loss  # type: ignore[method-assign,assignment]
    for _ in range(20):
        with pytest.raises(StopIteration):
            model.training_step((torch.rand(200, 1, 28, 28), torch.arange(200) % 10), 0)
    hidden = torch.cat(seen) < 0
    assert float(hidden.float().mean()) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan"), True])
def test_a_share_is_at_least_0_and_below_1(share: object) -> None:
    with pytest.raises(UserError, match=r"a number of at least 0 and below 1 \(model\.label_dropout\)"):
        build(composed(*OVERRIDES).model, label_dropout=share)


def test_unlabelled_images_have_no_conditional_model() -> None:
    with pytest.raises(UserError, match=r"labelled images \(data\.condition\), got 'none'. model=vae needs no labels"):
        build(composed(*OVERRIDES).model, condition={})


def test_a_model_that_never_saw_unknown_labels_asks_for_them() -> None:
    with pytest.raises(UserError, match=r"labels, as this model is conditional \(labels\)"):
        inference.sample(untrained_model(*OVERRIDES), num=3)
