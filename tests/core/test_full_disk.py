"""A disk that is too small, with the pictures of a run, which are the largest of its files."""

import json
import resource
import subprocess
from pathlib import Path

import pytest
import torch
from helpers import SMALL, MakeRun, command, environment

from cvae_lightning.core.errors import UserError
from cvae_lightning.runs.run import Run
from cvae_lightning.training.callbacks import checkpoint
from cvae_lightning.training.train import train

pytestmark = pytest.mark.rendered


def test_what_a_run_leaves_beside_its_checkpoint_is_what_is_reserved_for_it(make_run: MakeRun) -> None:
    run = make_run("run", "epochs=1")
    train(run)
    left = [path.stat().st_size for path in run.path.rglob("*") if path.is_file() and path.suffix != ".ckpt"]
    assert checkpoint.OTHER_FILES / 4 < sum(left) < checkpoint.OTHER_FILES


def test_on_a_full_disk_a_person_reads_one_sentence(tmp_path: Path) -> None:
    """The first file that passes the limit is TensorBoard's, which a thread writes; the run is completed afterwards."""
    limit = 450_000

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    arguments = command(*SMALL, "epochs=1", "hydra.run.dir=run")
    answer = subprocess.run(
        arguments, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, preexec_fn=limited
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith("There is no room for run: ")
    assert "File too large" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    run = Run(tmp_path / "run")
    assert not run.complete
    train(run)
    assert run.complete


def mounted(folder: Path, size: str) -> bool:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    return subprocess.run(mount, check=False, capture_output=True).returncode == 0


def test_a_disk_that_is_really_full(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    if not mounted(disk, "700k"):
        pytest.skip("a small disk can be mounted by root only")
    try:
        monkeypatch.setattr(checkpoint, "OTHER_FILES", 0)
        run = Run.begin(disk / "run", make_run("made").raw_config)
        with pytest.raises(UserError, match=rf"There is no room for {run.path}.*No space left on device"):
            train(run)
        assert torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1
        subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
        assert json.loads(json.dumps(train(run)))["epochs"] == 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)
