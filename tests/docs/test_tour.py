"""docs/tour.ipynb runs from the first cell to the last, in an empty folder and without a network."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from cvae_lightning.core.build import PACKAGE

TOUR = PACKAGE.parent / "docs" / "tour.ipynb"


@pytest.mark.slow
def test_the_tour_runs_and_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(TOUR, as_version=4)
    NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if {"image/png", "image/jpeg"} & output.get("data", {}).keys()]
    assert len(pictures) == 4
    printed = "".join(output.get("text", "") for output in outputs)
    assert "epoch 5/5" in printed
    assert "Best by val Score, uncapped" in printed


def test_the_tour_is_small_and_names_no_place_of_the_machine_that_ran_it() -> None:
    assert TOUR.stat().st_size < 300_000
    cells = nbformat.read(TOUR, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert outputs, "it was run"
    printed = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs]
    assert not [text for text in printed if re.search(r"(^|[\s'\"=(])/\w", text)], "an absolute path"
