"""Measures what a person waits for beside the epochs: each command as a process of its own, from its start to its end.

    python benchmarks/waiting.py <folder with MNIST> [--repeats 5] [--beside <another checkout>] [--only <row> ...]

The rows:

    help        `python -m cvae_lightning --help`
    first_step  from the command to the first training step: to its first checkpoint, which is written just before
    beside      what a run of 10 epochs takes beside them and the time to the first step: figures, evaluation, the end
    no_figures  the same with figures=none
    evaluate    `python -m cvae_lightning.evaluate` of that run, which is evaluators=full
    again       the repeated command of a finished sweep of 60 runs, on the embedded digits
    report      its report
    best        a run of experiment=best, whole; it takes minutes, and is measured only if it is named

It prints the median and the range of each row in seconds, and the packages whose imports take longest. With --beside,
both checkouts take turns, so that what else the machine does harms both alike.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
GRID = ["data=digits", "network.hidden=[16]", "epochs=1,2,3,4,5", "lr=0.001,0.002,0.005", "latent_dim=2,3,4,5"]
LONGEST_IMPORTS = 8


class Checkout:
    """A version of this project, whose commands are run in a folder of their own."""

    def __init__(self, path: Path, data_dir: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self._data = f"data_dir={data_dir.resolve()}"
        self._num_runs = 0
        self.folder.mkdir(parents=True)

    def command(self, name: str, *words: str) -> float:
        """Seconds that a command takes."""
        start = time.perf_counter()
        self._started(name, *words).communicate()
        return time.perf_counter() - start

    def run(self, *words: str) -> tuple[Path, float, float]:
        """Train a run; return its directory, the seconds to its first checkpoint, and those to the command's end."""
        self._num_runs += 1
        run = self.folder / f"run{self._num_runs}"
        first = run / "checkpoints" / "last.ckpt"
        start = time.perf_counter()
        process = self._started("train", f"hydra.run.dir={run}", self._data, *words)
        while not first.exists():
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(words)} has ended without a checkpoint")
            time.sleep(0.005)
        to_first_step = time.perf_counter() - start
        process.communicate()
        return run, to_first_step, time.perf_counter() - start

    def imports(self) -> Counter[str]:
        """Seconds that the imports of a run take, by package."""
        words = ["-X", "importtime", "-m", "cvae_lightning", "data=digits", "epochs=1"]
        words.append(f"hydra.run.dir={self.folder / 'imports'}")
        answer = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self._env(), capture_output=True, text=True, check=True
        )
        seconds: Counter[str] = Counter()
        for line in answer.stderr.splitlines():
            own, *_, name = line.removeprefix("import time:").split("|")
            if line.startswith("import time:") and own.strip().isdigit():
                seconds[name.strip().partition(".")[0]] += int(own) / 1e6  # type: ignore[assignment]
        return seconds

    def _started(self, name: str, *words: str) -> "subprocess.Popen[bytes]":
        module = "cvae_lightning" if name == "train" else f"cvae_lightning.{name}"
        quiet = subprocess.DEVNULL
        command = [sys.executable, "-m", module, *words]
        return subprocess.Popen(command, cwd=self.folder, env=self._env(), stdout=quiet, stderr=quiet)

    def _env(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.path)}


class Rows:
    """The rows for one checkout; each is measured by calling the method of its name."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._finished: Path | None = None
        self._sweep: list[str] = []

    def help(self) -> float:
        return self._checkout.command("train", "--help")

    def first_step(self) -> float:
        return self._checkout.run("epochs=1")[1]

    def beside(self, *words: str) -> float:
        run, to_first_step, whole = self._checkout.run("epochs=10", *words)
        self._finished = run
        return whole - to_first_step - float(json.loads((run / "metrics.json").read_text())["time"]["fit_seconds"])

    def no_figures(self) -> float:
        return self.beside("figures=none")

    def evaluate(self) -> float:
        if not self._finished:
            self.beside()
        return self._checkout.command("evaluate", f"run={self._finished}")

    def again(self) -> float:
        return self._checkout.command("train", *self._finished_sweep())

    def report(self) -> float:
        self._finished_sweep()
        return self._checkout.command("report", f"sweep={self._checkout.folder / 'sweep'}")

    def best(self) -> float:
        return self._checkout.run("experiment=best")[2]

    def _finished_sweep(self) -> list[str]:
        """The command of a sweep of 60 runs, all of which are complete."""
        if not self._sweep:
            self._sweep = ["-m", *GRID, f"hydra.sweep.dir={self._checkout.folder / 'sweep'}"]
            self._checkout.command("train", *self._sweep)
        return self._sweep


ROWS = ("help", "first_step", "beside", "no_figures", "evaluate", "again", "report")


def measured(rows: Sequence[Rows], name: str, repeats: int) -> list[list[float]]:
    """The seconds of one row for each checkout, which take turns."""
    seconds: list[list[float]] = [[] for _ in rows]
    for _ in range(repeats):
        for place, of_checkout in enumerate(rows):
            ask: Callable[[], float] = getattr(of_checkout, name)
            seconds[place].append(ask())
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*ROWS, "best"], default=ROWS)
    options = parser.parse_args()
    paths = [*([options.beside.resolve()] if options.beside else []), HERE]
    with tempfile.TemporaryDirectory(prefix="waiting-") as folder:
        checkouts = [Checkout(path, options.data_dir, Path(folder, str(place))) for place, path in enumerate(paths)]
        rows = [Rows(checkout) for checkout in checkouts]
        print(f"{'':12}" + "".join(f"{path.name:>24}" for path in paths) + f"{'n':>4}")
        for name in options.only:
            cells = (
                f"{statistics.median(values):8.2f} ({min(values):.2f} to {max(values):.2f})".rjust(24)
                for values in measured(rows, name, options.repeats)
            )
            print(f"{name:12}{''.join(cells)}{options.repeats:4}", flush=True)
        longest = checkouts[-1].imports().most_common(LONGEST_IMPORTS)
        print("imports: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in longest))


if __name__ == "__main__":
    main()
