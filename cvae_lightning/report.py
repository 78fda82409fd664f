"""python -m cvae_lightning.report sweep=<sweep directory>: what a sweep came to."""

import sys

from omegaconf import DictConfig

from cvae_lightning.cli.command import run_command
from cvae_lightning.core.errors import UserError


def report(config: DictConfig) -> None:
    """Write sweep.csv, report.md, report.html and plots/ into the sweep directory, and print the best of it."""
    if config.directory is None:
        raise UserError("Expected sweep=<value>, got none. --help explains the command.")
    from cvae_lightning.reports.pages import write_report
    from cvae_lightning.runs.sweep import Sweep

    print(write_report(Sweep(config.directory)))


if __name__ == "__main__":
    # Hydra takes the value of sweep= for a file of the group conf/sweep
    sys.argv[1:] = [f"directory={word[6:]}" if word.startswith("sweep=") else word for word in sys.argv[1:]]
    run_command(report, "report")
