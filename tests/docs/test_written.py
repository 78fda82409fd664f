"""Every table and picture of the documentation is what benchmarks/write_docs.py makes of the kept csv files."""

import re
from importlib.metadata import version
from io import BytesIO

import pandas as pd
import pytest
from kept import ROOT
from pages import benchmark
from PIL import Image
from scipy.stats import ttest_rel
from write_docs import FILES, PICTURES, TABLES, with_tables
from writing import Difference, between, listed, mean_and_sd, paired, spread, table, table_of_differences

pytestmark = pytest.mark.rendered


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".md")])
def test_a_page_is_written_from_the_csv_files(name: str) -> None:
    assert FILES[name]().decode() == (ROOT / name).read_text()


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".png")])
def test_a_picture_is_drawn_from_the_csv_files(name: str) -> None:
    """Pixel by pixel where the libraries that draw it have the pinned versions, otherwise in its size."""
    drawn, kept = (Image.open(file).convert("RGB") for file in (BytesIO(FILES[name]()), ROOT / name))
    assert drawn.size == kept.size
    pinned = (ROOT / "constraints.txt").read_text().split()
    if all(f"{library}=={version(library)}" in pinned for library in ("matplotlib", "numpy", "pillow")):
        assert drawn.tobytes() == kept.tobytes()


def test_a_picture_has_the_same_bytes_each_time() -> None:
    assert FILES["docs/claims/leak.png"]() == FILES["docs/claims/leak.png"]()


def test_each_table_and_each_picture_stands_somewhere() -> None:
    texts = {name: (ROOT / name).read_text() for name in FILES if name.endswith(".md")}
    marked = [name for text in texts.values() for name in re.findall(r"<!-- table: (\w+) -->", text)]
    assert sorted(marked) == sorted(TABLES)
    docs = "\n".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    assert set(PICTURES) | {f"benchmark/{name}.png" for name in benchmark.TITLES} <= set(
        re.findall(r"\]\((\w+/\w+\.png)\)", docs)
    )


def test_a_table_is_replaced_between_its_markers() -> None:
    text = "Before\n<!-- table: grid_by_size -->\nold\n<!-- end -->\nafter\n"
    new = with_tables(text)
    assert new == text.replace("old", TABLES["grid_by_size"]())
    assert with_tables(new) == new


def test_numbers_are_written_with_their_spread() -> None:
    assert spread(pd.Series([1.0, 2.0, 3.0])) == "2.00 ± 1.00"
    assert spread(pd.Series([1234.5]), 0) == "1,234"
    assert spread(pd.Series([float("nan")])) == "-"
    assert mean_and_sd(1234.5678, 0.25, 2) == "1,234.57 ± 0.25"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a"]) == "a"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


SCORES = {"a": [3.0, 5.0, 4.5, 2.0], "b": [1.0, 2.0, 4.0, 1.5]}


def scores(num: int) -> pd.DataFrame:
    """Rows of two settings, with so many seeds each."""
    rows = [(seed, way, values[seed]) for way, values in SCORES.items() for seed in reversed(range(num))]
    return pd.DataFrame(rows, columns=["seed", "way", "score"])


@pytest.mark.parametrize("num", [2, 3, 4])
def test_a_difference_is_that_of_a_paired_t_test(num: int) -> None:
    difference = paired(scores(num), "score", "way", "a", "b")
    reference = ttest_rel(SCORES["a"][:num], SCORES["b"][:num])
    assert difference.interval == pytest.approx(tuple(reference.confidence_interval(0.95)))
    assert (difference.sign != 0) == (reference.pvalue < 0.05)
    assert difference.mean == pytest.approx(sum(difference.values) / num)


def test_only_seeds_that_both_settings_have_are_compared() -> None:
    rows = scores(3)
    one, other = rows[rows["way"] == "a"], rows[(rows["way"] == "b") & (rows["seed"] != 1)]
    assert sorted(between(one, other, "score").values) == [0.5, 2.0]


def test_a_verdict_without_seeds_needs_an_interval_without_zero() -> None:
    sure, unsure = (2.0, 2.1, 1.9), (0.1, 4.0, -0.5)
    assert Difference(sure).verdict == "Holds"
    assert Difference(tuple(-value for value in sure)).verdict == "Contradicted"
    assert Difference(unsure).verdict == "Holds in 2 of 3 seeds"
    assert Difference(tuple(-value for value in unsure)).verdict == "Contradicted in 2 of 3 seeds"
    assert Difference((-0.6, -1.8, -1.9)).verdict == "Contradicted in 3 of 3 seeds", (
        "two standard errors are not enough"
    )
    assert Difference(sure).text == "+2.00 [+1.75, +2.25]"
    rows = scores(2)
    line = table_of_differences("a minus b", rows[rows["way"] == "a"], rows[rows["way"] == "b"], {"score": 1})
    assert line.splitlines()[-1] == "| `score` | +2.5 [-3.9, +8.9] | 2 of 2 |"
