"""What a person at the terminal reads at the end of a run."""

from pathlib import Path
from typing import Any

from cvae_lightning.report_numbers import best_run, same_settings

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
    "fid_digit": "fid_digit",
    "fid_digit_floor": "  real images",
    "kid_digit": "kid_digit",
    "kid_digit_floor": "  real images",
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


def summary(metrics: dict[str, Any]) -> str:
    """A run's metrics.json as one table, beside the report's numbers where they compare.

    `real images` is what images of the train split come to in the samples' place; below accuracy, those of the split.
    """
    columns = {
        "val": metrics["val"],
        "test": metrics["test"],
        "report, same settings": same_settings(metrics),
        "report, best run": best_run(metrics),
    }
    columns = {title: values for title, values in columns.items() if values}
    widths = [max(12, len(title) + 3) for title in columns]
    head = "".join(f"{title:>{width}}" for title, width in zip(columns, widths, strict=True))
    lines = [title_of(metrics), "", f"{'':17}{head}"]
    for key, name in {**ROWS, **ROWS_OF_THE_FULL_EVALUATION}.items():
        if not any(key in values for values in columns.values()):
            continue
        cells = (_cell(values.get(key)) for values in columns.values())
        lines.append(f"{name:17}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    return "\n".join(lines)


def title_of(metrics: dict[str, Any]) -> str:
    settings = ", ".join(f"{key} {metrics[key]:g}" for key in ("epochs", "latent_dim", "lr", "batch_size", "seed"))
    return f"{metrics['model']} ({metrics['network']}) on {metrics['dataset']['name']}: {settings}"


def one_line(metrics: dict[str, Any]) -> str:
    """A run's metrics.json in a line, for a sweep."""
    val = ", ".join(
        f"{ROWS[key]} {_cell(metrics['val'].get(key))}" for key in ("ssim", "mse", "fid_pixel", "score_uncapped")
    )
    return f"val {val} ({metrics['time']['fit_seconds']:.0f} s of training)"


def next_commands(run_dir: Path) -> str:
    """What to try after a run in `run_dir`."""
    return "\n".join(
        [
            f"The run is in {run_dir}: pictures in figures/, numbers in metrics.json.",
            "Next:",
            f"  python -m cvae_lightning.evaluate run={run_dir}",
            f"  tensorboard --logdir {run_dir.parent}",
            "  python -m cvae_lightning -m lr=0.001,0.002,0.005 latent_dim=10,15,20",
        ]
    )


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.2f}" if value % 1 else f"{value:.0f}"
