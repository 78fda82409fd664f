"""metrics.json is what its types say: what is written is read back, and anything else is refused by its key."""

import json
import re
from pathlib import Path

import pytest
from helpers import metrics_of_a_run

from cvae_lightning.core.errors import UserError
from cvae_lightning.runs.configuration import SCHEMA
from cvae_lightning.runs.metrics_file import StoredMetrics, read_metrics, write_metrics

STORED = {"schema": SCHEMA, **metrics_of_a_run(val={"elbo": -1.5, "fid_pixel": None}), "weights_sha256": "c0ffee"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metrics.json"


def test_what_is_written_is_read_back(file: Path) -> None:
    write_metrics(file, metrics_of_a_run(val={"elbo": -1.5, "fid_pixel": None}), "c0ffee")
    assert read_metrics(file) == STORED


def test_a_run_has_every_key_of_the_layout() -> None:
    assert STORED.keys() == StoredMetrics.__required_keys__
    assert StoredMetrics.__optional_keys__ == {"flip", "balance", "labelled", "label_dropout"}  # which older runs lack


@pytest.mark.parametrize("schema", [SCHEMA + 1, 0, None, "1"])
def test_another_schema_is_refused(file: Path, schema: object) -> None:
    file.write_text(json.dumps({**STORED, "schema": schema}), encoding="utf-8")
    with pytest.raises(UserError, match=rf"layout {schema} .* reads layout {SCHEMA}"):
        read_metrics(file)


@pytest.mark.parametrize("key", [key for key in STORED if key != "schema"])
def test_a_missing_key_is_named(file: Path, key: str) -> None:
    file.write_text(json.dumps({name: value for name, value in STORED.items() if name != key}), encoding="utf-8")
    with pytest.raises(UserError, match=rf"\({key} in {re.escape(str(file))}\), got nothing"):
        read_metrics(file)


def test_an_unknown_key_is_kept(file: Path) -> None:
    file.write_text(json.dumps({**STORED, "note": ["mine"]}), encoding="utf-8")
    assert read_metrics(file) == {**STORED, "note": ["mine"]}
