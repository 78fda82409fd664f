"""The csv files of multirun/reference, from which the tables and the pictures of the documentation are made.

Each has one row per run, under the column names of a sweep's sweep.csv. Some differ: `benchmark/families` has one row
per setting, with the standard deviation over seeds in <metric>/sd; `..._curves` one row per epoch; `ablation/samplers`
one per draw of a sampler; and `theory/principal_variances` one per principal component.
"""

import pandas as pd

from cvae_lightning.core.build import PACKAGE

ROOT = PACKAGE.parent
REFERENCE = ROOT / "multirun" / "reference"


def kept(name: str) -> pd.DataFrame:
    """The rows of multirun/reference/<name>.csv. An experiment goes by the last part of its name."""
    frame = pd.read_csv(REFERENCE / f"{name}.csv")
    if "experiment" in frame:
        frame["experiment"] = frame["experiment"].str.rpartition("/")[2]
    return frame


def complete(name: str) -> pd.DataFrame:
    """The rows of the runs that finished."""
    frame = kept(name)
    return frame[frame["status"] == "complete"]


def keep(frame: pd.DataFrame, name: str) -> None:
    """Write the rows to multirun/reference/<name>.csv, numbers with six digits."""
    path = REFERENCE / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False, lineterminator="\n", float_format="%.6g")
