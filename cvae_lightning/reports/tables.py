"""Columns of numbers as a person reads them."""

import pandas as pd

from cvae_lightning.metrics.catalog import describe
from cvae_lightning.reports.parts import Cell, Table
from cvae_lightning.reports.statistics import title_of

PLAIN_TITLES = {
    "n": "seeds",
    "paper_score": "paper's Score",
    "fit_seconds": "training (s)",
    "evaluate_seconds": "evaluation (s)",
    "images_per_second": "images/s",
}
ONE_DECIMAL, WHOLE = ("fit_seconds", "evaluate_seconds"), ("images_per_second",)


def readable(frame: pd.DataFrame, columns: list[str]) -> Table:
    """The columns of a frame as text, one row each, those without any number left out.

    A number has as many decimals as the others in its column; beside a mean stands the standard deviation, where the
    frame has one as <column>/sd. The best number of each metric is marked.
    """
    shown = [key for key in columns if key in frame and not frame[key].isna().all()]
    cells = {key: _cells(frame, key) for key in shown}
    numeric = [pd.api.types.is_number(frame[key].dropna().iloc[0]) for key in shown]
    rows = [list(row) for row in zip(*cells.values(), strict=True)]
    return Table([PLAIN_TITLES.get(key, title_of(key)) for key in shown], numeric, rows)


def _cells(frame: pd.DataFrame, key: str) -> list[Cell]:
    values = frame[key]
    if not pd.api.types.is_float_dtype(values):
        return [Cell("", None) if pd.isna(value) else Cell(_setting(value), value) for value in values]
    decimals = _decimals(key, values)
    spread = frame.get(f"{key}/sd", pd.Series(float("nan"), index=frame.index))
    best = _best(key, values)
    return [
        Cell("", None) if pd.isna(value) else Cell(_number(key, value, sd, decimals), float(value), value == best)
        for value, sd in zip(values, spread, strict=True)
    ]


def _setting(value: object) -> str:
    """A search draws numbers with sixteen digits; four tell them apart."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _decimals(key: str, values: pd.Series) -> int:
    if key in WHOLE:
        return 0
    return 1 if key in ONE_DECIMAL else 4 if values.abs().max() < 1 and key != "difference" else 2


def _number(key: str, value: float, sd: float, decimals: int) -> str:
    sign = "+" if key == "difference" else ""
    spread = "" if pd.isna(sd) else f" ± {sd:.{decimals}f}"
    return f"{value:{sign},.{decimals}f}{spread}"


def _best(key: str, values: pd.Series) -> float | None:
    """The best value of a metric, where there is anything to choose from."""
    better = describe(key).better
    if not key.startswith(("val/", "test/")) or not better or values.nunique() < 2:
        return None
    return float(values.max() if better > 0 else values.min())
