"""What the judge says of samples beside val, where only that is asked."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from cvae_lightning.core.shapes import Features, Labels
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.evaluators.samples import drawn, whole
from cvae_lightning.judging.classifier import Classifier
from cvae_lightning.judging.store import judge_for
from cvae_lightning.metrics.distances import frechet_distance
from cvae_lightning.runs.run import Run
from cvae_lightning.training.parts import local_data


class Val(NamedTuple):
    judge: Classifier
    features: Features
    labels: Labels


def val_of(datamodule: DataModule) -> Val:
    """Of a data module that was set up; the judge of its train split."""
    images, labels = whole(datamodule.val_dataloader())
    judge = judge_for(*datamodule.splits["train"], Path())
    return Val(judge, judge.read(images)[0], labels)


@torch.no_grad()
def judged(runs: Iterable[Run]) -> pd.DataFrame:
    """`val/fid_judge` and `val/accuracy` of samples with val's labels, a row a run; all runs have the same data."""
    rows, val = [], None
    for run in runs:
        if val is None:
            datamodule = local_data(run, {})
            datamodule.setup("fit")
            val = val_of(datamodule)
        torch.manual_seed(0)
        model: Any = run.model()
        features, read = val.judge.read(drawn(model, val.labels))
        right = (read == val.labels).double().mean()
        rows.append({"val/fid_judge": frechet_distance(val.features, features), "val/accuracy": float(right)})
    return pd.DataFrame(rows)
