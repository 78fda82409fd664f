"""Numbers as a person reads them: decimals, spreads, and the best value of each column."""

import pandas as pd

from cvae_lightning.metrics.catalog import describe
from cvae_lightning.reports.statistics import title_of
from cvae_lightning.reports.structure import Cell, Table

PLAIN_TITLES = {
    "n": "seeds",
    "paper_score": "paper's Score",
    "fit_seconds": "training (s)",
    "evaluate_seconds": "evaluation (s)",
    "images_per_second": "images/s",
}
ONE_DECIMAL, WHOLE = ("fit_seconds", "evaluate_seconds"), ("images_per_second",)


def format_table(frame: pd.DataFrame, columns: list[str]) -> Table:
    """Return the `columns` of `frame` as a table of text, without columns that are empty.

    All numbers of a column have the same number of decimals. A mean is followed by its standard deviation if the frame
    has a column <column>/sd. The best value of each metric is marked.
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
    """A setting as text. A search draws numbers with sixteen digits; four are enough to distinguish them."""
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
    """The best value of a metric; None if its values do not differ or none of them is better."""
    better = describe(key).better
    if not key.startswith(("val/", "test/")) or not better or values.nunique() < 2:
        return None
    return float(values.max() if better > 0 else values.min())
