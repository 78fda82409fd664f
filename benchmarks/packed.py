"""Measures what hydra/launcher=packed gains: a sweep over seeds, packed and one by one, in turn.

    python benchmarks/packed.py <folder with MNIST> [--runs 8] [--epochs 2] [--batch-sizes 1024 128] [--repeats 3]

For each batch size and way it prints the median and the range over the repeats of the images per second of training,
summed over the runs that are trained at once, and of the seconds of the whole command. Words that follow are overrides
of both, such as accelerator=gpu.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

WAYS = ("basic", "packed")


def measure(way: str, words: Sequence[str], folder: Path) -> tuple[float, float]:
    """Images per second, the median over epochs and runs, and the seconds of the command."""
    command = [sys.executable, "-m", "cvae_lightning", "-m", f"hydra/launcher={way}", *words]
    start = time.perf_counter()
    subprocess.run([*command, f"hydra.sweep.dir={folder}"], check=True, capture_output=True)
    seconds = time.perf_counter() - start
    metrics = [json.loads(file.read_text()) for file in folder.glob("*/metrics.json")]
    return statistics.median(each["time"]["images_per_second"] for each in metrics), seconds


def summary(values: Sequence[float], digits: int) -> str:
    low, median, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{median} ({low} to {high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1024, 128])
    parser.add_argument("--repeats", type=int, default=3)
    given, overrides = parser.parse_known_args()
    shared = [f"data_dir={given.data_dir.resolve()}", f"epochs={given.epochs}", "figures=none", "lr=0.002", *overrides]
    shared.append(f"seed=range(0,{given.runs})")
    for batch_size in given.batch_sizes:
        measured: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        with tempfile.TemporaryDirectory() as folder:
            for repeat in range(given.repeats):
                for way in WAYS:
                    place = Path(folder, f"{way}{repeat}")
                    measured[way].append(measure(way, [*shared, f"batch_size={batch_size}"], place))
        for way, values in measured.items():
            speeds, seconds = zip(*values, strict=True)
            print(
                f"batch_size={batch_size}  {given.runs} runs  {way:6}  {summary(speeds, 0)} images/s  "
                f"{summary(seconds, 1)} s in all",
                flush=True,
            )


if __name__ == "__main__":
    main()
