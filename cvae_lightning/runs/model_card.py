"""The model card of a run, its README.md: what the model is, how good it is, how to load it, and its limitations."""

import json
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import yaml

from cvae_lightning.core.escaping import code, escaped, fenced
from cvae_lightning.evaluators.sample_quality import SAMPLES_PER_CLASS
from cvae_lightning.metrics.catalog import BESIDE, CATALOG, Metric, describe
from cvae_lightning.runs.metrics_file import Metrics
from cvae_lightning.runs.summary import absences, cell, title_of

PICTURES = {
    "samples": "Samples",
    "samples_2_7_9": "Samples of the classes 2, 7 and 9",
    "reconstructions": "Originals from val, and their reconstructions below them",
    "loss": "Loss on train and val",
}

CARD = """\
---
{metadata}---

# {title}

{description}

{samples}

## Numbers

{table}

On {val:,} images of val and {test:,} of test. *Real images* is what as many images of train get in the samples' place;
for accuracy, images of the split itself.

{pictures}

## Data

Trained on the {train:,} images of train of {data}, and on none of val or test. SHA-256 (of those of its files, which
`metrics.json` has): {sha256}

## Settings

{command}

{settings}

Trained in {seconds} s on {device} with torch {torch} and pytorch_lightning {pytorch_lightning}; commit {commit}.

## Loading it

```python
from cvae_lightning.runs.run import Run

run = Run("path/to/this/folder")
images = run.sample({labels})  # (3, 1, 28, 28) in [0, 1]
model = run.model()  # the weights are checked, and nothing in the folder is executed
```

The weights by name, without the package: `safetensors.torch.load_file("model.safetensors")`. In a shell:

```
python -m cvae_lightning.sample run=path/to/this/folder {labels_in_a_shell}
python -m cvae_lightning.evaluate run=path/to/this/folder
```

## Limits

{limits}
"""


def model_card(
    metrics: Metrics, config: dict[str, Any], overrides: Sequence[str] = (), pictures: Collection[str] = ()
) -> str:
    """Markdown with a hub's metadata, from a run's metrics.json, configuration, and `pictures` in figures/."""
    num_classes = config["model"].get("num_classes", 0)
    shown = {name: f"![{title}](figures/{name}.png)" for name, title in PICTURES.items() if name in pictures}
    return CARD.format(
        **{key: metrics["dataset"][key] for key in ("train", "val", "test")},
        **{key: escaped(str(metrics["environment"][key])) for key in ("device", "torch", "pytorch_lightning")},
        metadata=_metadata(metrics),
        sha256=code(metrics["dataset"]["sha256"]),
        data=escaped(metrics["dataset"]["name"]),
        title=escaped(title_of(metrics)),
        description=_description(metrics, num_classes),
        samples=shown.pop("samples", ""),
        table="\n".join([*_table(metrics, config), *_absences(metrics)]),
        pictures="\n\n".join(shown.values()),
        command=fenced(_command(overrides)),
        settings=fenced("\n".join(_settings(metrics)), "yaml"),
        seconds=f"{metrics['time']['fit_seconds']:,.0f}",
        commit=escaped(str(metrics["environment"]["commit"] or "unknown")),
        labels="[2, 7, 9]" if num_classes else "num=3",
        labels_in_a_shell="'labels=[2,7,9]'" if num_classes else "num=3",
        limits="\n".join(f"* {limit}" for limit in limits(metrics, num_classes)),
    )


def _metadata(metrics: Metrics) -> str:
    """What a hub reads, as YAML in which each value keeps to its line."""
    model, data = (" ".join(text.split()) for text in (metrics["model"], metrics["dataset"]["name"]))
    tags = {"library_name": "cvae_lightning", "tags": [model, "image-generation"], "datasets": [data]}
    return yaml.safe_dump(tags, sort_keys=False, allow_unicode=True, width=float("inf"))


def _description(metrics: Metrics, num_classes: int) -> str:
    kind = "conditional variational autoencoder" if num_classes else "variational autoencoder"
    asked = f" of the class that is asked for, one of {num_classes}" if num_classes else ""
    coded = f"codes an image as {metrics['latent_dim']} numbers"
    return f"A {kind}. It draws images{asked}, and {coded}. It has {metrics['parameters']:,} parameters."


def _table(metrics: Metrics, config: dict[str, Any]) -> Iterator[str]:
    """All numbers of val and test; what belongs to a number stands in its row."""
    val, test = metrics["val"], metrics["test"]
    yield "| | val | real images | test | real images | samples | |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for metric in map(describe, dict.fromkeys([*(name for name in CATALOG if name in val), *val])):
        if metric.name not in BESIDE and (val[metric.name], test[metric.name]) != (None, None):
            pairs = [cell(key, split.get(key), "") for split in (val, test) for key in (metric.name, metric.floor)]
            unit = f", in {metric.unit}" if metric.unit else ""
            cells = [code(metric.name), *pairs, _samples(metric, metrics, config), f"{metric.description}{unit}"]
            yield f"| {' | '.join(cells)} |"


def _absences(metrics: Metrics) -> list[str]:
    """The lines of a list of what the table lacks, set off by an empty one; none where it lacks nothing."""
    lines = [f"* {escaped(line[0].upper() + line[1:])}." for line in absences(metrics)]
    return ["", *lines] if lines else []


def _samples(metric: Metric, metrics: Metrics, config: dict[str, Any]) -> str:
    """How many samples the metric was measured on; empty for a metric of something else."""
    if metric.name == "fid_pixel":
        return f"{config['evaluators']['grader']['samples_per_class']:,} per class"
    if metric.name.startswith("accuracy"):
        return f"{SAMPLES_PER_CLASS:,} per class"
    counts = (numbers.get(metric.num_samples) for numbers in (metrics["val"], metrics["test"]))
    return ", ".join(dict.fromkeys(f"{count:,.0f}" for count in counts if count))


def _settings(metrics: Metrics) -> Iterator[str]:
    for key, value in metrics.items():
        plain = key not in ("schema", "weights_sha256") and not isinstance(value, dict)
        if plain and value not in (None, "None", "none"):
            plain_text = isinstance(value, str) and re.fullmatch(r"[\w .,:\[\]()-]+", value)
            yield f"{key}: {value if plain_text else json.dumps(value)}"


def _command(overrides: Sequence[str]) -> str:
    """That of the run alone, also where it was one of a sweep."""
    given = [override for override in overrides if not override.startswith("+sweep=")]
    return shlex.join(["python", "-m", "cvae_lightning", *given])


LEAKS = 2  # times as many labels as guessing reads
SMALL = 1000  # images of a split
REAL_DIGITS = "which have about 1.2 with 100 a class"


def limits(metrics: Metrics, num_classes: int) -> Iterator[str]:
    """Sentences that hold for the run with this metrics.json; its model tells `num_classes` classes apart."""
    val, data = metrics["val"], metrics["dataset"]
    name = escaped(data["name"])
    yield f"It has seen {name} alone, 28x28 grey pixels, and makes whatever it is given into the like of them."
    yield "Reconstructions and samples are means of the pixels' distribution: smoother than the data."
    yield "The numbers are those of one seed; others differ."
    if 0 < data["test"] < SMALL:
        yield f"test has {data['test']} images: one of them is {100 / data['test']:.1f} % of it."
    if val.get("fid_pixel") is not None:
        yield (
            "`fid_pixel`, and the scores with it, look at each pixel by itself: noise with the right mean and variance "
            "in each does as well as real images" + (f", {REAL_DIGITS}." if data["name"] == "mnist" else ".")
        )
    if val.get("fid_judge") is not None:
        yield "Distances in a judge's features compare with others by this judge, not with the usual FID."
    else:
        asked = ", or like the class that was asked for" if num_classes else ""
        yield f"No number here says whether samples look like the data{asked}: `cvae_lightning.evaluate` measures it."
    yield _of_likelihoods(metrics)
    leak = val.get("label_leak")
    if num_classes and leak is not None and leak > LEAKS / num_classes:
        yield (
            f"The latents tell the label: a linear probe reads {leak:.0%} of them, by guessing {1 / num_classes:.0%}. "
            "Another label with the same latents need not give another class."
        )
    active = val.get("active_units")
    if active is not None and active < metrics["latent_dim"]:
        yield f"{metrics['latent_dim'] - active:.0f} of the {metrics['latent_dim']} latents say nothing of the image."


def _of_likelihoods(metrics: Metrics) -> str:
    names = "`elbo`, `log_likelihood`" + (" and `nll_iw`" if "nll_iw" in metrics["val"] else "")
    if metrics["binarize"]:
        kind = escaped(str(metrics["binarize"]))
        return f"{names} are of black and white images ({kind}), and compare with others of these alone."
    if metrics["likelihood"] == "bernoulli":
        return f"{names} are a customary cross-entropy of grey levels, and no likelihoods."
    return f"{names} are of densities of grey levels, and do not compare with those of black and white images."
