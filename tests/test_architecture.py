"""The shape of the house: imports point down, and every file of the configuration can be used."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import yaml
from conftest import composed
from omegaconf import DictConfig, OmegaConf

from cvae_lightning.build import CONF, PACKAGE, PLUGINS, build
from cvae_lightning.command import expanded
from cvae_lightning.errors import UserError

FLOORS = [
    {"archives", "capacity", "errors", "escaping", "files", "locks", "random_streams", "shapes", "shell"},
    {
        *("continuous_bernoulli", "distributions", "objectives", "optimizers", "schedules", "samplers", "priors"),
        *("metrics", "classifier", "judge_files", "generative", "gradient_estimators", "pictures", "drawing"),
        *("latent_paths", "maps"),
    },
    {"networks", "data", "models", "evaluators", "callbacks"},
    {
        *(
            "build",
            "choices",
            "comparison",
            "metrics_file",
            "model_card",
            "model_limits",
            "provenance",
            "report_numbers",
        ),
        *("resolvers", "runs", "sources"),
        *("summary", "sweeps", "training", "latent_densities"),
    },
    {
        *(
            "arguments",
            "command",
            "completion",
            "keys",
            "mistakes",
            "multirun",
            "output",
            "paths",
            "report",
            "export",
            "__main__",
        ),
        *("evaluate", "judge", "verb", "sample", "reconstruct", "interpolate", "traverse", "embed"),
    },
]
PARTS = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
PEERS_THAT_MAY_MEET = {("callbacks", "data"), ("evaluators", "data"), ("report_numbers", "summary")}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def part_of(module: str) -> str:
    return module.removeprefix("cvae_lightning.").partition(".")[0]


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return names | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_or_stay_in_the_folder(path: Path) -> None:
    here = part_of(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    for module in imported(path):
        if module.startswith("cvae_lightning."):
            there = part_of(module)
            assert PARTS[there] <= PARTS[here], f"{here} imports {there}"
            if PARTS[there] == PARTS[here] == 2 and there != here:
                assert (here, there) in PEERS_THAT_MAY_MEET, f"{here} imports its peer {there}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_entry_points_know_hydra(path: Path) -> None:
    here = part_of(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    roots = {module.partition(".")[0] for module in imported(path)}
    assert "hydra" not in roots or PARTS[here] == 4
    assert "omegaconf" not in roots or PARTS[here] >= 3


def readme_commands() -> list[str]:
    text = (PACKAGE.parent / "README.md").read_text()
    return re.findall(r"^python -m cvae_lightning (?:-m )?(?!resume|--)(.+?)(?: +#.*)?$", text, re.MULTILINE)


@pytest.mark.parametrize("arguments", readme_commands())
def test_the_commands_of_the_readme_compose(arguments: str) -> None:
    for override in map(expanded, shlex.split(arguments)):
        key, _, values = override.partition("=")
        for value in values.split(","):
            assert composed(f"{key}={value}")


def test_the_readme_has_a_row_for_each_key_of_the_command() -> None:
    text = (PACKAGE.parent / "README.md").read_text()
    template: str = yaml.safe_load((CONF / "hydra" / "help" / "train.yaml").read_text())["template"]
    keys = set(re.findall(r"^  ([a-z_]+)= ", template, re.MULTILINE)) - {"resume"}
    assert len(keys) == 19
    assert not [key for key in keys if not re.search(rf"^\|.*`{key}`.*\|", text, re.MULTILINE)]


def groups() -> list[str]:
    files = sorted(path.relative_to(CONF) for path in CONF.glob("*/*.yaml"))
    choices = [f"{path.parent}={path.stem}" for path in files if path.parent.name != "hydra"]
    experiments = sorted((CONF / "experiment").rglob("*.yaml"))
    return [
        *(f"+{choice}" if choice.startswith("sweep=") else choice for choice in choices),
        *(f"experiment={path.relative_to(CONF / 'experiment').with_suffix('')}" for path in experiments),
    ]


@pytest.mark.parametrize("choice", groups())
def test_every_choice_composes_and_builds(choice: str) -> None:
    config = composed(choice, "accelerator=cpu")
    assert build(config.model).elbo
    assert build(config.data.module).train_dataloader
    for part in ("callbacks", "evaluators"):
        assert build(config[part]).keys() == config[part].keys()
    assert build(config.trainer)(logger=build(config.logger, save_dir="/nowhere"))


@pytest.mark.parametrize("path", sorted((CONF / "experiment").rglob("*.yaml")), ids=lambda path: path.stem)
def test_an_experiment_says_what_it_claims_and_how_it_is_run(path: Path) -> None:
    name = path.relative_to(CONF / "experiment").with_suffix("")
    text = path.read_text()
    package, claim, *_ = text.splitlines()
    sweeps = "-m " if "\n    params:\n" in text else ""
    assert package == "# @package _global_"
    assert claim.startswith("# ")
    assert claim.endswith(f": python -m cvae_lightning {sweeps}experiment={name}")


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_every_command_composes(name: str) -> None:
    assert isinstance(composed(config_name=name), DictConfig)


@pytest.mark.parametrize(
    "group",
    ["model", "network", "likelihood", "prior", "bound", "data", "schedule", "sampler", "averaging", "evaluators"],
)
def test_the_help_names_all_choices(group: str) -> None:
    template: str = yaml.safe_load((CONF / "hydra" / "help" / "train.yaml").read_text())["template"]
    (line,) = [line for line in template.splitlines() if line.strip().startswith(f"{group}=")]
    choices = set(re.split("[,:(]", line.partition("=")[2])[0].replace("|", " ").split())
    assert choices == {path.stem for path in (CONF / group).glob("*.yaml")}
    defaults = yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    default = next(entry[group] for entry in defaults if group in entry)
    assert line.split("=")[1].split()[0] == default, "the default stands first"


@pytest.mark.parametrize(
    "target", ["os.system", "builtins.exec", "torch.hub.load", "cvae_lightning_evil.run", "subprocess.run"]
)
def test_a_target_of_another_library_is_not_built(target: str) -> None:
    config = OmegaConf.create(
        {"model": {"_target_": "cvae_lightning.networks.mlp.MLP", "hidden": {"_target_": target}}}
    )
    with pytest.raises(UserError, match=rf"that conf/ names .* \(_target_\), got '{target}'.*{PLUGINS}"):
        build(config.model)


def test_an_argument_that_a_class_does_not_have_is_refused() -> None:
    config = OmegaConf.create({"_target_": "cvae_lightning.networks.mlp.MLP", "widths": [400]})
    with pytest.raises(UserError, match="unexpected keyword argument 'widths'"):
        build(config)
