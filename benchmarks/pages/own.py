"""The table of docs/results.md about images of one's own: digits turned by known angles, and letters in colour."""

from collections.abc import Mapping

import pandas as pd
from kept import complete
from writing import spread, table

PRESETS = ("turned_digits", "letters")
"""The experiments, whose rows are kept in multirun/reference/own."""
DECIMALS = {"ssim": 4, "mse": 5, "fid_judge": 2, "fid_judge_floor": 2}
DECIMALS |= {"precision": 3, "precision_floor": 3, "recall": 3, "recall_floor": 3}
DECIMALS |= {"accuracy": 4, "accuracy_worst_class": 3, "accuracy_real": 4}
DECIMALS |= {"condition_error": 2, "condition_error_real": 2}
DECIMALS |= {"elbo": 2, "kl": 2}


def runs(preset: str) -> pd.DataFrame:
    """The kept rows of a preset, one per seed."""
    return complete(f"own/{preset}")


def own_data() -> str:
    """One line per metric; val and test of each preset."""
    kept = {preset: runs(preset) for preset in PRESETS}
    head = ["", *(f"`{preset}`, {split}" for preset in PRESETS for split in ("val", "test"))]
    return table(head, [[f"`{name}`", *of_metric(kept, name)] for name in DECIMALS])


def of_metric(kept: Mapping[str, pd.DataFrame], name: str) -> list[str]:
    return [
        spread(rows[key], DECIMALS[name]) if (key := f"{split}/{name}") in rows else "-"
        for rows in kept.values()
        for split in ("val", "test")
    ]


TABLES = {"own_data": own_data}
