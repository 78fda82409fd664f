"""A run directory that was written once and is kept in tests/kept_run: later versions read it as it is."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvae_lightning.core import build
from cvae_lightning.core.errors import UserError
from cvae_lightning.evaluators.evaluator import Evaluator
from cvae_lightning.runs.configuration import SCHEMA
from cvae_lightning.runs.run import Run
from cvae_lightning.training.parts import build_evaluators

KEPT = Path(__file__).parent.parent / "kept_run"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A copy, which a test may change."""
    return Path(shutil.copytree(KEPT, tmp_path / "run"))


def targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from [node["_target_"]] if "_target_" in node else []
        for child in node.values():
            yield from targets(child)


def test_its_model_draws_what_it_drew_when_it_was_written() -> None:
    run = Run(KEPT)
    assert run.complete
    images = run.sample([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    np.testing.assert_allclose(images.numpy(), np.load(KEPT / "samples.npy"), atol=1e-4)


def test_everything_that_its_configuration_names_is_still_built() -> None:
    """Where this fails, something has moved: add its old and its new place to MOVED in core/build.py."""
    run = Run(KEPT)
    named = set(targets(run.config))
    assert len(named) > 15
    assert all(callable(build.part_named(target)) for target in named)
    assert all(isinstance(evaluator, Evaluator) for evaluator in build_evaluators(run.raw_config))


def test_a_part_that_has_moved_is_found_through_the_table(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = kept / ".hydra" / "config.yaml"
    old = "cvae_lightning.models.conditional.ConditionalVAE"
    config.write_text(config.read_text().replace("cvae_lightning.models.cvae.CVAE", old))
    with pytest.raises(UserError, match=re.escape(old)):
        Run(kept).model()
    monkeypatch.setitem(build.MOVED, old, "cvae_lightning.models.cvae.CVAE")
    assert Run(kept).model().num_classes == 10


@pytest.mark.parametrize("file", [".hydra/config.yaml", "metrics.json"])
def test_a_run_of_another_layout_is_refused(kept: Path, file: str) -> None:
    text = (kept / file).read_text()
    (kept / file).write_text(re.sub(rf'(schema"?: ){SCHEMA}', rf"\g<1>{SCHEMA + 1}", text))
    with pytest.raises(UserError, match=rf"{re.escape(file)} has layout {SCHEMA + 1} .* reads layout {SCHEMA}"):
        Run(kept).model()


def test_a_run_from_before_layouts_had_numbers_is_refused(kept: Path) -> None:
    config = kept / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace(f"schema: {SCHEMA}\n", ""))
    with pytest.raises(UserError, match="has layout 1 of run directories"):
        _ = Run(kept).raw_config
