"""A preset goes together with every other choice of a part, also where it sets keys of its own."""

import logging
from contextlib import nullcontext

import pytest
from helpers import composed
from omegaconf import OmegaConf, open_dict

from cvae_lightning.cli.checks import PARTS, check_parts, leave_out_settings_of_others
from cvae_lightning.cli.keys import files_of
from cvae_lightning.core.build import CONF, build
from cvae_lightning.core.errors import UserError

PRESETS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_takes_every_choice_of_evaluators(preset: str) -> None:
    for choice in files_of("evaluators"):
        words = [f"experiment={preset}", f"evaluators={choice}", "data=digits"]
        config = composed(*words)
        leave_out_settings_of_others(config, words)
        check_parts(config, "config")
        assert set(config.evaluators) >= set(composed(f"evaluators={choice}").evaluators)


PARTS_OF_A_MODEL = ("model", *PARTS["model"])
REFUSED = {  # parts that do not go together, with or without a preset
    ("few_labels_m2", "model", "m1m2"): r"Expected null \(model\.classifier\)",
    **{(preset, "bound", "iwae"): "Expected an ELBO without free bits" for preset in ("few_labels", "few_labels_m2")},
    **{("nll_iwae", "model", model): "Expected an ELBO without free bits" for model in ("m2", "m1m2")},
}


@pytest.mark.parametrize("group", PARTS_OF_A_MODEL)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_takes_every_choice_of_the_parts_of_a_model(preset: str, group: str) -> None:
    for choice in files_of(group):
        words = [f"experiment={preset}", f"{group}={choice}", "data=digits"]
        config = composed(*words)
        leave_out_settings_of_others(config, words)
        check_parts(config, "config")
        message = REFUSED.get((preset, group, choice))
        with pytest.raises(UserError, match=message) if message else nullcontext():
            build(config.model)


def test_keys_that_another_choice_has_as_well_are_kept_and_others_are_named(caplog: pytest.LogCaptureFixture) -> None:
    words = ["experiment=few_labels_m2", "network=residual", "model=cvae", "model.classification_weight=7"]
    config = composed(*words)
    with caplog.at_level(logging.INFO):
        leave_out_settings_of_others(config, words)
    assert config.network.inject_into == ["decoder"]
    assert config.model.classification_weight == 7, "what the command itself sets is refused when the model is built"
    assert set(config.model) == {*composed("model=cvae").model, "classification_weight"}
    left_out = {message.partition(" as the")[0].removeprefix("model=cvae has no key ") for message in caplog.messages}
    assert left_out == {"model.classifier", "model.classifier_shift"}


def test_keys_inside_a_part_that_another_choice_does_not_have_are_left_out() -> None:
    words = ["experiment=few_labels", "model=m2"]
    config = composed(*words)
    assert config.model.network.first_latent_dim == 32, "Hydra has replaced ${network} by a copy"
    leave_out_settings_of_others(config, words)
    assert OmegaConf.is_interpolation(config.model, "network")
    assert config.model.classification_weight == 3


def test_what_a_command_sets_of_an_evaluator_that_it_did_not_choose_is_refused() -> None:
    words = ["experiment=nll_vae", "evaluators=judged", "evaluators.nll.num_samples=7"]
    config = composed(*words)
    leave_out_settings_of_others(config, words)
    with pytest.raises(UserError, match=r"Expected a part of the configuration \(evaluators\.nll\), got"):
        check_parts(config, "config")


def test_a_misspelt_evaluator_of_a_preset_is_refused() -> None:
    config = composed("experiment=nll_vae")
    with open_dict(config):
        config.evaluators.nil = {"num_samples": 7}
    leave_out_settings_of_others(config, ["experiment=nll_vae"])
    with pytest.raises(UserError, match=r"Expected a part of the configuration \(evaluators\.nil\), got"):
        check_parts(config, "config")
