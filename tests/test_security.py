"""Somebody else's directory executes nothing, makes no command write elsewhere, and its text is shown as text."""

import functools
import json
import logging
import os
import pickle
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from html import unescape
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from helpers import composed
from hydra import initialize_config_dir
from markdown_it import MarkdownIt
from omegaconf import OmegaConf

from cvae_lightning.cli.escape import Escape
from cvae_lightning.cli.multirun import Multirun, SweepInProgress
from cvae_lightning.cli.train import resume
from cvae_lightning.core.build import CONF, PACKAGE, build, load_group, part_named
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.files import sha256_of
from cvae_lightning.core.markdown import code, escaped, fenced
from cvae_lightning.core.plugins import PLUGINS, trust
from cvae_lightning.drawing.commands import embed, inpaint, interpolate, reconstruct, sample, score, traverse
from cvae_lightning.exporters.export import export
from cvae_lightning.reports.report import report
from cvae_lightning.runs.configuration import calls_a_resolver
from cvae_lightning.runs.metrics_file import read_metrics
from cvae_lightning.runs.run import CONFIG, LOGGERS, METRICS, WEIGHTS, Run
from cvae_lightning.runs.sweep import RECORD
from cvae_lightning.training.callbacks.checkpoint import LAST
from cvae_lightning.training.evaluate import evaluate
from cvae_lightning.training.train import train

# ---- Targets


def package_modules() -> list[ModuleType]:
    paths = [path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))]
    paths = [path for path in paths if "pretrained" not in path.parts[:-1]]  # folders of models
    return [import_module(".".join(path.parts).removesuffix(".__init__")) for path in paths]


def attributes(node: object) -> list[tuple[str, object]]:
    """Names and values in a module, and in a class or the class of any other object, without running a property."""
    if isinstance(node, ModuleType):
        return list(vars(node).items())
    classes = node.__mro__ if isinstance(node, type) else type(node).__mro__
    return list({name: value for kind in reversed(classes) for name, value in vars(kind).items()}.items())


def paths(depth: int) -> Iterator[tuple[str, object]]:
    """Each attribute path under the package; what an object has is followed once, where it is found first."""
    level: list[tuple[str, object]] = [("cvae_lightning", sys.modules["cvae_lightning"])]
    seen: set[int] = set()
    for _ in range(depth):
        below = []
        for path, node in level:
            if id(node) not in seen:
                seen.add(id(node))
                below += [(f"{path}.{name}", child) for name, child in attributes(node)]
        yield from below
        level = below


def conf_targets() -> set[str]:
    texts = [path.read_text() for path in CONF.rglob("*.yaml") if "hydra" not in path.relative_to(CONF).parts]
    found = {target for text in texts for target in re.findall(r"_target_: (\S+)", text)}
    return found - {"cvae_lightning.cli.multirun.Multirun"}  # Hydra's own wiring


def test_of_all_attribute_paths_under_the_package_only_the_parts_of_conf_are_built() -> None:
    package_modules()
    named = conf_targets()
    parts = [part_named(target) for target in named]
    modules = set(sys.modules)
    tried = 0
    for path, found in paths(4):
        tried += 1
        try:
            assert any(part_named(path) is part for part in parts), path
            assert any(found is part for part in parts), path
        except UserError:
            assert path not in named, path
    assert tried > 100_000
    assert set(sys.modules) == modules, "nothing was imported to find that out"


@pytest.mark.parametrize(
    "target", [None, 3, "", ".", "MLP", ["cvae_lightning.networks.mlp.MLP"], {"a": 1}, "a..b", b"a.b"]
)
def test_a_target_that_is_no_name_is_refused(target: Any) -> None:
    with pytest.raises(UserError, match="_target_"):
        part_named(target)


@pytest.fixture
def my_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module that could be a plug-in."""
    (tmp_path / "my_parts.py").write_text(
        "from subprocess import run\nfrom torch import nn\n\nclass Gelu(nn.GELU): ...\n\ndef gelu(): return nn.GELU\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(PLUGINS, "")
    yield
    sys.modules.pop("my_parts", None)


@pytest.mark.usefixtures("my_parts")
def test_a_plug_in_is_what_the_person_names_and_what_it_defines(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError, match=r"my_parts\.Gelu.*If you trust that code, add plugins=\[my_parts\] to this command"
    ):
        part_named("my_parts.Gelu")
    assert "my_parts" not in sys.modules
    monkeypatch.setenv(PLUGINS, "another")
    trust("my_parts")
    assert os.environ[PLUGINS] == "another,my_parts", "child processes inherit it"
    assert part_named("my_parts.Gelu").__name__ == "Gelu"
    assert build(OmegaConf.create({"_target_": "my_parts.gelu"})) is torch.nn.GELU
    for imported in ("run", "nn", "__loader__", "missing"):
        with pytest.raises(UserError, match=f"my_parts.{imported}'.*my_parts is trusted, but does not define it"):
            part_named(f"my_parts.{imported}")
    for elsewhere in ("my_parts.nn.Linear", "my_parts.Gelu.forward", "my_parts_evil.run"):
        with pytest.raises(UserError, match=elsewhere.rpartition(".")[0]):
            part_named(elsewhere)


@pytest.mark.usefixtures("my_parts")
@pytest.mark.parametrize("recorded", [["my_parts"], "my_parts", ["my_parts", "os", 3], {"my_parts": 1}, "${oc.env:X}"])
def test_what_a_run_records_is_shown_and_never_trusted(recorded: Any) -> None:
    config = OmegaConf.create({"model": {"_target_": "my_parts.Gelu"}, "plugins": recorded})
    shown = "It was trained with plugins=[my_parts]: if you" if isinstance(recorded, list) else "If you"
    with pytest.raises(UserError, match=rf"got 'my_parts\.Gelu'\. {re.escape(shown)} trust that code"):
        build(config.model)
    assert "my_parts" not in sys.modules
    assert not os.environ[PLUGINS]


def test_a_preset_is_a_file_of_conf(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("lr: 1\n")
    with pytest.raises(FileNotFoundError):
        load_group("experiment", os.path.relpath(tmp_path / "mine", CONF / "experiment"))
    for name in (str(tmp_path / "mine"), "../config", "", "\0", "x" * 5000):
        with pytest.raises(FileNotFoundError):
            load_group("experiment", name)


# ---- Resolvers


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        *(
            ("", False),
            ("plain: text", False),
            ("${lr}", False),
            ("${a.b} and ${.c}: ${a[0]}", False),
            ("${a.${b}}", False),
        ),
        *(("${oc.env:HOME}", True), ("x ${ oc.env : HOME }", True), ("${a.${oc.env:HOME}}", True), ("${${b}:x}", True)),
        *(("${oc.${b}:x}", True), ("${a}${b:}", True), ("${", True)),
    ],
)
def test_a_resolver_is_found_wherever_it_stands(text: str, calls: bool) -> None:
    assert calls_a_resolver(text) is calls


def test_a_run_keeps_the_values_of_resolvers_and_the_names_of_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVAE_DATA_DIR", str(tmp_path / "mine"))
    config = composed("network.hidden=[16,${oc.decode:'8'}]", "lr=0.01")
    run = Run.begin(tmp_path / "run", config, ["network.hidden=[${latent_dim}]"])
    monkeypatch.setenv("CVAE_DATA_DIR", str(tmp_path / "other"))
    assert run.config["data_dir"] == run.config["data"]["module"]["source"]["data_dir"] == str(tmp_path / "mine")
    assert run.config["network"]["hidden"] == [16, 8]
    assert OmegaConf.to_container(run.raw_config.optimizer, resolve=False)["lr"] == "${lr}"  # type: ignore[index,call-overload]
    assert run.overrides == ["network.hidden=[${latent_dim}]"], "as they were given"
    assert Run.begin(tmp_path / "run", run.raw_config).path == run.path


def test_a_run_of_an_earlier_version_still_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / CONFIG).parent.mkdir()
    OmegaConf.save(composed(), tmp_path / CONFIG)
    monkeypatch.setenv("CVAE_DATA_DIR", "mine")
    assert Run(tmp_path).config["data_dir"] == "mine"


# ---- Hostile directories

MARKUP = (
    "\"'>&lt;<img src=x onerror=alert(1)><script>alert(1)</script><!-- ]]> \\` | $\\frac$ $x\n\n---\n```\n~~~\n"
    "[a](javascript:alert(1)) ![b](https://evil.example/b.png) <https://evil.example> https://evil.example www.evil.ex"
    "\n# heading\n\n| a | b |\n|---|---|\n_x_ **y** a@evil.example\n\n    code\n<b>"
)
HARMLESS = "harmless"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, idx_dir: Path) -> Path:
    """A sweep directory with one complete run."""
    folder = tmp_path_factory.mktemp("theirs")
    small = [
        "network.hidden=[16]",
        f"data_dir={idx_dir}",
        "epochs=1",
        "batch_size=64",
        "latent_dim=3",
        "accelerator=cpu",
    ]
    (folder / RECORD).write_text(json.dumps({"command": small, "jobs": [small], "composed_from": ""}))
    train(Run.begin(folder / "0", composed(*small), small))
    return folder


@pytest.fixture
def theirs(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "theirs", symlinks=True)


@functools.cache
def config_of(name: str, *overrides: str, **paths: Path) -> Any:
    """Paths need no quotes here."""
    config = composed(*overrides, *(f"{key}=path" for key in paths), config_name=name)
    config.update({key: str(path) for key, path in paths.items()})
    return config


def drawing(name: str, *overrides: str) -> Callable[..., None]:
    task = {"export": export, "evaluate": evaluate, **DRAWING_COMMANDS}[name]
    return lambda sweep, **paths: task(config_of(name, *overrides, run=sweep / "0", **paths))


def again(sweep: Path) -> None:
    """The run was interrupted before its metrics were written."""
    (sweep / "0" / METRICS).unlink(missing_ok=True)
    handlers = list(logging.getLogger().handlers)
    try:
        resume(config_of("resume", resume=sweep / "0"))
    finally:
        for handler in set(logging.getLogger().handlers) - set(handlers):
            logging.getLogger().removeHandler(handler)
            handler.close()


def starting(hook: str, key: str, folder: str) -> Callable[[Path], None]:
    """What a training or a sweep in an existing directory does before anything else."""

    def start(sweep: Path) -> None:
        path = sweep / folder
        given = json.loads((sweep / RECORD).read_text())["command"]
        config = composed(*given, f"{key}={path}", with_hydra=True)
        with initialize_config_dir(str(CONF), version_base="1.3"), SweepInProgress():
            try:
                getattr(Multirun(), hook)(config)
            except Escape as escape:
                raise (escape.error or escape) from None
        if hook == "on_run_start":
            Run.begin(path, OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"]))

    return start


DRAWING_COMMANDS = {
    command.__name__: command for command in (sample, reconstruct, interpolate, traverse, embed, score, inpaint)
}
DRAWING = {
    "sample": drawing("sample", "num=1"),
    "reconstruct": drawing("reconstruct", "num=2"),
    "interpolate": drawing("interpolate", "num=2", "steps=2"),
    "traverse": drawing("traverse", "num=1", "steps=2"),
    "embed": drawing("embed"),
    "score": drawing("score", "num=2", "num_samples=2"),
    "inpaint": drawing("inpaint", "num=2", "draws=2", "proposals=10"),
    "export html": drawing("export", "format=html"),
}
COMMANDS = {
    **DRAWING,
    "export onnx": drawing("export", "format=onnx"),
    "sample of a sweep": lambda sweep: sample(config_of("sample", "num=1", run=sweep)),
    "resume": again,
    "evaluate": drawing("evaluate", "evaluators=default"),
    "report": lambda sweep: report(config_of("report", directory=sweep)),
    "train": starting("on_run_start", "hydra.run.dir", "0"),
    "sweep": starting("on_multirun_start", "hydra.sweep.dir", "."),
}
BUILDING = [name for name in COMMANDS if name not in ("report", "train", "sweep")]


def tree(folder: Path) -> dict[str, Any]:
    """What lies in a folder: names, and contents or the targets of links."""
    found = {
        path: path.readlink() if path.is_symlink() else path.is_dir() or path.read_bytes() for path in folder.rglob("*")
    }
    return {str(path.relative_to(folder)): content for path, content in found.items()}


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that exists once something of theirs was executed."""
    path = tmp_path / "canary"
    OmegaConf.register_new_resolver("canary", lambda text: path.write_text(text), replace=True)
    yield path
    OmegaConf.clear_resolver("canary")
    assert not path.exists()


def changed_config(sweep: Path, **changes: Any) -> None:
    file = sweep / "0" / CONFIG
    config = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**config, **changes}))


def targets(canary: Path, folder: Path) -> dict[str, dict[str, Any]]:
    (folder / "hubconf.py").write_text(f"open({str(canary)!r}, 'w')\ndef x(): ...\n")
    (folder / "theirs.py").write_text(f"open({str(canary)!r}, 'w')\nclass Model: ...\n")
    hub = {"repo_or_dir": str(folder), "source": "local", "model": "x"}
    return {
        "code that lies beside it": {"_target_": "cvae_lightning.training.train.torch.hub.load", **hub},
        "a function of the package": {
            "_target_": "cvae_lightning.core.files.write_whole",
            "path": str(canary),
            "content": "x",
        },
        "a method": {"_target_": "cvae_lightning.core.files.Path.touch", "_args_": [str(canary)]},
        "a module in the working directory": {"_target_": "theirs.Model"},
        "a part within a part": {
            "_target_": "cvae_lightning.networks.mlp.MLP",
            "hidden": [{"_target_": "os.mknod", "path": str(canary)}],
        },
        "a name that is interpolated": {"_target_": "${name}.mknod", "path": str(canary)},
    }


@pytest.mark.parametrize("command", BUILDING)
def test_no_command_trusts_what_a_run_records(
    theirs: Path, canary: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if the directory, in which the command is given, looks like an installed package that trusts itself."""
    part = targets(canary, theirs)["a module in the working directory"]
    package = theirs / "theirs-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[cvae_lightning.plugins]\ntheirs = theirs\n")
    monkeypatch.chdir(theirs)
    for first in ("", str(theirs), str(theirs / "0" / "..")):
        monkeypatch.syspath_prepend(first)
    changed_config(theirs, model=part, plugins=["theirs"])
    with pytest.raises(UserError, match=r"It was trained with plugins=\[theirs\]: if you trust that code, add it"):
        COMMANDS[command](theirs)
    assert "theirs" not in sys.modules


@pytest.mark.parametrize("command", BUILDING)
def test_no_command_builds_what_a_run_names(
    theirs: Path, canary: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(theirs)
    monkeypatch.syspath_prepend("")  # as python -m does
    for name, part in targets(canary, theirs).items():
        changed_config(theirs, model=part, name="os")
        with pytest.raises(UserError, match="conf/ names"):
            COMMANDS[command](theirs)
        assert not canary.exists(), name
    assert "theirs" not in sys.modules


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_evaluates_a_resolver_of_a_run(theirs: Path, canary: Path, command: str) -> None:
    (theirs / "0" / ".hydra" / "overrides.yaml").write_text("- lr=${canary:overrides}\n- ${canary:list}\n")
    for changes in (
        {"lr": "${canary:lr}"},
        {"data_dir": "${oc.env:CVAE_DATA_DIR,${canary:x}}"},
        {"more": {"a": ["${canary:a}"]}},
    ):
        shutil.copy(theirs / "0" / CONFIG, theirs / "config.yaml")
        changed_config(theirs, **changes)
        if command == "sweep":  # which reads sweep.json alone
            COMMANDS[command](theirs)
        else:
            with pytest.raises(UserError, match=rf"values and .*{next(iter(changes))}.*canary.*never evaluated"):
                COMMANDS[command](theirs)
        shutil.copy(theirs / "config.yaml", theirs / "0" / CONFIG)


class Canary:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mknod, (str(self.path),)


@pytest.mark.parametrize("save", [torch.save, lambda content, file: file.write_bytes(pickle.dumps(content))])
@pytest.mark.parametrize("of_a_prefix", [False, True])
def test_a_checkpoint_is_not_unpickled(
    theirs: Path, canary: Path, save: Callable[..., None], of_a_prefix: bool
) -> None:
    """Its own, and that of a shorter run in the same sweep, from which a run would go on."""
    content = torch.load(theirs / "0" / LAST, weights_only=True)
    save({**content, "callbacks": Canary(canary)}, theirs / "0" / LAST)
    if of_a_prefix:
        config = OmegaConf.merge(Run(theirs / "0").raw_config, {"epochs": 2})
        longer = Run.begin(theirs / "1", config)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=r"checkpoint of tensors and plain values, got .*0/checkpoints"):
            train(longer)
    else:
        with pytest.raises(UserError, match="checkpoint of tensors and plain values"):
            again(theirs)


@pytest.mark.parametrize("command", [name for name in BUILDING if name != "resume"])
def test_weights_are_not_unpickled(theirs: Path, canary: Path, command: str) -> None:
    weights = theirs / "0" / WEIGHTS
    weights.write_bytes(pickle.dumps(Canary(canary)))
    metrics = json.loads((theirs / "0" / METRICS).read_text())
    (theirs / "0" / METRICS).write_text(json.dumps({**metrics, "weights_sha256": sha256_of(weights)}))
    with pytest.raises(UserError, match="safetensors"):
        COMMANDS[command](theirs)


LINKS = (
    *(
        "0/samples",
        "0/export",
        "0/figures",
        "0/checkpoints",
        "0/README.md",
        "0/train.log",
        "0/error.txt",
        "0/metrics.json.part",
    ),
    *("0/samples/sample.png", "0/samples/projector", "plots", "sweep.csv", "report.md.part", ".locks"),
)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "evaluate"])
def test_no_command_follows_a_link_out_of_the_directory(theirs: Path, tmp_path: Path, command: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "projector_config.pbtxt").write_text("mine")
    before = tree(outside)
    whole = command in ("report", "resume", "sweep", "sample of a sweep")
    for link in (link for link in LINKS if whole or link.startswith("0/")):
        for target in (outside, outside / "missing", Path("..", "..", "..", "outside")):
            path = theirs / link
            kept = path.rename(tmp_path / "kept") if path.exists() else None
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(target)
            with pytest.raises(UserError, match=rf"links stay within it .*{re.escape(link)} -> "):
                COMMANDS[command](theirs)
            assert tree(outside) == before
            path.unlink()
            if kept:
                kept.rename(path)


def test_a_run_in_a_sweep_that_is_a_link_is_not_written_to(theirs: Path, tmp_path: Path) -> None:
    (theirs / "0").rename(tmp_path / "another")
    (theirs / "0").symlink_to(tmp_path / "another")
    with pytest.raises(UserError, match="0 -> "):
        COMMANDS["sample of a sweep"](theirs)
    COMMANDS["sample"](theirs)  # named by the person, and a link of their own for all we know
    assert (tmp_path / "another" / "samples" / "samples.png").is_file()


@pytest.mark.parametrize("command", DRAWING)
def test_with_out_nothing_is_written_into_the_run(theirs: Path, tmp_path: Path, command: str) -> None:
    """Where a link leads does not matter then."""
    (theirs / "0" / "samples").symlink_to(tmp_path)
    (theirs / "0" / "export").symlink_to(tmp_path)
    before = tree(theirs)
    DRAWING[command](theirs, out=tmp_path / "out")
    assert tree(theirs) == before
    assert any((tmp_path / "out").iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"theirs", "out"}


@pytest.mark.parametrize(
    "changes",
    [{"name": "/nowhere"}, {"version": "../../elsewhere"}, {"sub_dir": "../../elsewhere"}],
    ids=lambda change: next(iter(change)),
)
def test_events_stay_in_the_run(theirs: Path, tmp_path: Path, changes: dict[str, str]) -> None:
    if "version" in changes:  # which the overrides of a run in a sweep give
        shutil.copytree(theirs / "0", theirs / "1")
        record = {"command": [], "jobs": [[".."], ["b"]], "composed_from": ""}
        (theirs / RECORD).write_text(json.dumps(record))
        (theirs / "0" / ".hydra" / "overrides.yaml").write_text("- ..\n")
    else:
        changed_config(theirs, logger={"tensorboard": {**Run(theirs / "0").config["logger"]["tensorboard"], **changes}})
    with pytest.raises(UserError, match="a folder in the run directory") if "version" not in changes else nullcontext():
        again(theirs)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
    assert not list(theirs.glob("events*"))
    assert {path.parent.parent for path in theirs.rglob("events*")} <= {theirs / "tensorboard"}


@pytest.mark.parametrize("uri", ["http://elsewhere.example", "file:///nowhere/mlruns", "../elsewhere"])
def test_a_run_logs_nowhere_that_the_person_did_not_name(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mine").as_uri())
    part = {"_target_": "pytorch_lightning.loggers.MLFlowLogger", "experiment_name": "theirs", "tracking_uri": uri}
    changed_config(theirs, logger={"mlflow": part})
    with pytest.raises(UserError, match=r"the value of MLFLOW_TRACKING_URI \(logger\.mlflow\.tracking_uri\), got"):
        again(theirs)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


@pytest.mark.parametrize("name", ["../../elsewhere", "a/b", "", 3])
def test_the_name_of_a_run_in_a_store_is_no_path(theirs: Path, name: Any) -> None:
    part = {"_target_": "pytorch_lightning.loggers.WandbLogger", "project": "theirs", "offline": True}
    changed_config(theirs, logger={"wandb": part})
    (theirs / "0" / LOGGERS).write_text(json.dumps({"wandb": name}))
    with pytest.raises(UserError, match=r"names of a run in wandb and MLflow .*loggers\.json"):
        again(theirs)


@pytest.mark.parametrize("key", ["dir", "experiment", "config", "settings", "save_dir", "artifact_location"])
def test_a_logger_takes_no_arguments_that_name_files_or_programs(theirs: Path, key: str) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "MLFlowLogger": {"experiment_name": "theirs"},
        "WandbLogger": {"project": "theirs", "offline": True},
    }
    for kind, names in kinds.items():
        part: dict[str, Any] = {"_target_": f"pytorch_lightning.loggers.{kind}", **names, key: "x"}
        changed_config(theirs, logger={"a": part})
        with pytest.raises(UserError, match=f"other arguments of {kind}"):
            again(theirs)


def test_a_trainer_is_given_no_other_place_to_write_to(theirs: Path, tmp_path: Path) -> None:
    """Where a profiler, for example, would write."""
    changed_config(theirs, trainer={**Run(theirs / "0").config["trainer"], "default_root_dir": str(tmp_path)})
    with pytest.raises(UserError, match=r"trainer.*default_root_dir"):
        COMMANDS["evaluate"](theirs)


def test_a_picture_that_is_another_format_is_not_opened(theirs: Path) -> None:
    """Of PostScript, for example, Pillow would have Ghostscript make a picture."""
    (theirs / "0" / "figures" / "samples.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    )
    with pytest.raises(UserError, match=r"picture as PNG .*samples\.png"):
        COMMANDS["report"](theirs)


def with_text(value: Any, text: str) -> Any:
    """All strings in its place, but for what is computed with."""
    if isinstance(value, dict):
        return {key: child if key == "weights_sha256" else with_text(child, text) for key, child in value.items()}
    if isinstance(value, list):
        return [with_text(child, text) for child in value]
    return text if isinstance(value, str) else value


class Skeleton(HTMLParser):
    """Elements of a page with the names of their attributes and where they lead; drawings count as one."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: Counter[tuple[Any, ...]] = Counter()
        self.drawing = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        leads = tuple(value for name, value in attrs if name in ("href", "src", "action", "style"))
        assert not any(name.startswith("on") for name, _ in attrs)
        assert tag != "script" or not self.drawing
        if not self.drawing:
            self.found[tag, tuple(name for name, _ in attrs), leads] += 1
        self.drawing |= tag == "svg"

    def handle_endtag(self, tag: str) -> None:
        self.drawing &= tag != "svg"

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def rendered(text: str) -> str:
    """Markdown as a forge shows it, without the metadata at its top."""
    front = re.match(r"---\n.*?\n---\n", text, re.DOTALL)
    return (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .enable("strikethrough")
        .render(text[front.end() if front else 0 :])
    )


def pages_with(text: str, original: Path, sweep: Path, name: str) -> dict[str, Any]:
    """All pages of the sweep, in whose files every string is `text`; one of its runs is called `name`."""
    sweep.mkdir()
    shared = [f"data.name={text}", text, f"+{text}=1"]
    given = [[*shared, f"{text.partition('=')[0]}={text} {number}"] for number in range(3)]
    (sweep / RECORD).write_text(json.dumps({"command": [text, "a"], "jobs": given, "composed_from": text}))
    for number, words in enumerate(given):
        run = shutil.copytree(original / "0", sweep / (name if number == 1 else str(number)))
        config = yaml.safe_load((run / CONFIG).read_text())
        config["data"]["name"] = config["data"]["module"]["source"]["name"] = text
        config |= {"epochs": number + 1, "experiment": text}
        (run / CONFIG).write_text(yaml.safe_dump(config))
        (run / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(words))
        metrics = with_text(json.loads((run / METRICS).read_text()), text if number else f"{text} 0")
        for split in ("val", "test"):
            metrics[split][text] = 1.0
        (run / METRICS).write_text(json.dumps(metrics))
    (sweep / "2" / METRICS).unlink()
    (sweep / "2" / "error.txt").write_text(text)
    COMMANDS["report"](sweep)
    COMMANDS["export html"](sweep)
    (sweep / "0" / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(shared))
    COMMANDS["resume"](sweep)
    return {
        "report.html": (sweep / "report.html").read_text(),
        "explorer.html": (sweep / "0" / "export" / "explorer.html").read_text(),
        "report.md": rendered((sweep / "report.md").read_text()),
        "README.md": rendered((sweep / "0" / "README.md").read_text()),
    }


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")  # to a plot with such a legend
def test_no_page_shows_markup_of_a_run(original: Path, tmp_path: Path) -> None:
    """Each page has the elements that it has for harmless text, and no other."""
    hostile = pages_with(MARKUP, original, tmp_path / "<b onclick=alert(1)>&lt;", "<img src=x onerror=alert(1)>`|")
    harmless = pages_with(HARMLESS, original, tmp_path / "sweep", HARMLESS)
    for name, page in hostile.items():
        assert Skeleton(page).found == Skeleton(harmless[name]).found, name
        assert "evil.example" in page or name == "explorer.html", "it is there, as text"
    card = (tmp_path / "<b onclick=alert(1)>&lt;" / "0" / "README.md").read_text()
    front = yaml.safe_load(card.split("\n---\n")[0])
    assert front["datasets"] == [" ".join(MARKUP.split())]


def test_text_in_markdown_is_shown_as_it_is() -> None:
    for text in (MARKUP, "`", "``` a", "a | b", "_a_ __b__ *c*", "1. a", "&copy;"):
        line = " ".join(text.split())
        pages = [rendered(page) for page in (f"x {escaped(text)}", f"x {code(text)}", fenced(text))]
        assert [set(re.findall(r"<(\w+)", page)) for page in pages] == [{"p"}, {"p", "code"}, {"pre", "code"}]
        shown = [unescape(re.sub(r"<[^>]+>", "", page)) for page in pages]
        assert shown[0].strip() == f"x {line}"
        assert shown[1].strip().replace(r"\|", "|") == f"x {line}"
        assert shown[2].rstrip("\n") == text
    assert not re.search(r"https?://|www\.|(?<!\\)@", escaped(MARKUP)), "forges make links of bare addresses"


def test_metrics_of_another_type_are_refused_by_name(theirs: Path) -> None:
    file = theirs / "0" / METRICS
    metrics = json.loads(file.read_text())
    numbers = ["epochs", "lr", "parameters", "seed"]
    wrong: list[tuple[str, dict[str, Any]]] = [(key, {key: MARKUP}) for key in numbers]
    wrong += [(part, {part: MARKUP}) for part in ("val", "test", "dataset", "time", "environment")]
    values: list[Any] = [MARKUP, {}, True]
    wrong += [(f"val/{key}", {"val": {**metrics["val"], key: value}}) for key in ("ssim", "new") for value in values]
    wrong += [(f"dataset/{key}", {"dataset": {**metrics["dataset"], key: [1]}}) for key in ("name", "train", "files")]
    wrong += [
        ("model", {"model": {"a": 1}}),
        ("environment/torch", {"environment": {**metrics["environment"], "torch": {}}}),
    ]
    for key, changes in wrong:
        file.write_text(json.dumps({**metrics, **changes}))
        with pytest.raises(UserError, match=rf"\({key} in "):
            read_metrics(file)
    for text in ("[]", "3", "[" * 100_000, "{", "\xff"):
        file.write_text(text, encoding="latin-1")
        with pytest.raises(UserError, match=r"metrics\.json"):
            read_metrics(file)


@pytest.mark.parametrize(
    "record", [[], 3, {}, {"command": "a", "jobs": None}, {"command": [], "jobs": [3]}, {"command": [], "jobs": "x"}]
)
def test_a_sweep_whose_record_is_something_else_is_refused(theirs: Path, record: Any) -> None:
    (theirs / RECORD).write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"lists of overrides"):
        COMMANDS["report"](theirs)
