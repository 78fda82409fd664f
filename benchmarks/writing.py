"""Numbers, differences and tables in Markdown."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

Cell = Callable[[pd.DataFrame], str]
"""Writes one cell of a table from the rows of a group."""


def spread(values: pd.Series, decimals: int = 2) -> str:
    """The mean ± the standard deviation; a single value alone, and "-" for none."""
    values = values.dropna()
    return mean_and_sd(values.mean(), values.std(), decimals)


def mean_and_sd(mean: float, sd: float, decimals: int) -> str:
    if pd.isna(mean):
        return "-"
    return f"{mean:,.{decimals}f}" + ("" if pd.isna(sd) else f" ± {sd:,.{decimals}f}")


def spread_of(key: str, decimals: int = 2) -> Cell:
    return lambda rows: spread(rows[key], decimals)


def spreads_of(split: str, decimals: Mapping[str, int]) -> dict[str, Cell]:
    """Columns that are named after metrics of a split."""
    return {name: spread_of(f"{split}/{name}", num) for name, num in decimals.items()}


def once(key: str) -> Cell:
    """The number that all rows of a group have in common."""
    return lambda rows: f"{rows[key].iloc[0]:,}"


def cells(rows: pd.DataFrame, columns: Mapping[str, Cell]) -> list[str]:
    return [cell(rows) for cell in columns.values()]


def grouped(rows: pd.DataFrame, by: str, titles: Mapping[str, str] | None = None) -> dict[str, pd.DataFrame]:
    """The rows of each value of a column, in the order of `titles` and under them, or in the order of the values."""
    if titles is None:
        titles = {value: str(value) for value in sorted(rows[by].unique())}
    return {title: rows[rows[by] == value] for value, title in titles.items()}


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table_of_groups(first: str, groups: Mapping[str, pd.DataFrame], columns: Mapping[str, Cell]) -> str:
    """One line per group, with its title under `first`, and one column per cell, under its name."""
    return table([first, *columns], [[title, *cells(rows, columns)] for title, rows in groups.items()])


class Difference(NamedTuple):
    """The mean of the differences between two settings, taken seed by seed, and its standard error."""

    mean: float
    error: float

    @property
    def text(self) -> str:
        return f"{self.mean:+.2f} ± {self.error:.2f}"

    @property
    def sign(self) -> int:
        """1 or -1 where the mean is more than two standard errors from 0, else 0."""
        return int(self.mean > 2 * self.error) - int(self.mean < -2 * self.error)

    @property
    def verdict(self) -> str:
        """Whether the claim holds that the first setting has the larger value."""
        return ("Not shown", "Holds", "Wrong")[self.sign]


def paired(rows: pd.DataFrame, key: str, by: str, one: object, other: object) -> Difference:
    """The value of `key` where `by` is `one`, minus its value where `by` is `other`."""
    by_seed = rows.pivot_table(index="seed", columns=by, values=key)
    differences = (by_seed[one] - by_seed[other]).dropna()
    return Difference(differences.mean(), differences.std() / len(differences) ** 0.5)


def listed(words: Sequence[str]) -> str:
    """The words as a list in a sentence: "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def versions(rows: pd.DataFrame) -> str:
    """The version of torch and the number of threads of the first run."""
    first = rows.iloc[0]
    return f"torch {first['torch'].partition('+')[0]}, {first['threads']} thread"
