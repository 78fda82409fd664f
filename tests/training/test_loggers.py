"""What each logger has of a run, and that a run is the same with each and continues its log after an interruption."""

import csv
import importlib.util
import struct
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import MakeRun, MakeSweep, Stop, StopAt, events, without_times
from omegaconf import OmegaConf

from cvae_lightning.core.errors import UserError
from cvae_lightning.runs.run import CONFIG, LOGGERS, Run
from cvae_lightning.training import loggers, parts
from cvae_lightning.training.train import train

STORES = [
    pytest.param(name, marks=[pytest.mark.slow, pytest.mark.skipif(missing, reason=f"needs the package {name}")])
    for name, missing in ((name, importlib.util.find_spec(name) is None) for name in ("mlflow", "wandb"))
]
BLOCK, PART, WHOLE, LAST = 32_768, struct.Struct("<IHB"), 1, 4  # of the file that wandb writes
PICTURES = {"samples", "samples_2_7_9", "reconstructions", "loss"}
FINAL = ("val/elbo", "val/score_uncapped", "test/elbo", "test/ssim")


def rows_of(run: Run) -> list[dict[str, str]]:
    with (run.path / "csv" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def numbers_of_csv(run: Run, name: str) -> list[tuple[int, float]]:
    return [(int(row["step"]), float(row[name])) for row in rows_of(run) if row[name]]


def numbers_of_mlflow(run: Run, name: str) -> list[tuple[int, float]]:
    history = client_of(run).get_metric_history(loggers.stored_ids(run)["mlflow"], name)
    return [(metric.step, metric.value) for metric in history]


def client_of(run: Run) -> Any:
    from mlflow import MlflowClient

    return MlflowClient((run.path.parent / "mlruns").absolute().as_uri())


def records_of(run: Run) -> list[Any]:
    """What `wandb sync` would send, in the order in which it was written; another process ends the writing."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    records: list[Any] = []
    for file in sorted(run.path.glob("wandb/offline-run-*/*.wandb")):
        deadline = time.monotonic() + 60
        part: list[Any] = []
        while not part or kind_of(part[-1]) != "exit":
            assert time.monotonic() < deadline, file
            time.sleep(0.1)
            part = list(map(Record.FromString, contents_of(file.read_bytes())))
        records += part
    return records


def kind_of(record: Any) -> str:
    return str(record.WhichOneof("record_type"))


def contents_of(log: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format: blocks whose parts have a checksum, a size and a kind each."""
    place, content = len(":W&B") + 3, b""
    while place < len(log):
        left = BLOCK - place % BLOCK
        if left < PART.size:  # the end of a block
            place += left
            continue
        _, size, kind = PART.unpack_from(log, place)
        content += log[place + PART.size : place + PART.size + size]
        place += PART.size + size
        if kind in (WHOLE, LAST):
            yield content
            content = b""


def rows_of_wandb(run: Run) -> list[dict[str, str]]:
    histories = (record.history for record in records_of(run) if kind_of(record) == "history")
    return [{item.key or "/".join(item.nested_key): item.value_json for item in row.item} for row in histories]


def numbers_of_wandb(run: Run, name: str) -> list[tuple[int, float]]:
    rows = (row for row in rows_of_wandb(run) if name in row)
    return [(int(row["trainer/global_step"]), float(row[name])) for row in rows]


def numbers_of_tensorboard(run: Run, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(run).Scalars(name)]


NUMBERS = {
    "tensorboard": numbers_of_tensorboard,
    "csv": numbers_of_csv,
    "mlflow": numbers_of_mlflow,
    "wandb": numbers_of_wandb,
}


def interrupted(run: Run, monkeypatch: pytest.MonkeyPatch, hook: str, count: int) -> None:
    build_trainer = parts.build_trainer
    with monkeypatch.context() as patch:
        add = lambda config, callbacks, **kw: build_trainer(config, [*callbacks, StopAt(hook, count)], **kw)  # noqa: E731
        patch.setattr(parts, "build_trainer", add)
        with pytest.raises(Stop):
            train(run)


@pytest.mark.parametrize("name", ["csv", *STORES])
def test_each_logger_has_the_curves_of_tensorboard_and_the_final_numbers(make_run: MakeRun, name: str) -> None:
    run, alone = make_run("run", f"logger=[tensorboard,{name}]"), make_run("alone")
    train(run)
    train(alone)
    assert run.metrics["weights_sha256"] == alone.metrics["weights_sha256"]
    assert without_times(run.metrics) == without_times(alone.metrics)
    for curve in ("train/loss", "val/elbo", "test/ssim", "train/images_per_second"):
        found, expected = NUMBERS[name](run, curve), numbers_of_tensorboard(run, curve)
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-6)
    numbers: Any = run.metrics
    for metric in FINAL:
        split, _, key = metric.partition("/")
        assert NUMBERS[name](run, metric)[-1][1] == pytest.approx(numbers[split][key], rel=1e-5)


@pytest.mark.parametrize(
    ("hook", "count"), [("on_validation_start", 2), ("on_train_epoch_start", 3), ("on_test_end", 1)]
)
@pytest.mark.parametrize("name", ["tensorboard", "csv", *STORES])
def test_an_interrupted_run_continues_its_log(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, name: str, hook: str, count: int
) -> None:
    whole, run = (make_run(path, "epochs=3", f"logger={name}") for path in ("whole", "run"))
    train(whole)
    interrupted(run, monkeypatch, hook, count)
    before = NUMBERS[name](run, "train/loss")
    assert before
    time.sleep(1 if name == "wandb" else 0)  # which names its folders by the second
    train(Run(run.path))
    assert run.metrics["weights_sha256"] == whole.metrics["weights_sha256"]
    for curve in ("train/loss", "val/elbo"):
        found, expected = (NUMBERS[name](Run(each.path), curve) for each in (run, whole))
        assert found[: len(before)] == before or curve != "train/loss", "nothing that was logged is lost"
        assert set(expected) <= set(found)
        assert dict(found) == dict(expected), "an epoch that was cut short has the same numbers when it is repeated"


def test_the_csv_has_the_settings_and_is_alone(make_run: MakeRun) -> None:
    run = make_run("run", "logger=csv")
    train(run)
    settings = OmegaConf.load(run.path / "csv" / "hparams.yaml")
    assert (settings.lr, settings.model, settings.latent_dim) == (0.01, "cvae", 3)
    assert {path.name for path in run.path.glob("csv/*")} == {"hparams.yaml", "metrics.csv"}
    assert not list(run.path.rglob("events.*"))
    assert {path.stem for path in run.path.glob("figures/*.png")} == PICTURES, "pictures are files as always"


def test_null_leaves_a_logger_out(make_run: MakeRun) -> None:
    run = make_run("run", "logger=[tensorboard,csv]", "logger.tensorboard=null", "epochs=1")
    train(run)
    assert rows_of(run)
    assert not list(run.path.rglob("events.*"))


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_missing_package_is_named_with_its_extra_before_any_work(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    run = make_run("run", f"logger=[csv,{name}]")
    before = set(run.path.rglob("*"))
    install = rf"Install the extra: pip install 'cvae_lightning\[{name}\]'\."
    with pytest.raises(
        UserError, match=rf"^logger={name} needs the package {name}, which is not installed\. {install}$"
    ):
        train(run)
    assert set(run.path.rglob("*")) == before


def test_a_run_from_before_there_was_a_choice_continues(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("run")
    asked = run.raw_config
    old = OmegaConf.merge(asked, {})
    old.logger = asked.logger.tensorboard
    OmegaConf.save(old, run.path / CONFIG)
    interrupted(Run(run.path), monkeypatch, "on_train_epoch_start", 2)
    again = Run.begin(run.path, asked)
    train(again)
    assert events(again).Scalars("val/elbo")


def test_runs_of_a_sweep_are_beside_each_other_in_tensorboard_by_what_differs(make_sweep: MakeSweep) -> None:
    runs = make_sweep(["epochs=1", "lr=0.01"], ["epochs=1", "lr=0.02"], ["epochs=1", "lr=0.02"])
    for run in runs:
        train(run)
    folder = runs[0].path.parent / "tensorboard"
    assert {path.name for path in folder.iterdir()} == {"lr=0.01", "lr=0.02 (1)", "lr=0.02 (2)"}
    assert {path.parent.parent for path in folder.parent.rglob("events.*")} == {folder}


def test_a_logger_of_a_plug_in_is_built_from_its_configuration_alone(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVAE_LIGHTNING_PLUGINS", "own_parts")
    run = make_run("run", "logger=csv", "+logger.mine={_target_: own_parts.CountingLogger}", "epochs=1")
    kept: list[Any] = []

    def built(run: Run) -> list[Any]:
        kept.extend(loggers.build_loggers(run))
        return kept

    monkeypatch.setattr(parts, "build_loggers", built)
    train(run)
    assert kept[1].counted["val/elbo"] == 2
    assert kept[1].counted == Counter(
        name for row in rows_of(run) for name, value in row.items() if value and name != "step"
    )


@pytest.mark.parametrize("name", STORES)
def test_a_store_has_the_pictures_and_the_settings(make_run: MakeRun, name: str) -> None:
    run = make_run("run", f"logger={name}", "epochs=1")
    train(run)
    files = {path.stem: path for path in run.path.glob("figures/*.png")}
    assert files.keys() == PICTURES
    if name == "mlflow":
        client, run_id = client_of(run), loggers.stored_ids(run)["mlflow"]
        stored = {Path(file.path).stem for file in client.list_artifacts(run_id, "figures")}
        shown = {picture: Path(client.download_artifacts(run_id, f"figures/{picture}.png")) for picture in stored}
        logged = client.get_run(run_id)
        settings = logged.data.params
        assert (logged.info.status, logged.info.run_name) == ("FINISHED", "run")
        assert client.get_experiment(logged.info.experiment_id).name == "cvae_lightning"
    else:
        media = run.path.glob("wandb/offline-run-*/files/media/images/*.png")
        shown = {path.stem.rsplit("_", 2)[0]: path for path in media}
        configs = [record for record in records_of(run) if kind_of(record) == "config"]
        settings = {item.key: item.value_json.strip('"') for record in configs for item in record.config.update}
        assert {key.partition("/")[0] for row in rows_of_wandb(run) for key in row} >= PICTURES
    assert shown.keys() == PICTURES
    for picture, path in shown.items():
        assert path.read_bytes() == files[picture].read_bytes(), "the same picture, rendered once"
    assert (settings["lr"], settings["model"], settings["latent_dim"]) == ("0.01", "cvae", "3")


@pytest.mark.parametrize("name", STORES)
def test_runs_of_a_sweep_are_apart_in_a_store_by_what_differs(make_sweep: MakeSweep, name: str) -> None:
    runs = make_sweep(*(["epochs=1", f"lr={lr}", f"logger={name}"] for lr in (0.01, 0.02)))
    for run in runs:
        train(run)
    assert len({loggers.stored_ids(run)[name] for run in runs}) == 2
    assert not [
        path
        for path in runs[0].path.rglob("*")
        if path.is_symlink() and not path.resolve().is_relative_to(runs[0].path)
    ]
    if name == "mlflow":
        client = client_of(runs[0])
        (experiment,) = client.search_experiments(filter_string="name = 'cvae_lightning'")
        found = client.search_runs([experiment.experiment_id])
        assert {run.info.run_name: run.data.params["lr"] for run in found} == {"lr=0.01": "0.01", "lr=0.02": "0.02"}
    else:
        names = [record.run.display_name for run in runs for record in records_of(run) if kind_of(record) == "run"]
        assert set(names) == {"lr=0.01", "lr=0.02"}


def test_discarding_a_run_leaves_other_logs_of_wandb_alone(make_run: MakeRun) -> None:
    run = make_run("run")
    logs = run.path / "wandb"
    (logs / "offline-run-20260101_000000-mine" / "files").mkdir(parents=True)
    (logs / "offline-run-20250101_000000-theirs").mkdir()
    (logs / "latest-run").symlink_to("offline-run-20260101_000000-mine")
    (run.path / LOGGERS).write_text('{"wandb": "mine"}')
    run.discard_unless_begun()
    assert [path.name for path in run.path.rglob("*")] == ["wandb", "offline-run-20250101_000000-theirs"]
