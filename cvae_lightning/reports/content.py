"""The content of the report of a sweep."""

import io
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image, UnidentifiedImageError

from cvae_lightning.core.errors import UserError, refuse
from cvae_lightning.core.imports import quick_imports
from cvae_lightning.reports.formatting import format_table
from cvae_lightning.reports.plots import (
    heat_maps,
    laid_out,
    ours_against_the_paper,
    png_of,
    score_against_epochs,
    svg_of,
)
from cvae_lightning.reports.statistics import (
    agreement,
    beside_the_paper,
    objective_of,
    over_seeds,
    ranked,
    short,
    title_of,
    varying,
    warnings,
)
from cvae_lightning.reports.structure import Picture, Report, Section
from cvae_lightning.reports.sweep_frame import COMPARED, ENVIRONMENT, TIMES, metric_columns, setting_columns
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep

STATUSES = ("complete", "running", "failed", "interrupted", "missing")
FEW = 5
LARGEST = (1600, 3200)  # width and height of a picture of samples
COLOUR_OF_TEXT = 40  # between the largest and the smallest level of a pixel, of 255
SHOWN = ["val/ssim", "val/mse", "val/fid_pixel", "val/score", "test/score"]


def compose_report(sweep: Sweep, frame: pd.DataFrame) -> Report:
    """Return the report of a sweep whose runs are the rows of `frame`.

    If no run is complete, the report only states the status of each run.
    """
    counts = frame["status"].value_counts()
    there = sweep.path.resolve()
    return Report(
        title=f"{there.parent.name}/{there.name}",
        command=f"python -m cvae_lightning -m {shlex.join(sweep.record['command'])}",
        counts={status: int(counts.get(status, 0)) for status in STATUSES},
        facts=_facts(complete_runs(frame)),
        warnings=warnings(frame, objective_of(frame)),
        sections=[*_results(sweep, frame), *_incomplete(frame), *_all_runs(complete_runs(frame))],
    )


def complete_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the complete runs."""
    return frame[frame["status"] == "complete"]


def best_columns(frame: pd.DataFrame, families: pd.DataFrame) -> list[str]:
    """The columns of the table that ranks settings: the settings, the objective, and the other main metrics."""
    objective = objective_of(frame)
    settings = varying(families, [key for key in setting_columns(frame) if key != "seed"]) or ["model"]
    first, seeds = ([], ["n"]) if families["n"].max() > 1 else (["run"], [])
    others = [key for key in SHOWN if key in families and not families[key].equals(families[objective])]
    return [*first, *settings, *seeds, objective, *others]


def _facts(complete: pd.DataFrame) -> dict[str, str]:
    if complete.empty:
        return {}
    settings = complete[setting_columns(complete)]
    shared = {key: values.iloc[0] for key, values in settings.items() if values.nunique() == 1}
    used = {key: " and ".join(short(key, value) for value in complete[key].dropna().unique()) for key in ENVIRONMENT}
    data = complete[["dataset", "dataset_sha256", "images"]].drop_duplicates().itertuples(index=False)
    facts = {
        "Training": f"{_duration(complete['fit_seconds'].sum())}, the sum over runs, each with all of its epochs",
        "Data": "; ".join(
            f"{name}, {images}, sha256 {short('dataset_sha256', digest)}" for name, digest, images in data
        ),
        "In all runs": ", ".join(f"{key} {value}" for key, value in shared.items() if key != "dataset"),
        "Versions": f"torch {used['torch']}, pytorch_lightning {used['pytorch_lightning']}, commit {used['commit']}",
        "Device": f"{used['device']}, threads: {used['threads']}",
        "Packed": _packed(complete),
    }
    return {name: text for name, text in facts.items() if text}


def _packed(complete: pd.DataFrame) -> str:
    """How many runs were trained beside others as one model; empty if none was."""
    num = int((complete["packed"] == True).sum())  # noqa: E712 # of objects; runs of earlier versions have none
    return f"{num} of {len(complete)} runs were trained as one with others (hydra/launcher=packed)" if num else ""


def _results(sweep: Sweep, frame: pd.DataFrame) -> Iterator[Section]:
    objective = objective_of(frame)
    families = over_seeds(frame, objective)
    if families.empty:
        return
    seeds = families["n"].max() > 1
    shown = families if seeds else families.head(FEW)
    what = "Mean ± standard deviation over seeds" if seeds else f"The first {len(shown)} of {len(families)}"
    yield Section(
        "Best settings" if seeds else "Best runs",
        f"By {title_of(objective)}, best first. {what}. The test split plays no part in the choice.",
        table=format_table(shown, best_columns(frame, families)),
    )
    beside, n = beside_the_paper(families), ["n"] if seeds else []
    if not beside.empty:
        settings = varying(beside, [key for key in setting_columns(frame) if key != "seed"])
        yield Section(
            "Beside the paper",
            agreement(beside),
            _plot("against_paper", "Score on test over the paper's; dashed: equal.", ours_against_the_paper(beside)),
            format_table(beside, [*settings, *n, "val/score", "test/score", *COMPARED]),
        )
    diamonds = "" if beside.empty else " Diamonds are the paper's, on test."
    has_score = "val/score" in families and families["val/score"].notna().any()
    over_epochs = "val/score" if has_score else objective
    caption = f"Score on val.{diamonds}" if has_score else f"{title_of(objective)}."
    epochs = _plot("epochs", caption, score_against_epochs(families, over_epochs))
    heat = _plot("heat_maps", f"{title_of(objective)} over lr and latent_dim.", heat_maps(families, objective))
    if epochs:
        name = "Score" if has_score else title_of(objective)
        yield Section(f"{name} against epochs", pictures=epochs)
    if heat:
        yield Section("Learning rate and latent_dim", pictures=heat)
    samples = list(_samples(sweep, ranked(complete_runs(frame), objective), objective))
    if samples:
        yield Section("Samples of the best and the worst run", pictures=samples)


def _samples(sweep: Sweep, best_first: pd.DataFrame, objective: str) -> Iterator[Picture]:
    ends = {"best": best_first.iloc[0], "worst": best_first.iloc[-1]}
    for name, row in list(ends.items())[: len(best_first)]:
        file = picture_of_samples(Run(sweep.path / row["run"]))
        if file.is_file():
            what = f"run {row['run']} ({row['name']}), {title_of(objective)} {row[objective]:.2f}"
            yield Picture(f"samples_{name}", f"{name.capitalize()}: {what}", _small(file))


def picture_of_samples(run: Run) -> Path:
    """The picture of the run's samples, which is drawn now if the run was trained without figures."""
    file = run.path / "figures" / "samples.png"
    if not file.exists() and run.raw_config.callbacks.get("figures") is None:
        with quick_imports(), suppress(UserError):  # a plug-in that is not trusted here, or weights that were deleted
            from cvae_lightning.core.pictures import write_png
            from cvae_lightning.training.callbacks.figures import samples_of

            figure = samples_of(run.model(), int(run.raw_config.seed))
            file.parent.mkdir(exist_ok=True)
            write_png(figure, file)
    return file


def _small(png: Path) -> bytes:
    """The picture in 16 shades of grey, a quarter of the size, or in 64 colours if it is in colour.

    A large picture is reduced. Only PNG is read, since Pillow runs other programs to open some formats.
    """
    buffer = io.BytesIO()
    try:
        with Image.open(png, formats=["PNG"]) as image:
            image.thumbnail(LARGEST)
            few = image.convert("RGB").quantize(64) if _is_coloured(image) else image.convert("L").quantize(16)
            few.save(buffer, "PNG")
    except UnidentifiedImageError:
        refuse("a picture as PNG", "figures", str(png), "Delete it.")
    return buffer.getvalue()


def _is_coloured(image: Image.Image) -> bool:
    """Whether the picture has more colour than its text, which is nearly black."""
    pixels = np.asarray(image.convert("RGB"))
    return bool((pixels.max(2) - pixels.min(2)).max() > COLOUR_OF_TEXT)


def _plot(name: str, caption: str, figure: Figure | None) -> list[Picture]:
    if not figure:
        return []
    figure = laid_out(figure)
    return [Picture(name, caption, png_of(figure), svg_of(figure, name))]


def _incomplete(frame: pd.DataFrame) -> Iterator[Section]:
    others = frame[frame["status"] != "complete"]
    if not others.empty:
        yield Section(
            "Incomplete runs",
            "Repeat the command of the sweep with hydra.sweep.dir=<its directory> to train those that are not running.",
            table=format_table(others, ["run", "status", "name", "error"]),
        )


def _all_runs(complete: pd.DataFrame) -> Iterator[Section]:
    if not complete.empty:
        settings = varying(complete, setting_columns(complete)) or ["model"]
        columns = ["run", *settings, *metric_columns(complete), *COMPARED, *TIMES]
        yield Section("All complete runs", "sweep.csv has them with all digits.", table=format_table(complete, columns))


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes:.0f} min" if minutes < 120 else f"{hours:.1f} h"
