"""Numbers and tables as the pages of docs/ write them that are made from csv files."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd


def spread(values: pd.Series, digits: int = 2) -> str:
    """Mean ± standard deviation; a single one as it is, and "-" for none."""
    values = values.dropna()
    if values.empty:
        return "-"
    mean = f"{values.mean():,.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {values.std():,.{digits}f}"


def spreads(rows: pd.DataFrame, by: str, key: str, digits: int = 2) -> list[str]:
    """One cell a value of `by`, in their order."""
    return [spread(values, digits) for _, values in rows.groupby(by)[key]]


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Difference(NamedTuple):
    """Of two ways, seed by seed."""

    mean: float
    error: float  # standard error of the mean

    @property
    def text(self) -> str:
        return f"{self.mean:+.2f} ± {self.error:.2f}"

    @property
    def verdict(self) -> str:
        """Of the claim that the first is more, at two standard errors."""
        if abs(self.mean) <= 2 * self.error:
            return "Not shown"
        return "Holds" if self.mean > 0 else "Wrong"


def paired(rows: pd.DataFrame, key: str, by: str, one: object, other: object) -> Difference:
    """`key` where `by` is `one`, minus that where it is `other`."""
    by_seed = rows.pivot_table(index="seed", columns=by, values=key)
    differences = (by_seed[one] - by_seed[other]).dropna()
    return Difference(differences.mean(), differences.std() / len(differences) ** 0.5)


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
