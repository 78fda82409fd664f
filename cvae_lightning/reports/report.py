"""The command that writes the report of a sweep."""

from omegaconf import DictConfig

from cvae_lightning.core.errors import UserError
from cvae_lightning.reports.writing import write_report
from cvae_lightning.runs.sweep import Sweep


def report(config: DictConfig) -> None:
    """Write sweep.csv, report.md, report.html and plots/ into the sweep directory, and print the best settings."""
    if config.directory is None:
        raise UserError("This command needs sweep=<sweep directory>. --help explains it.")
    print(write_report(Sweep(config.directory)))
