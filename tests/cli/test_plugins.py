"""plugins=[my_parts] on a command line: every command takes it, no file stands in for it, and workers inherit it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from helpers import QUICK, composed, environment, execute
from hydra.core.hydra_config import HydraConfig
from prefork import Answer

from cvae_lightning.cli import plugins
from cvae_lightning.cli.commands import COMMANDS, TASKS
from cvae_lightning.cli.escape import Escape
from cvae_lightning.cli.invocation import Invocation, Job
from cvae_lightning.cli.keys import Keys
from cvae_lightning.core.plugins import PLUGINS
from cvae_lightning.runs.run import CONFIG, METRICS, Run
from cvae_lightning.runs.sweep import RECORD, Sweep

Captured = pytest.CaptureFixture[str]

FILES = {
    "my_parts/__init__.py": """
from cvae_lightning.data.digits import Digits
from cvae_lightning.models.cvae import CVAE

class Mine(CVAE): ...
class Ours(Digits): ...
""",
    "my_parts/conf/model/mine.yaml": "defaults: [cvae, _self_]\n_target_: my_parts.Mine\n",
    "my_parts/conf/data/ours.yaml": """
defaults: [digits, _self_]
name: ours
module: {passes_per_epoch: 1, source: {_target_: my_parts.Ours}}
""",
    "my_parts/conf/experiment/presumptuous.yaml": "# @package _global_\nplugins: [my_parts]\n",
    "my_parts/conf/sweep/presumptuous.yaml": "# @package hydra.sweeper.params\nplugins: '[my_parts]'\n",
    "more.py": "",
}
NAMED = "plugins=[my_parts]"
SMALL = [
    "model=mine",
    "data=ours",
    "network.hidden=[8]",
    "accelerator=cpu",
    "epochs=1",
    "latent_dim=3",
    "data_dir=/nowhere",
]
TRAINED_WITH = "Expected a class or function that conf/ names or that a plug-in defines (_target_), got 'my_parts.{}'. "
TRAINED_WITH += "It was trained with plugins=[my_parts]: if you trust that code, add it to this command, or call "


def write_files(folder: Path) -> Path:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A folder with the package my_parts, a run and a sweep that were trained with it, and what the run printed."""
    folder = write_files(tmp_path_factory.mktemp("plugins"))
    answer = execute(NAMED, *SMALL, "hydra.run.dir=run", cwd=folder)
    assert answer.returncode == 0, answer.stderr
    swept = execute("-m", NAMED, *SMALL, "callbacks.figures=null", "seed=0,1", "hydra.sweep.dir=sweep", cwd=folder)
    assert swept.returncode == 0, swept.stderr
    return folder, answer


@pytest.fixture
def folder(trained: tuple[Path, Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it, as the working directory."""
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PLUGINS, "")
    yield tmp_path
    for name in ("my_parts", "more"):
        sys.modules.pop(name, None)


def test_the_run_records_the_plug_in_and_says_it_where_a_person_needs_it(trained: tuple[Path, Answer]) -> None:
    folder, answer = trained
    run = Run(folder / "run")
    assert run.config["plugins"] == ["my_parts"]
    assert NAMED not in run.overrides
    for module in ("sample", "export", "evaluate"):
        assert f"python -m cvae_lightning.{module} 'plugins=[my_parts]' run=run" in answer.stdout
    card = (run.path / "README.md").read_text()
    assert 'from cvae_lightning import Run, trust\n\ntrust("my_parts")' in card
    assert card.count("'plugins=[my_parts]'") == 3, "the training command, sample and evaluate"


READING = {
    "sample": ["num=1"],
    "reconstruct": ["num=2"],
    "interpolate": ["num=2", "steps=2"],
    "traverse": ["num=1", "steps=2"],
    "embed": [],
    "score": ["num=2", "num_samples=2"],
    "inpaint": ["num=2", "draws=2", "proposals=10"],
    "export": ["format=onnx"],
    "evaluate": ["evaluators=default"],
}


@pytest.mark.parametrize("name", READING)
def test_a_command_reads_the_run_if_it_names_the_plug_in_and_otherwise_says_what_to_add(
    name: str, folder: Path
) -> None:
    words, module = [*READING[name], "run=run"], f"cvae_lightning.{name}"
    before = sorted(folder.rglob("*"))
    answer = execute(*words, cwd=folder, module=module)
    assert answer.returncode == 1
    assert answer.stderr == TRAINED_WITH.format("Mine") + 'trust("my_parts") in Python.\n'
    assert "my_parts" not in answer.modules
    assert sorted(folder.rglob("*")) == before
    answer = execute(*words, NAMED, cwd=folder, module=module)
    assert answer.returncode == 0, answer.stderr


def test_a_run_is_resumed_with_its_plug_in(folder: Path) -> None:
    (folder / "run" / METRICS).unlink()
    answer = execute("resume=run", cwd=folder)
    assert answer.returncode == 1
    assert answer.stderr.startswith(TRAINED_WITH.format("Mine"))
    assert not Run("run").complete
    answer = execute("resume=run", "plugins=my_parts", cwd=folder)
    assert answer.returncode == 0, answer.stderr
    assert Run("run").complete


def test_a_data_set_of_a_plug_in_says_what_to_add_too(folder: Path) -> None:
    file = folder / "run" / CONFIG
    config = yaml.safe_load(file.read_text())
    config["model"]["_target_"] = "cvae_lightning.models.cvae.CVAE"
    file.write_text(yaml.safe_dump(config))
    assert execute("run=run", "num=1", cwd=folder, module="cvae_lightning.sample").returncode == 0
    answer = execute("run=run", "num=1", cwd=folder, module="cvae_lightning.reconstruct")
    assert answer.stderr.startswith(TRAINED_WITH.format("Ours"))


def test_a_judge_is_trained_on_a_data_set_of_a_plug_in(folder: Path) -> None:
    words = ["data=ours", "epochs=1", "out=judges"]
    answer = execute(*words, cwd=folder, module="cvae_lightning.judge")
    assert answer.returncode == 1
    assert "got 'ours'. Choose one of these, or add plugins=[<module>] if a plug-in has it." in answer.stderr
    answer = execute(*words, NAMED, cwd=folder, module="cvae_lightning.judge")
    assert answer.returncode == 0, answer.stderr


def test_a_report_needs_no_code_of_the_runs(folder: Path) -> None:
    for words in ([], [NAMED]):
        answer = execute("sweep=sweep", *words, cwd=folder, module="cvae_lightning.report")
        assert answer.returncode == 0, answer.stderr
        assert "my_parts" not in answer.modules


def test_plug_ins_make_no_other_sweep_and_no_other_run(folder: Path, capsys: Captured) -> None:
    """Whether a command names one more, or names them in the environment."""
    sweep = Sweep("sweep")
    assert not [
        word for words in (sweep.record["command"], *sweep.record["jobs"]) for word in words if "plugins" in word
    ]
    assert [run.overrides[-1] for run in sweep.runs] == ["seed=0", "seed=1"]
    shutil.rmtree("sweep/1")
    before = Path("sweep/0", METRICS).stat().st_mtime_ns
    words = ["-m", *SMALL, "callbacks.figures=null", "seed=0,1", "hydra.sweep.dir=sweep"]
    os.environ[PLUGINS] = "my_parts"
    assert Invocation("train", [*words, "plugins=[more]"]).run() == 0
    assert [run.config["plugins"] for run in sweep.runs] == [["my_parts"], ["my_parts", "more"]]
    assert Path("sweep/0", METRICS).stat().st_mtime_ns == before
    capsys.readouterr()
    assert Invocation("train", words).run() == 0
    assert "All 2 runs of sweep are complete" in capsys.readouterr().out
    assert Invocation("train", [*SMALL, "plugins=more", "hydra.run.dir=run"]).run() == 0
    assert "run is complete" in capsys.readouterr().out


def test_a_longer_run_goes_on_from_a_shorter_one_that_named_other_plug_ins(folder: Path) -> None:
    record = json.loads(Path("sweep", RECORD).read_text(encoding="utf-8"))
    record["jobs"].append([*SMALL, "epochs=2", "seed=0", "callbacks.figures=null"])
    Path("sweep", RECORD).write_text(json.dumps(record), encoding="utf-8")
    words = ["epochs=2", "seed=0", "callbacks.figures=null", "hydra.run.dir=sweep/2"]
    answer = execute("plugins=[my_parts,more]", *SMALL, *words, cwd=folder)
    assert "Going on from epoch 1, where sweep/0 ends." in answer.stdout, answer.stderr


VALUES = {
    "plugins=a": ["a"],
    "plugins=[a]": ["a"],
    "plugins=[a.b,c]": ["a.b", "c"],
    "plugins='a'": ["a"],
    "plugins=[]": [],
    "+plugins=[a]": ["a"],
    "++plugins=[a]": ["a"],
    "plugins=[a] plugins=b": ["b"],
    "data=digits": [],
}


@pytest.mark.parametrize("words", VALUES)
def test_the_value_is_a_module_or_a_list_of_modules(words: str) -> None:
    assert plugins.split([*words.split(), "lr=0.1"]) == (
        VALUES[words],
        [*(["data=digits"] if "data" in words else []), "lr=0.1"],
    )


SEVERAL = {
    "plugins=a,b": "[a,b]",
    "plugins=[a],[b]": "[my_parts]",
    "plugins=choice(a,b)": "[my_parts]",
    "plugins=glob(*)": "[my_parts]",
    "plugins=[a": "[my_parts]",
}


@pytest.mark.parametrize("multirun", [["-m"], []])
@pytest.mark.parametrize("word", SEVERAL)
def test_a_sweep_does_not_run_over_plug_ins(word: str, multirun: list[str], folder: Path, capsys: Captured) -> None:
    assert Invocation("train", [*multirun, word, "seed=0"]).run() == 1
    value = word.partition("=")[2]
    expected = "Expected one list of modules, for all runs of a sweep (plugins)"
    assert capsys.readouterr().err == f"{expected}, got {value!r}. Write plugins={SEVERAL[word]}.\n"


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    "word", ["plugins=nowhere", "plugins=torch", "plugins=cvae_lightning", "plugins=null", "plugins={a:1}"]
)
def test_every_command_refuses_what_cannot_be_a_plug_in(name: str, word: str, folder: Path, capsys: Captured) -> None:
    before = sorted(folder.rglob("*"))
    assert Invocation(name, [word, "run=run"]).run() == 1
    error = capsys.readouterr().err
    assert error.startswith("Expected ")
    assert " (plugins), got " in error
    assert error.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_a_module_of_the_environment_is_refused_by_the_name_of_the_variable(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv(PLUGINS, "nowhere")
    assert Invocation("sample", ["run=run"]).run() == 1
    assert capsys.readouterr().err.startswith(f"Expected a module that Python finds ({PLUGINS}), got 'nowhere'.")


@pytest.mark.parametrize("words", [["hydra.run.dir=new"], ["-m", "hydra.sweep.dir=new", "seed=0,1"]])
def test_a_broken_plug_in_is_reported_once_and_leaves_nothing(words: list[str], folder: Path) -> None:
    (folder / "my_parts" / "__init__.py").write_text("x = y\n")
    answer = execute(NAMED, *SMALL, *words, cwd=folder)
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith("Expected a module that can be imported (plugins), got 'my_parts', which raises NameError")
    assert line.endswith("my_parts/__init__.py, line 1).")
    assert not (folder / "new").exists()


@pytest.mark.parametrize("words", [["experiment=presumptuous"], ["-m", "+sweep=presumptuous"]])
def test_no_file_names_plug_ins(words: list[str], folder: Path, capsys: Captured) -> None:
    assert Invocation("train", [NAMED, *QUICK, *words, "hydra.run.dir=new", "hydra.sweep.dir=new"]).run() == 1
    assert "Expected plug-ins on the command line (plugins), got ['my_parts']." in capsys.readouterr().err
    assert not list(folder.glob("new/**/config.yaml"))


@pytest.mark.parametrize("word", ["~plugins", "plugins.0=my_parts"])
def test_another_way_to_set_the_key_is_refused(word: str, folder: Path, capsys: Captured) -> None:
    assert Invocation("train", [*QUICK, word, "hydra.run.dir=new"]).run() == 1
    assert "plugins" in capsys.readouterr().err
    assert not list(folder.glob("new/*"))


def test_an_invocation_leaves_the_process_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS, "more")
    path = sys.path[:]
    assert Invocation("sample", [NAMED, "run=run", "num=1"]).run() == 0
    assert (os.environ[PLUGINS], sys.path) == ("more", path)
    assert Invocation("sample", ["run=run", "num=1"]).run() == 1


def test_the_configuration_that_is_shown_has_the_plug_ins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS, "more")
    answer = execute("--cfg", "job", "plugins=my_parts", "model=mine", cwd=folder)
    shown = yaml.safe_load(answer.stdout)
    assert (shown["plugins"], shown["model"]["_target_"]) == (["more", "my_parts"], "my_parts.Mine")
    assert "my_parts" not in answer.modules
    assert yaml.safe_load(execute("-c", "job", cwd=folder, module="cvae_lightning.sample").stdout)["plugins"] == [
        "more"
    ]


@pytest.mark.parametrize("name", [*COMMANDS, "resume"])
def test_every_help_names_the_key(name: str, capsys: Captured) -> None:
    assert (
        Invocation("train" if name == "resume" else name, ["--help", *(["resume=x"] if name == "resume" else [])]).run()
        == 0
    )
    assert "\n  plugins=" in capsys.readouterr().out


@pytest.mark.parametrize("config_name", TASKS)
def test_a_shell_completes_the_key_and_the_modules_in_the_folder(config_name: str, folder: Path) -> None:
    keys = Keys(config_name)
    assert keys.completed("plug") == ["plugins="]
    assert keys.completed("plugins=") == ["plugins=more", "plugins=my_parts"]
    assert keys.completed("plugins=[my") == ["plugins=[my_parts"]
    assert keys.completed("plugins=[more,m") == ["plugins=[more,more", "plugins=[more,my_parts"]


def test_a_shell_completes_the_files_of_a_plug_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with plugins.left_as_it_was():
        assert Keys("config").completed("model=mi") == []
        plugins.trust(["my_parts"])
        assert Keys("config").completed("model=mi") == ["model=mine"]
    assert Keys("config").completed("model=mi") == []


SCRIPT = "import sys\nfrom cvae_lightning.cli.main import main\nmain()\n"


def test_the_script_finds_a_plug_in_in_the_working_directory_and_nothing_else_there(folder: Path) -> None:
    """As python -m does; with python -P neither does."""
    script = folder / "bin" / "cvae-lightning"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    (folder / "tqdm.py").write_text("raise RuntimeError('from the working directory')\n")

    def tried(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env={**environment(), **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    for variables, named in (({}, [NAMED]), ({PLUGINS: "my_parts"}, [])):
        answer = tried(str(script), "sample", "run=run", "num=1", *named, **variables)
        assert answer.returncode == 0, answer.stderr
    safe = tried("-P", "-m", "cvae_lightning.sample", "run=run", NAMED)
    assert safe.stderr.startswith("Expected a module that Python finds (plugins), got 'my_parts'.")


def test_an_installed_package_with_an_entry_point_need_not_be_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Its run still says what to add where it is not installed, or not as a plug-in."""
    site, run = folder / "site", ["hydra.run.dir=new", "callbacks.figures=null"]
    shutil.move(folder / "my_parts", site / "my_parts")
    package = site / "mine-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[cvae_lightning.plugins]\nmine = my_parts\n")
    with monkeypatch.context() as installed:
        installed.syspath_prepend(str(site))
        assert Invocation("train", [*SMALL, *run]).run() == 0
        assert Invocation("sample", ["run=new", "num=1"]).run() == 0
    assert Run("new").config["plugins"] == ["my_parts"]
    capsys.readouterr()
    assert Invocation("sample", ["run=new", "num=1"]).run() == 1
    assert capsys.readouterr().err.startswith(TRAINED_WITH.format("Mine"))


def test_a_file_of_this_package_wins_over_that_of_a_plug_in(folder: Path) -> None:
    (folder / "my_parts" / "conf" / "model" / "vae.yaml").write_text("_target_: my_parts.Mine\n")
    shown = yaml.safe_load(execute("--cfg", "job", NAMED, "model=vae", cwd=folder).stdout)
    assert shown["model"]["_target_"] == "cvae_lightning.models.vae.VAE"


def test_a_worker_trusts_what_the_command_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if it has another environment, as the workers of a cluster that was started before."""
    seen = []
    monkeypatch.setattr("cvae_lightning.cli.invocation.task_of", lambda _: lambda config: seen.append(config.plugins))
    config = composed(with_hydra=True)
    HydraConfig.instance().set_config(config)
    with plugins.left_as_it_was():
        Job("config", ("my_parts",))(config)
        assert os.environ[PLUGINS] == "my_parts"
    assert seen == [["my_parts"]]
    with pytest.raises(Escape, match="Python finds"), plugins.left_as_it_was():
        Job("config", ("nowhere",))(composed())
