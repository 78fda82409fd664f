"""Numbers, differences and tables in Markdown."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import NamedTuple

import pandas as pd
from scipy.stats import t

Cell = Callable[[pd.DataFrame], str]
"""Writes one cell of a table from the rows of a group."""


def spread(values: pd.Series, decimals: int = 2) -> str:
    """The mean ± the standard deviation; a single value alone, and "-" for none."""
    values = values.dropna()
    return mean_and_sd(values.mean(), values.std(), decimals)


def mean_and_sd(average: float, sd: float, decimals: int) -> str:
    if pd.isna(average):
        return "-"
    return f"{average:,.{decimals}f}" + ("" if pd.isna(sd) else f" ± {sd:,.{decimals}f}")


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
    """The differences between two settings, one per seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the mean, by Student's t: that of a paired t test. It needs two seeds."""
        reach = float(t.ppf(0.975, len(self.values) - 1)) * stdev(self.values) / len(self.values) ** 0.5
        return self.mean - reach, self.mean + reach

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval is above or below 0, else 0."""
        low, high = self.interval
        return int(low > 0) - int(high < 0)

    def written(self, decimals: int) -> str:
        """The mean, and the interval in brackets."""
        low, high = self.interval
        return f"{self.mean:+,.{decimals}f} [{low:+,.{decimals}f}, {high:+,.{decimals}f}]"

    @property
    def text(self) -> str:
        return self.written(2)

    def seeds(self, sign: int) -> str:
        """In how many of the seeds the difference has this sign."""
        return f"{sum(sign * value > 0 for value in self.values)} of {len(self.values)}"

    @property
    def verdict(self) -> str:
        """Whether the claim holds that the first setting has the larger value; in how many seeds if 0 is possible."""
        if self.sign:
            return "Holds" if self.sign > 0 else "Contradicted"
        word, sign = ("Holds", 1) if self.mean > 0 else ("Contradicted", -1)
        return f"{word} in {self.seeds(sign)} seeds"


def paired(rows: pd.DataFrame, key: str, by: str, one: object, other: object) -> Difference:
    """The value of `key` where `by` is `one`, minus its value where `by` is `other`, seed by seed."""
    return between(rows[rows[by] == one], rows[rows[by] == other], key)


def between(one: pd.DataFrame, other: pd.DataFrame, key: str) -> Difference:
    """The value of `key` in the first rows minus that in the others, for each seed that both have."""
    values = (one.set_index("seed")[key] - other.set_index("seed")[key]).dropna()
    return Difference(tuple(map(float, values)))


def table_of_differences(title: str, one: pd.DataFrame, other: pd.DataFrame, decimals: Mapping[str, int]) -> str:
    """One line per metric, with the mean difference, its 95 % interval, and the seeds in which it is positive."""
    body = []
    for key, num in decimals.items():
        difference = between(one, other, key)
        body.append([f"`{key}`", difference.written(num), difference.seeds(1)])
    return table([title, "mean difference [95 % interval]", "positive in seeds"], body)


def listed(words: Sequence[str]) -> str:
    """The words as a list in a sentence: "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def versions(rows: pd.DataFrame) -> str:
    """The version of torch and the number of threads of the first run."""
    first = rows.iloc[0]
    return f"torch {first['torch'].partition('+')[0]}, {first['threads']} thread"
