"""A sweep as a data frame with one row per run, whether or not the run is complete."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cvae_lightning.core import plugins
from cvae_lightning.core.build import load_group
from cvae_lightning.core.errors import refuse
from cvae_lightning.runs.choices import choice
from cvae_lightning.runs.paper import best_run, same_settings
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.summary import pixels
from cvae_lightning.runs.sweep import Sweep

SETTINGS = ["model", "dataset", "epochs", "latent_dim", "lr", "seed"]
NO_SETTINGS = {"data", "sweep"}  # data=... is shown as the setting dataset; +sweep=... only lists values of others
COMPARED = ["paper_score", "difference"]
TIMES = ["fit_seconds", "evaluate_seconds", "images_per_second"]
ENVIRONMENT = ["device", "threads", "torch", "pytorch_lightning", "commit"]


def sweep_frame(sweep: Sweep) -> pd.DataFrame:
    """Return one row per run, in the order of their numbers; values that a run does not have are empty.

    The columns are run, name, status, one for each setting and for each other key that the sweep varies, val/<metric>,
    test/<metric>, the paper's Score for the same settings, our test Score minus it, times, versions, the error and the
    overrides. Runs of one `family` differ only in the seed.
    """
    runs, missing = sweep.runs, sweep.missing
    varied = varied_keys([run.overrides for run in runs] + [overrides for _, overrides in missing])
    families: dict[str, int] = {}
    rows = [_row(sweep, run, varied, families) for run in runs]
    for number, overrides in missing:
        row = {"run": number, "name": sweep.name_of(overrides), "status": "missing"}
        rows.append({**row, **_from_overrides(overrides, varied), "overrides": " ".join(overrides)})
    place = {str(number): number for number in range(len(sweep.record["jobs"] or []))}
    rows.sort(key=lambda row: place.get(row["run"], len(place)))
    measured = [key for key in dict.fromkeys(key for row in rows for key in row) if key.startswith(("val/", "test/"))]
    numbers = [*sorted(measured, key=lambda key: key.startswith("test/")), *COMPARED, *TIMES]
    last = [*ENVIRONMENT, "packed", "dataset_sha256", "images", "objective", "family", "error", "overrides"]
    frame = pd.DataFrame(rows, columns=["run", "name", "status", *SETTINGS, *varied, *numbers, *last], dtype=object)
    return frame.astype(dict.fromkeys(numbers, float))


def setting_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of settings, as opposed to results."""
    columns = list(frame.columns)
    end = next(place for place, key in enumerate(columns) if key.startswith("val/") or key == COMPARED[0])
    return columns[columns.index(SETTINGS[0]) : end]


def metric_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of metrics, val/<metric> and test/<metric>."""
    return [key for key in frame.columns if key.startswith(("val/", "test/"))]


def varied_keys(jobs: Iterable[Sequence[str]]) -> list[str]:
    """The keys that differ between the runs' overrides, without the settings that are always shown."""
    given = [dict(map(_key_and_value, overrides)) for overrides in jobs]
    keys = dict.fromkeys(key for job in given for key in job)
    shown = {*SETTINGS, *NO_SETTINGS}
    return [key for key in keys if key not in shown and len({job.get(key) for job in given}) > 1]


def _row(sweep: Sweep, run: Run, varied: list[str], families: dict[str, int]) -> dict[str, Any]:
    config = run.raw_config
    given = _from_overrides(run.overrides, varied)
    row = {
        "run": run.path.name,
        "name": sweep.name_of(run.overrides),
        "status": run.status,
        **{key: _configured(run, key, given.get(key)) for key in varied},
        **{key: _number(run, key) for key in ("epochs", "latent_dim", "lr", "seed")},
        "model": run.metrics["model"] if run.complete else choice(run, "model"),
        "dataset": str(config.data.name),
        "images": _images(run),
        "objective": str(config.objective),
        "family": families.setdefault(_but_for_the_seed(run), len(families)),
        "error": run.failure,
        "overrides": " ".join(run.overrides),
    }
    return {**row, **_measured(run)} if run.complete else row


def _measured(run: Run) -> dict[str, Any]:
    metrics = run.metrics
    paper, ours = _paper_score(run), metrics["test"].get("score")
    return {
        **{f"{split}/{name}": value for split in ("val", "test") for name, value in metrics[split].items()},
        "paper_score": paper,
        "difference": None if paper is None or ours is None else ours - paper,
        **metrics["time"],
        **{key: metrics["environment"].get(key) for key in (*ENVIRONMENT, "packed")},
        "dataset": metrics["dataset"]["name"],
        "dataset_sha256": metrics["dataset"]["sha256"],
    }


def _paper_score(run: Run) -> float | None:
    """The Score in the paper's Table 3 for the same settings, or in Table 2 for a run of its experiment."""
    row = same_settings(run.metrics)
    if not row and any(override.startswith("experiment=table2/") for override in run.overrides):
        row = best_run(run.metrics)
    return row.get("score")


def _but_for_the_seed(run: Run) -> str:
    """The configuration without the seed and the plug-ins, as text.

    Interpolations are kept, since many keys take the seed.
    """
    config = OmegaConf.to_container(run.raw_config, resolve=False)
    assert isinstance(config, dict)
    return json.dumps({key: value for key, value in config.items() if key not in ("seed", plugins.KEY)}, sort_keys=True)


def _configured(run: Run, key: str, otherwise: Any) -> Any:
    """The value of `key` in the run's configuration; `otherwise` for a group, such as `network`."""
    try:
        value = OmegaConf.select(run.raw_config, key)
    except OmegaConfBaseException:  # @ in a key, or an interpolation that nothing here resolves
        return otherwise
    return value if isinstance(value, str | int | float) else otherwise


def _images(run: Run) -> str:
    """The size and colour of the run's images, and the number of their classes or the names of their labels."""
    data = run.raw_config.data  # all of which takes ten times as long to resolve
    shape, condition = data.get("image_shape"), data.get("condition")
    columns = OmegaConf.to_container(condition, resolve=True) if condition else {}
    assert isinstance(columns, dict)
    labels = ", ".join(map(str, columns))
    if len(columns) == 1:
        (column,) = columns.values()
        classes = column.get("classes") if isinstance(column, dict) else column
        num = len(classes) if isinstance(classes, list) else classes
        labels = f"{num:,} classes" if num else labels
    return ", ".join(filter(None, [pixels(shape) if shape else "", labels]))


def _number(run: Run, key: str) -> float:
    value = _configured(run, key, None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse("a number", f"{key} in {run.path}", value, "Leave this run out of the sweep.")
    return value


def _from_overrides(overrides: Sequence[str], varied: list[str]) -> dict[str, Any]:
    given = dict(map(_key_and_value, overrides))
    if "data" in given:
        given["dataset"] = given["data"]
    plain = {**_preset(given.get("experiment", "null")), **{key: _plain(value) for key, value in given.items()}}
    return {key: value for key, value in plain.items() if key in (*SETTINGS, *varied)}


def _preset(experiment: str) -> dict[str, Any]:
    """The keys that an experiment sets and the files that it chooses; empty if there is no such experiment."""
    with suppress(FileNotFoundError):
        preset = load_group("experiment", experiment)
        chosen = [entry.items() for entry in preset.pop("defaults", []) if isinstance(entry, DictConfig)]
        settings = [*(item for items in chosen for item in items), *preset.items()]
        return {str(key).removeprefix("override /"): value for key, value in settings}
    return {}


def _key_and_value(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key.lstrip("+~"), value


def _plain(text: str) -> int | float | str:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
