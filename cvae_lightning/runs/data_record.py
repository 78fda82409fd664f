"""The digests of the files that a run was trained on, and whether the files are still the same."""

import json
import logging

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.files import read_json, write_whole
from cvae_lightning.data.sources import source_of
from cvae_lightning.runs.run import DATA, Run

log = logging.getLogger(__name__)


def check_data_are_the_same(run: Run) -> None:
    """Raises UserError if files have changed since the complete `run` was trained on them."""
    source = source_of(run.raw_config)
    source.prepare()
    source.fit_splits()
    source.test_split()
    if changed := _changed(run.metrics["dataset"]["files"], source.digests):
        remedy = f"{run.path} was trained on others: {changed}. Name another directory."
        refuse("the data of the run", "data_dir", run.raw_config.data_dir, remedy)


def note_data(run: Run, digests: dict[str, str], begun: bool) -> None:
    """Record in data.json which files the training reads, before its first step.

    Raises UserError if the training was `begun` on other files.
    """
    file = run.path / DATA
    if not (begun and file.is_file()):
        write_whole(file, json.dumps(digests, indent=1) + "\n")
    elif changed := _changed(read_json(file), digests):
        remedy = f"These differ: {changed}. Restore the files, or train a new run on the others."
        refuse("the data that the run was begun on", "data_dir", run.raw_config.data_dir, remedy)


def warn_of_other_data(run: Run, digests: dict[str, str], consequence: str) -> str | None:
    """Warn if files that were read differ from those of the complete run; return the warning, or None."""
    changed = _changed(run.metrics["dataset"]["files"], digests)
    if not changed:
        return None
    warning = f"The data differ from those of {run.path}: {changed}. {consequence}"
    log.warning(warning)
    return warning


def _changed(noted: dict[str, str], now: dict[str, str]) -> str:
    """The files that differ, with both digests. Files that only one side has read are not compared."""
    names = noted.keys() & now.keys() or noted.keys() | now.keys()
    return ", ".join(
        f"{name} (SHA-256 {noted.get(name, 'none')[:12]} then, {now.get(name, 'none')[:12]} now)"
        for name in sorted(names)
        if noted.get(name) != now.get(name)
    )
