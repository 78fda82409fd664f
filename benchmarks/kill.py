"""Interrupts trainings at random moments and continues them. It prints the table in docs/reliability.md.

    python benchmarks/kill.py [--kills 100] [--signals 20] [--disks 20] [--seed 0]

A trial starts a run or a sweep and interrupts it: by SIGKILL, by SIGTERM or Ctrl-C, or by filling its disk. Then it
gives the same command again, or `resume=`. It passes if no file was left half written, if the exit statuses are the
documented ones, and if the final weights and metrics equal those of an uninterrupted run bit by bit. A third of the
kills wait for a moment at which a file is being written. Nine of ten trials are forks of this process, which has
imported torch but never used it; every tenth is a fresh `python -m cvae_lightning`. The exit status is 1 if a trial
fails.
"""

import argparse
import atexit
import json
import os
import platform
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

SMALL = ["data=digits", "data.module.passes_per_epoch=1", "network.hidden=[16]", "latent_dim=3", "accelerator=cpu"]
COMMANDS = {
    "run": [*SMALL, "epochs=3", "batch_size=256", "hydra.run.dir=out"],
    "sweep": ["-m", *SMALL, "epochs=1,2", "batch_size=256", "hydra.sweep.dir=out"],
}
FRESH_EVERY = 10
FILLER = "filler"
ROOM = 15_000_000  # bytes beside what a run leaves: more than it asks for before its first step
GROWING = ("train.log", "events.out.tfevents.*", "multirun.yaml")  # written line by line, or by Hydra


class Undisturbed(NamedTuple):
    """The result of a command that is not interrupted, and how long it takes."""

    result: dict[str, Any]
    seconds: float
    size: int  # bytes


class Trial(NamedTuple):
    kind: str
    phase: str
    problems: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (("kills", 100), ("signals", 20), ("disks", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=number)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads don't survive a fork
    import cvae_lightning.training.train  # noqa: F401  # once, instead of in each fork

    with tempfile.TemporaryDirectory() as folder:
        whole = {kind: undisturbed(Path(folder), kind) for kind in COMMANDS}
        trials = list(trials_of(asked, Path(folder), whole))
    print(table(trials))
    print(f"\nSeed {asked.seed}; {platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}.")
    problems = [f"{trial.kind}, {trial.phase}: {problem}" for trial in trials for problem in trial.problems]
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))


def undisturbed(folder: Path, kind: str) -> Undisturbed:
    """The result of a fork, which has the bits of a fresh process."""
    results = []
    for fresh in (True, False):
        place = Path(tempfile.mkdtemp(dir=folder))
        start = time.monotonic()
        status = status_of(begin(COMMANDS[kind], place, fresh))
        seconds = time.monotonic() - start
        if status:
            sys.exit(f"Expected a {kind} that finishes, got status {status}:\n{output_of(place).read_text()}")
        results.append(result_of(place / "out"))
    if results[0] != results[1]:
        sys.exit(f"Expected the same bits from a fork and from a fresh process, got others for a {kind}.")
    size = sum(file.stat().st_size for file in (place / "out").rglob("*") if file.is_file())
    return Undisturbed(results[0], seconds, size)


def trials_of(asked: argparse.Namespace, folder: Path, whole: dict[str, Undisturbed]) -> Iterator[Trial]:
    """All trials, one after another, each in its own folder."""
    draw = random.Random(asked.seed)
    ends = [signal.SIGKILL] * asked.kills + [signal.SIGTERM, signal.SIGINT] * (asked.signals // 2)
    for number, signum in enumerate(ends):
        kind = "sweep" if number % 4 == 3 else "run"
        trial = signalled(folder, kind, whole[kind], signum, draw, number)
        print(f"{number + 1}/{len(ends)} {trial}", file=sys.stderr, flush=True)
        yield trial
    for number in range(asked.disks):
        yield filled(folder, whole["run"], draw, number)


def signalled(
    folder: Path, kind: str, whole: Undisturbed, signum: signal.Signals, draw: random.Random, number: int
) -> Trial:
    """A trial whose signal reached the process while it was still at work; it is repeated until it does."""
    fresh, aimed = number % FRESH_EVERY == FRESH_EVERY - 1, signum == signal.SIGKILL and number % 3 == 0
    earliest = 0.0 if signum == signal.SIGKILL else 0.5  # until Python has the handlers
    while True:
        place = Path(tempfile.mkdtemp(dir=folder))
        process = begin(COMMANDS[kind], place, fresh)
        instant = time.monotonic() + draw.uniform(earliest, 1.1 * whole.seconds)
        while time.monotonic() < instant or (aimed and time.monotonic() < instant + 1 and not writing(place / "out")):
            time.sleep(0 if time.monotonic() > instant else 0.001)
        os.kill(process, signum)
        status = status_of(process)
        if status != 0:
            break
        shutil.rmtree(place)
    problems = list(half_written(place))
    expected = -signum if signum == signal.SIGKILL else 128 + signum
    if status != expected and status != -signum:
        problems.append(f"exit status {status}, not {expected}: {last_line(place)}")
    phase = phase_of(place / "out", kind)
    return Trial(f"{signum.name}, {kind}", phase, [*problems, *continued(place, kind, whole, number)])


def filled(folder: Path, whole: Undisturbed, draw: random.Random, number: int) -> Trial:
    """A trial whose disk is full from a random moment on, or with limited files where no disk can be mounted."""
    place = Path(tempfile.mkdtemp(dir=folder))
    (place / "out").mkdir()
    mounted = mount(place / "out", f"size={whole.size + ROOM}")
    process = begin(COMMANDS["run"], place, False, None if mounted else draw.randrange(5_000, whole.size // 4))
    if mounted:
        time.sleep(draw.uniform(0, whole.seconds))
        fill(place / "out" / FILLER)
    status = status_of(process)
    phase = phase_of(place / "out", "run")
    problems = [] if status in (0, 1) else [f"exit status {status}: {last_line(place)}"]
    if "Traceback" in output_of(place).read_text():
        problems.append(f"a traceback: {last_line(place)}")
    (place / "out" / FILLER).unlink(missing_ok=True)
    problems += [*half_written(place), *continued(place, "run", whole, number)]
    if mounted:
        subprocess.run(["umount", place / "out"], check=True)
    return Trial("full disk, run", phase if status else "enough room", problems)


def continued(place: Path, kind: str, whole: Undisturbed, number: int) -> Iterator[str]:
    """The problems after the same command was given again, or `resume=` for every other run."""
    resumable = kind == "run" and (place / "out" / ".hydra" / "config.yaml").exists()
    command = ["resume=out"] if resumable and number % 2 else COMMANDS[kind]
    if status := status_of(begin(command, place, fresh=False)):
        yield f"continued with status {status}: {last_line(place)}"
        return
    result = result_of(place / "out")
    names = whole.result | result
    yield from (f"{name} has other bits" for name in names if result.get(name) != whole.result.get(name))
    yield from (f"{file.name} is left behind" for file in (place / "out").rglob("*.part"))
    if kind == "sweep" and not (place / "out" / "report.html").exists():
        yield "no report"


def begin(command: list[str], place: Path, fresh: bool, file_size: int | None = None) -> int:
    """Start `python -m cvae_lightning` in the folder and return the id of its process."""
    sys.stdout.flush()
    if process := os.fork():
        return process
    status = 1
    atexit._clear()  # what this process has registered for its end, such as removing the folder of all trials
    try:
        os.chdir(place)
        output = os.open(output_of(place), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if file_size:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
        if fresh:
            os.execv(sys.executable, [sys.executable, "-m", "cvae_lightning", *command])
        sys.argv = ["cvae_lightning", *command]
        runpy.run_module("cvae_lightning", run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def status_of(process: int) -> int:
    """Wait for the process and return its exit status, or -signal if a signal killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def result_of(out: Path) -> dict[str, Any]:
    """The bytes of all weights and the content of each metrics.json, without times and commit, by path and key."""
    result: dict[str, Any] = {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("model.safetensors")}
    for file in out.rglob("metrics.json"):
        metrics = json.loads(file.read_text())
        del metrics["time"], metrics["environment"]["commit"]  # somebody may commit in the meantime
        result |= {f"{file.relative_to(out)}, {key}": value for key, value in metrics.items()}
    return result


def half_written(place: Path) -> Iterator[str]:
    """The files that are incomplete. A .part file may be: it was being written, and nothing reads it."""
    for file in (place / "out").rglob("*"):
        skipped = file.is_dir() or file.suffix == ".part" or any(file.match(pattern) for pattern in GROWING)
        if not skipped and not is_whole(file, file.read_bytes()):
            yield f"{file.relative_to(place)} is half written ({file.stat().st_size} bytes)"


def is_whole(file: Path, content: bytes) -> bool:
    """Whether the content ends as a file of this kind does."""
    match file.suffix:
        case ".json":
            return content.endswith((b"}", b"}\n"))
        case ".ckpt":
            return zipfile.is_zipfile(file)
        case ".png":
            return content.endswith(b"IEND\xaeB`\x82")
        case ".safetensors":
            header = int.from_bytes(content[:8], "little")
            tensors = json.loads(content[8 : 8 + header])
            return len(content) == 8 + header + max(tensor["data_offsets"][1] for tensor in tensors.values())
        case ".html":
            return content.rstrip().endswith(b"</html>")
    return True


def writing(out: Path) -> bool:
    """Whether a file is being written at this moment."""
    return any(list(folder.glob("*.part")) for folder in (out, out / "checkpoints", out / "0"))


def phase_of(out: Path, kind: str) -> str:
    """How far the process got, judging by its files."""
    for run in [out] if kind == "run" else [out / "0", out / "1"]:
        if not (run / "metrics.json").exists():
            if next(run.rglob("*.part"), None):
                return "a file"
            if not (run / "checkpoints" / "last.ckpt").exists():
                return "start"
            trained = any(re.search(r"epoch (\d+)/\1 ", log.read_text()) for log in run.glob("train.log"))
            return "evaluation" if trained else "an epoch"
    return "end" if kind == "run" else "report"


def table(trials: list[Trial]) -> str:
    """A Markdown table with one row per kind and phase."""
    counts = Counter((trial.kind, trial.phase) for trial in trials)
    passed = Counter((trial.kind, trial.phase) for trial in trials if not trial.problems)
    rows = [f"| {kind} | {phase} | {counts[kind, phase]} | {passed[kind, phase]} |" for kind, phase in sorted(counts)]
    total = f"| all | | {len(trials)} | {sum(passed.values())} |"
    return "\n".join(["| ended by | during | trials | passed |", "|---|---|---:|---:|", *rows, total])


def mount(folder: Path, options: str) -> bool:
    """Mount a file system in memory; whether that was possible."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def fill(file: Path) -> None:
    """Write until the disk is full."""
    with suppress(OSError), file.open("wb", buffering=0) as whole:
        while True:
            whole.write(bytes(4096))


def output_of(place: Path) -> Path:
    return place.with_suffix(".txt")


def last_line(place: Path) -> str:
    return (output_of(place).read_text().strip().splitlines() or [""])[-1]


if __name__ == "__main__":
    main()
