"""The report of a sweep, as pages."""

from cvae_lightning.sweeps import Sweep


def write_report(sweep: Sweep) -> str:
    return f"{len(sweep.runs)} runs"
