"""Files are written atomically, beside their place, with the mode of the umask; a full disk is told in a sentence."""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import SMALL, MakeRun, composed, execute

from cvae_lightning.core.capacity import free_room, full_disk_explained
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.files import whole_file, write_whole
from cvae_lightning.drawing.commands import embed, inpaint, interpolate, reconstruct, sample, score, traverse
from cvae_lightning.exporters.export import export
from cvae_lightning.judging.classifier import Classifier
from cvae_lightning.judging.store import keep
from cvae_lightning.reports.writing import write_report
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep
from cvae_lightning.training.callbacks import checkpoint
from cvae_lightning.training.train import train

COMMANDS: dict[str, Callable[[Any], None]] = {
    "sample": sample,
    "reconstruct": reconstruct,
    "interpolate": interpolate,
    "traverse": traverse,
    "embed": embed,
    "score": score,
    "inpaint": inpaint,
    "export": export,
}
FULL = {errno.ENOSPC: "No space left on device", errno.EDQUOT: "Disk quota exceeded", errno.EFBIG: "File too large"}


@contextmanager
def under(umask: int) -> Iterator[None]:
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


def call_all_commands(run: Path, data_dir: Path) -> None:
    """Each writes into the run directory; `data_dir` overrides the run's."""
    for name, task in COMMANDS.items():
        place = [f"data_dir={data_dir}"] if name in ("reconstruct", "interpolate", "embed", "score", "inpaint") else []
        few = ["labels=[3]"] if name in ("sample", "traverse") else []
        task(composed(f"run={run}", *place, *few, config_name=name))


def assert_modes(folder: Path, umask: int) -> None:
    for path in folder.rglob("*"):
        wanted = (0o777 if path.is_dir() else 0o666) & ~umask
        assert stat.S_IMODE(path.stat().st_mode) & 0o777 == wanted, f"{path} has {oct(path.stat().st_mode)}"


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_run_and_all_commands_leave_files_with_the_mode_of_the_umask(
    make_run: MakeRun, idx_dir: Path, tmp_path: Path, umask: int
) -> None:
    with under(umask):
        made = make_run("made")
        run = Run.begin(tmp_path / "run", made.raw_config, ["epochs=2"], composed("epochs=2"))
        train(run)
        call_all_commands(run.path, idx_dir)
        keep(Classifier(1, 10), tmp_path / "run" / "judges", "own", "0" * 64)
    names = {path.name for path in run.path.rglob("*")}
    assert {"model.safetensors", "last.ckpt", "samples.npz", "projector", "explorer.html", "own.safetensors"} <= names
    assert_modes(run.path, umask)


def test_a_sweep_and_its_report_have_the_mode_of_the_umask(tmp_path: Path) -> None:
    with under(0o027):
        execute(*SMALL, "-m", "seed=0,1", "epochs=1", "hydra.sweep.dir=sweep", cwd=tmp_path)
        write_report(Sweep(tmp_path / "sweep"))
    names = {path.name for path in tmp_path.rglob("*")}
    assert {"sweep.json", "multirun.yaml", "report.html", "sweep.csv", "train.log", "plots"} <= names
    assert_modes(tmp_path, 0o027)


def test_nothing_is_staged_in_the_folder_for_temporary_files(
    make_run: MakeRun, idx_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    run = make_run("run")
    train(run)
    call_all_commands(run.path, idx_dir)
    assert not list(run.path.rglob("*.part"))


def test_a_write_that_fails_leaves_the_old_content_alone_and_names_the_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "old")
    with pytest.raises(TypeError), whole_file(tmp_path / "file", 6) as file:
        file.writelines([b"new", "text"])  # type: ignore[list-item]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "old"}
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"/folder'$"):
        write_whole(tmp_path / "folder", "new")
    assert not list(tmp_path.glob("*.part"))


def test_content_reaches_the_disk_before_the_file_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut then finds the old content or the new one, never an empty file."""
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def noted(*place: Any, name: str = name, real: Any = real) -> None:
            calls.append(name)
            real(*place)

        monkeypatch.setattr(os, name, noted)
    write_whole(tmp_path / "file", "new")
    assert calls == ["fsync", "replace"]


@pytest.mark.parametrize("reason", FULL)
def test_a_full_disk_is_told_with_the_place_and_the_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    def refused(number: int) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(UserError) as caught:
        write_whole(tmp_path / "file", 3000 * "x")
    told = str(caught.value)
    assert str(tmp_path / "file:") in told
    assert "needs 3 kB" in told
    assert " are free" in told
    assert FULL[reason] in told
    assert "Free some space" in told
    assert not list(tmp_path.iterdir())


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), full_disk_explained(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied", "/there")


def test_the_room_of_a_folder_that_is_not_there_yet_is_that_of_its_disk(tmp_path: Path) -> None:
    room = free_room(tmp_path / "not" / "yet")
    assert room is not None
    assert room > 0


def test_a_run_that_a_full_disk_stopped_goes_on_to_the_same_weights(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the n-th file, for each n in turn, until the run has written all of them."""
    whole, stopped = make_run("whole"), make_run("stopped")
    train(whole)
    real = os.fsync
    for most in range(1, 30, 4):
        written: list[int] = []

        def full(number: int, most: int = most, written: list[int] = written) -> None:
            written.append(number)
            if len(written) > most:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(number)

        monkeypatch.setattr(os, "fsync", full)
        stopped = Run(stopped.path)
        with contextlib.suppress(UserError):
            train(stopped)
        assert not list(stopped.path.rglob("*.part"))
        if stopped.complete:
            break
    assert most > 5
    assert stopped.metrics["weights_sha256"] == whole.metrics["weights_sha256"]


def test_a_run_is_refused_before_its_first_step_where_the_disk_is_too_small(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "OTHER_FILES", 10**18)
    run = make_run("run")
    with pytest.raises(UserError, match=r"The training needs 1 EB in .*, where .* are free\. Free some space"):
        train(run)
    assert not run.begun
