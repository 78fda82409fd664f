"""A preset goes together with every other choice of evaluators, also where it sets keys of its own."""

import pytest
from helpers import composed
from omegaconf import open_dict

from cvae_lightning.cli.checks import check_parts, leave_out_settings_of_others
from cvae_lightning.cli.keys import files_of
from cvae_lightning.core.build import CONF
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
