"""What a person at the terminal reads at the end of a run."""

from collections.abc import Mapping
from pathlib import Path

from cvae_lightning.core.shell import command_line, path_argument
from cvae_lightning.runs.metrics_file import Metrics
from cvae_lightning.runs.paper import best_run, same_settings

ROWS = {
    "ssim": "SSIM",
    "mse": "MSE",
    "fid_pixel": "fid_pixel",
    "score": "Score",
    "score_uncapped": "Score, uncapped",
    "elbo": "ELBO (nats)",
    "log_likelihood": "  log-likelihood",
    "kl": "  KL",
}
ROWS_OF_THE_FULL_EVALUATION = {
    "mse_pca": "MSE of PCA",
    "nll_iw": "NLL, IW (nats)",
    "nll_iw_samples": "  with samples",
    "active_units": "active latents",
    "label_leak": "label leak",
    "fid_judge": "fid_judge",
    "fid_judge_floor": "  real images",
    "kid_judge": "kid_judge",
    "kid_judge_floor": "  real images",
    "precision": "precision",
    "precision_floor": "  real images",
    "recall": "recall",
    "recall_floor": "  real images",
    "num_samples": "  samples",
    "fid_inception": "fid_inception",
    "fid_inception_floor": "  real images",
    "num_samples_inception": "  samples",
    "accuracy": "accuracy",
    "accuracy_low": "  95 %, from",
    "accuracy_high": "  to",
    "accuracy_worst_class": "  worst class",
    "accuracy_real": "  real images",
}


def summary(metrics: Metrics) -> str:
    """A run's metrics.json as one table, beside the paper's numbers where they compare.

    `real images` is what images of the train split reach in the samples' place; below accuracy, those of the split.
    Below the table stands what does not exist, and why.
    """
    columns: dict[str, Mapping[str, float | None]] = {
        "val": metrics["val"],
        "test": metrics["test"],
        "paper, same settings": same_settings(metrics),
        "paper, best run": best_run(metrics),
    }
    columns = {title: values for title, values in columns.items() if values}
    widths = [max(12, len(title) + 3) for title in columns]
    head = "".join(f"{title:>{width}}" for title, width in zip(columns, widths, strict=True))
    lines = [title_of(metrics), "", f"{'':17}{head}"]
    for key, name in {**ROWS, **ROWS_OF_THE_FULL_EVALUATION}.items():
        if not any(key in values for values in columns.values()):
            continue
        cells = (cell(values.get(key)) for values in columns.values())
        lines.append(f"{name:17}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    return "\n".join([*lines, *absences(metrics)])


def absences(metrics: Metrics) -> list[str]:
    """A line for each reason why metrics do not exist, with their names; the split where only one of them lacks it."""
    names: dict[str, list[str]] = {}
    for key, reason in metrics["absent"].items():
        names.setdefault(reason, []).append(key)
    lines = []
    for reason, keys in names.items():
        in_both = {f"{split}/{key.partition('/')[2]}" for key in keys for split in ("val", "test")} == set(keys)
        shown = dict.fromkeys(key.partition("/")[2] for key in keys) if in_both else keys
        lines.append(f"without {', '.join(shown)}: {reason}")
    return lines


def title_of(metrics: Metrics) -> str:
    """What was run, in one line."""
    return (
        f"{metrics['model']} ({metrics['network']}) on {metrics['dataset']['name']}: epochs {metrics['epochs']}, "
        f"latent_dim {metrics['latent_dim']}, lr {metrics['lr']:g}, batch_size {metrics['batch_size']}, "
        f"seed {metrics['seed']}"
    )


def one_line(metrics: Metrics) -> str:
    """A run's metrics.json in a line, for a sweep."""
    val = ", ".join(
        f"{ROWS[key]} {cell(metrics['val'].get(key))}" for key in ("ssim", "mse", "fid_pixel", "score_uncapped")
    )
    return f"val {val} ({metrics['time']['fit_seconds']:.0f} s of training)"


def next_commands(run_dir: Path) -> str:
    """Where the run in `run_dir` is read, and three commands to try on it."""
    run = path_argument("run", run_dir)
    commands = {
        f"{command_line('sample')} {run}": "draws new images",
        f"{command_line('export')} {run} format=html": "makes a page to explore the latents in",
        f"{command_line('evaluate')} {run}": "measures all that can be measured",
    }
    width = max(map(len, commands))
    lines = [f"  {command:{width}}  # {use}" for command, use in commands.items()]
    return "\n".join([f"The run is in {run_dir}; README.md there is its card.", "Next:", *lines])


def cell(value: float | None, missing: str = "-") -> str:
    if value is None:
        return missing
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.2f}" if value % 1 else f"{value:.0f}"
