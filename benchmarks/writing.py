"""Numbers, differences and tables in Markdown."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

Decimals = Mapping[str, int]
"""The columns of a table, and how many decimals each is written with."""


def spread(values: pd.Series, decimals: int = 2) -> str:
    """The mean ± the standard deviation; a single value alone, and "-" for none."""
    values = values.dropna()
    return mean_and_sd(values.mean(), values.std(), decimals)


def mean_and_sd(mean: float, sd: float, decimals: int) -> str:
    if pd.isna(mean):
        return "-"
    return f"{mean:,.{decimals}f}" + ("" if pd.isna(sd) else f" ± {sd:,.{decimals}f}")


def spreads(rows: pd.DataFrame, columns: Decimals) -> list[str]:
    """One cell per column. `n` is the number of rows; `parameters`, the same in all of them, stands once."""
    rows = rows.assign(n=[len(rows)] * len(rows))
    once = ("n", "parameters")
    return [spread(rows[key].iloc[:1] if key in once else rows[key], num) for key, num in columns.items()]


def grouped(rows: pd.DataFrame, by: str, titles: Mapping[str, str] | None = None) -> dict[str, pd.DataFrame]:
    """The rows of each value of a column, in the order of `titles` and under them, or in the order of the values."""
    if titles is None:
        titles = {value: str(value) for value in sorted(rows[by].unique())}
    return {title: rows[rows[by] == value] for value, title in titles.items()}


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table_of_groups(head: Sequence[str], groups: Mapping[str, pd.DataFrame], columns: Decimals) -> str:
    """One line per group: its title, and the mean and standard deviation of each column."""
    return table(head, [[title, *spreads(rows, columns)] for title, rows in groups.items()])


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
