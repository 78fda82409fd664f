"""A run says which choice of each configuration group it was made of, by the name that a person chose."""

from pathlib import Path

import pytest
from helpers import MakeRun
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from cvae_lightning.core.build import CONF, build
from cvae_lightning.reports.sweep_frame import sweep_frame
from cvae_lightning.runs.choices import choice
from cvae_lightning.runs.paper import COMMON_SETTINGS
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import RECORD, Sweep
from cvae_lightning.training.provenance import settings

RECORDED = ("model", "network", "likelihood", "prior", "bound", "optimizer", "schedule", "sampler", "averaging")
CHOICES = [(group, path.stem) for group in RECORDED for path in sorted((CONF / group).glob("*.yaml"))]


def begun(folder: Path, *overrides: str) -> Run:
    """As the training command begins a run."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", list(overrides), return_hydra_config=True)
    with open_dict(config):
        hydra = config.pop("hydra")
    return Run.begin(folder, config, overrides, OmegaConf.create({"hydra": hydra}))


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_each_choice_of_each_group_is_recorded_by_its_own_name(make_run: MakeRun, group: str, name: str) -> None:
    run = make_run("run", f"{group}={name}")
    assert settings(run, build(run.raw_config.model)).get(group) == name
    (run.path / ".hydra" / "hydra.yaml").unlink()
    assert choice(Run(run.path), group) == name, "also where only the configuration is left"


def test_what_an_experiment_chooses_is_recorded(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", "experiment=best", "sampler=gaussian")
    found = {group: choice(run, group) for group in ("likelihood", "optimizer", "schedule", "sampler", "bound")}
    assert found == {
        "likelihood": "gaussian_optimal",
        "optimizer": "adamw",
        "schedule": "one_cycle",
        "sampler": "gaussian",
        "bound": "elbo",
    }


def test_a_part_that_was_replaced_is_not_recorded_as_the_choice_that_it_replaced(make_run: MakeRun) -> None:
    run = make_run(
        "run",
        "network._target_=my_parts.GeluNetwork",
        "prior._target_=cvae_lightning.models.priors.LearnedPrior",
        "averaging=ema",
        "callbacks.averaging=null",
    )
    found = [choice(run, group) for group in ("network", "prior", "averaging")]
    assert found == ["gelu_network", "learned", "none"]


def test_a_choice_from_a_folder_of_ones_own_keeps_its_name(tmp_path: Path) -> None:
    file = tmp_path / "conf" / "network" / "narrow.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("_target_: cvae_lightning.networks.mlp.MLP\nhidden: [16]\n")
    run = begun(tmp_path / "run", "network=narrow", f"hydra.searchpath=[file://{tmp_path / 'conf'}]")
    assert choice(run, "network") == "narrow"


def test_the_default_run_is_comparable_with_the_report(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    recorded = settings(run, build(run.raw_config.model))
    assert COMMON_SETTINGS.items() <= recorded.items()


def test_the_table_of_a_sweep_names_the_model_of_a_run_that_is_not_complete(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text('{"command": [], "jobs": [["model=vae"]], "composed_from": ""}')
    begun(tmp_path / "0", "model=vae")
    assert list(sweep_frame(Sweep(tmp_path)).model) == ["vae"]
