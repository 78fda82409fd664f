"""Every table and picture of the documentation is what benchmarks/write_docs.py makes of the kept csv files."""

import re
from importlib.metadata import version
from io import BytesIO

import pandas as pd
import pytest
from kept import ROOT
from pages import benchmark
from PIL import Image
from write_docs import FILES, PICTURES, TABLES, with_tables
from writing import Difference, listed, mean_and_sd, paired, spread, table

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


def test_a_difference_counts_from_two_standard_errors_on() -> None:
    rows = pd.DataFrame({"seed": [0, 1, 0, 1], "way": ["a", "a", "b", "b"], "score": [3.0, 5.0, 1.0, 2.0]})
    assert paired(rows, "score", "way", "a", "b") == pytest.approx((2.5, 0.5))
    assert Difference(2.5, 0.5).text == "+2.50 ± 0.50"
    assert [Difference(mean, 0.5).sign for mean in (-1.1, -1.0, 0.9, 1.1)] == [-1, 0, 0, 1]
    verdicts = [Difference(mean, 0.5).verdict for mean in (-1.1, 0.9, 1.1)]
    assert verdicts == ["Wrong", "Not shown", "Holds"]
