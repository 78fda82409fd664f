"""Text for the terminal: the metrics of a run, and what to do next with it."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from cvae_lightning.core.shell import command_line, path_argument
from cvae_lightning.metrics.catalog import BESIDE, CATALOG, describe, doubt_of_judge
from cvae_lightning.runs.metrics_file import Metrics
from cvae_lightning.runs.paper import best_run, same_settings

IN_ONE_LINE = ("ssim", "mse", "fid_pixel", "score_uncapped")


def summary(metrics: Metrics) -> str:
    """The metrics of a run as one table, with the numbers of the paper if the run is comparable.

    Below a metric of samples, the row `real images` has its value for images of train in place of samples (for
    accuracy, for images of the split), and the row `samples` says how many it was measured on. The lines after the
    table name the metrics that do not exist, with the reasons. A last line warns of a judge that is too weak.
    """
    columns: dict[str, Mapping[str, float | None]] = {
        "val": metrics["val"],
        "test": metrics["test"],
        "paper, same settings": same_settings(metrics),
        "paper, best run": best_run(metrics),
    }
    columns = {title: values for title, values in columns.items() if values}
    names = dict.fromkeys(name for values in columns.values() for name in values)
    rows = _rows(names)
    first = max(17, *map(len, rows.values()))
    widths = [max(12, len(title) + 3) for title in columns]
    lines = [title_of(metrics), "", " " * first + "".join(map(str.rjust, columns, widths))]
    for name, label in rows.items():
        cells = [cell(name, values.get(name)) for values in columns.values()]
        lines.append(f"{label:{first}}" + "".join(map(str.rjust, cells, widths)))
    doubt = doubt_of_judge(metrics["val"]) or doubt_of_judge(metrics["test"])
    return "\n".join([*lines, *absences(metrics), *([f"WARNING: {doubt}"] if doubt else [])])


def _rows(names: Collection[str]) -> dict[str, str]:
    """The label of the row of each name, in the order of the catalog; names that it lacks come last."""
    rows: dict[str, str] = {}
    for metric in map(describe, dict.fromkeys([*CATALOG, *names])):
        if metric.name not in BESIDE:
            rows[metric.name] = metric.label
            rows[metric.floor] = "  real images"
            rows.pop(metric.num_samples, None)  # moved below the last of the metrics that share it
            rows[metric.num_samples] = "  samples"
    return {name: label for name, label in rows.items() if name in names}


def absences(metrics: Metrics) -> list[str]:
    """One line per reason why metrics do not exist, with their names, and the split if only one lacks them."""
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
    """The model, the data set and the main settings of a run, in one line."""
    return (
        f"{metrics['model']} ({metrics['network']}) on {metrics['dataset']['name']}: epochs {metrics['epochs']}, "
        f"latent_dim {metrics['latent_dim']}, lr {metrics['lr']:g}, batch_size {metrics['batch_size']}, "
        f"seed {metrics['seed']}"
    )


def one_line(metrics: Metrics) -> str:
    """A run's metrics on val in one line, for a sweep; those that do not exist are left out."""
    values = {name: metrics["val"].get(name) for name in IN_ONE_LINE}
    measured = [(describe(name).label, cell(name, value)) for name, value in values.items() if value is not None]
    val = ", ".join(map(" ".join, measured))
    return f"val {val} ({metrics['time']['fit_seconds']:.0f} s of training)"


def next_commands(run_dir: Path) -> str:
    """Text that says where the run is, and suggests three commands."""
    run = path_argument("run", run_dir)
    commands = {
        f"{command_line('sample')} {run}": "draws new images",
        f"{command_line('export')} {run} format=html": "makes a page to explore the latent space",
        f"{command_line('evaluate')} {run}": "measures every metric",
    }
    width = max(map(len, commands))
    lines = [f"  {command:{width}}  # {use}" for command, use in commands.items()]
    return "\n".join([f"The run is in {run_dir}; README.md there is its model card.", "Next:", *lines])


def pixels(image_shape: Sequence[int]) -> str:
    """Size and colour of images of this shape (channels, height, width), such as "28x28 grey pixels"."""
    channels, height, width = image_shape
    match channels:
        case 1:
            return f"{height}x{width} grey pixels"
        case 3:
            return f"{height}x{width} colour pixels"
    return f"{height}x{width} pixels of {channels} channels"


def cell(name: str, value: float | None, missing: str = "-") -> str:
    """The value of a metric as text."""
    if value is None:
        return missing
    if describe(name).whole:
        return f"{value:.0f}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.2f}"
