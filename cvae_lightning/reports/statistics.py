"""Statistics of a sweep: means over seeds, ranks, agreement with the paper, and warnings about incomparable runs."""

import pandas as pd

from cvae_lightning.metrics.catalog import Better, describe
from cvae_lightning.reports.sweep_frame import metric_columns, setting_columns

MUST_NOT_VARY = {
    "dataset": "data sets",
    "dataset_sha256": "files of the data set",
    "torch": "versions of torch",
    "pytorch_lightning": "versions of pytorch_lightning",
    "device": "devices",
    "threads": "numbers of threads",
    "commit": "commits",
    "objective": "objectives",
}


def objective_of(frame: pd.DataFrame) -> str:
    """The val metric by which the sweep chooses its best run. It is never a test metric."""
    objectives = [key for key in frame["objective"].dropna() if key.startswith("val/")]
    return objectives[0] if objectives else "val/score_uncapped"


def title_of(metric: str) -> str:
    """The title of a column, such as "val SSIM" for val/ssim."""
    return f"{metric.rpartition('/')[0]} {describe(metric).label}".strip()


def ranked(frame: pd.DataFrame, objective: str) -> pd.DataFrame:
    """The rows in which the objective exists, best first."""
    if objective not in frame:
        return frame.iloc[:0]
    lower_first = describe(objective).better is Better.LOWER
    return frame.dropna(subset=[objective]).sort_values(objective, ascending=lower_first, kind="stable")


def over_seeds(frame: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Return one row per family of complete runs that differ only in the seed, best first.

    The columns are `run` and `n`, the names and the number of the runs; the settings that they share; the mean of each
    metric and of the seconds of training; and <metric>/sd, the sample standard deviation, empty for a single run.
    `difference` is the mean test Score minus the paper's.
    """
    complete = frame[frame["status"] == "complete"]
    complete = complete.drop_duplicates(["family", "seed"])  # a run that was repeated counts once
    groups = complete.groupby("family", sort=True)
    settings = [key for key in setting_columns(frame) if key != "seed"]
    metrics = metric_columns(frame)
    rows = pd.concat(
        [
            groups["run"].agg(", ".join),
            groups.size().rename("n"),
            groups[settings].first(),
            groups[[*metrics, "paper_score", "fit_seconds"]].mean(),
            groups[metrics].std(ddof=1).add_suffix("/sd"),
        ],
        axis="columns",
    ).copy()  # pandas warns about a frame that was put together column by column
    rows["difference"] = rows["test/score"] - rows["paper_score"] if "test/score" in rows else float("nan")
    return ranked(rows, objective)


def beside_the_paper(families: pd.DataFrame) -> pd.DataFrame:
    """The rows for settings that the paper has too, ordered by its Score."""
    return families.dropna(subset=["paper_score"]).sort_values("paper_score", ascending=False, kind="stable")


def rank_correlation(ours: pd.Series, theirs: pd.Series) -> float:
    """Spearman's rank correlation; nan for fewer than three rows, for which it is meaningless."""
    return float(ours.rank().corr(theirs.rank())) if len(ours) > 2 else float("nan")


def agreement(beside: pd.DataFrame) -> str:
    """A sentence on how our Scores agree with the paper's; empty if there is no row to compare."""
    if beside.empty:
        return ""
    correlation = rank_correlation(beside["test/score"], beside["paper_score"])
    ranks = "" if pd.isna(correlation) else f"rank correlation {correlation:.3f}, "
    rows = "1 row" if len(beside) == 1 else f"{len(beside)} rows"
    return (
        f"{rows} beside the paper's: {ranks}mean absolute difference {beside['difference'].abs().mean():.2f} "
        f"(mean {beside['difference'].mean():+.2f}) in the test Score."
    )


def varying(frame: pd.DataFrame, columns: list[str]) -> list[str]:
    """The columns in which the rows differ; `experiment` only if the others do not distinguish all rows."""
    differing = [key for key in columns if frame[key].nunique(dropna=False) > 1]
    without = [key for key in differing if key != "experiment"]
    return without if without and not frame.duplicated(subset=without).any() else differing


def warnings(frame: pd.DataFrame, objective: str) -> list[str]:
    """Sentences about differences between the complete runs that make their numbers incomparable."""
    complete = frame[frame["status"] == "complete"]
    found = []
    for key, title in MUST_NOT_VARY.items():
        counts = complete[key].value_counts(sort=False)
        if len(counts) > 1:
            values = ", ".join(f"{short(key, value)} ({number} of the runs)" for value, number in counts.items())
            found.append(f"Different {title}: {values}.")
    if len(complete) and (objective not in complete or complete[objective].isna().all()):
        found.append(f"No run has {objective}, so no run is the best; `absent` in metrics.json has the reason.")
    if "score" in objective and complete["model"].nunique() > 1:
        found.append("Different models: the Score of a VAE and that of a CVAE are different formulas.")
    return found


def short(key: str, value: object) -> str:
    """A value as text; digests and commits are cut to their first characters."""
    text = str(value)
    if key == "commit":
        return text[:7] + ("-dirty" if text.endswith("-dirty") else "")
    return text[:12] if key == "dataset_sha256" else text
