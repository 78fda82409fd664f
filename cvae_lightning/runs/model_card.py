"""The model card of a run, its README.md: what the model is, how good it is, how to load it, and its limitations."""

import json
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import yaml

from cvae_lightning.core import plugins
from cvae_lightning.core.conditions import Condition, Number
from cvae_lightning.core.markdown import code, escaped, fenced
from cvae_lightning.evaluators.sample_quality import SAMPLES_PER_CLASS
from cvae_lightning.metrics.catalog import BESIDE, CATALOG, Metric, describe, doubt_of_judge
from cvae_lightning.runs.conditions import condition_of_data, condition_of_model
from cvae_lightning.runs.metrics_file import Metrics
from cvae_lightning.runs.summary import absences, cell, pixels, title_of
from cvae_lightning.runs.wording import columns, example_of, listed

PICTURES = {
    "samples": "Samples",
    "samples_2_7_9": "Samples of the classes 2, 7 and 9",
    "reconstructions": "Originals from val, and their reconstructions below them",
    "loss": "Loss on train and val",
}

LEAKS = 2  # if a linear probe reads this many times as many labels as the most frequent class has, the card says so
IMBALANCED = 3  # if a class has this many times as many training images as another, the card says so
SMALL = 1000  # if test has fewer images, the card says so
FID_OF_REAL_DIGITS = "about 1.2 with 100 per class"

CARD = """\
---
{metadata}---

# {title}

{description}

{samples}

## Numbers

{table}

Measured on {val:,} images of val and {test:,} of test. *Real images* is the value for as many images of train in place
of samples; for accuracy, for the images of the split itself.

{pictures}

## Data

Trained on the {train:,} images of train of {data}, and on none of val or test. SHA-256 of the list of its files, which
is in `metrics.json`: {sha256}

{images}

## Settings

{command}

{settings}

Trained in {seconds} s on {device} with torch {torch} and pytorch_lightning {pytorch_lightning}; commit {commit}.

## How to load it

```python
from cvae_lightning import Run{imported}

{trust}run = Run("path/to/this/folder")
images = run.sample({labels})  # {shape} in [0, 1]
model = run.model()  # checks the weights; no code in the folder is executed
```

In a shell:

```
python -m cvae_lightning.sample run=path/to/this/folder {labels_in_a_shell}{word}
python -m cvae_lightning.evaluate run=path/to/this/folder{word}
```

{without}

## Limitations

{limits}
"""

WEIGHTS_ALONE = """\
Without the package, the weights by name: `safetensors.torch.load_file("model.safetensors")`."""

CODE = """\
Without the package, with torch and safetensors alone. [model.py](model.py) is code, so read it before you run it:

```python
import torch
from model import decode, draw, encode, sample

images = sample({call})  # {shape} in [0, 1]
```

[preprocessing.json](preprocessing.json) says what the model takes: the shape and the range of its images, and the
labels in their order."""

ROUNDED = """\
The weights are rounded to float16, and computed with in float32. The numbers above were measured before that."""

HEADLINES = ("ssim", "mse", "fid_judge", "accuracy", "elbo", "nll_iw")  # of the metadata


class Hub(NamedTuple):
    """What the card of a folder for a model hub says beyond that of a run."""

    call: str
    """The argument of `sample` in model.py, for the example."""
    licence: str | None
    rounded: bool
    """Whether the weights were rounded to float16."""


def model_card(
    metrics: Metrics,
    config: dict[str, Any],
    overrides: Sequence[str] = (),
    pictures: Collection[str] = (),
    hub: Hub | None = None,
) -> str:
    """Markdown with a hub's metadata, from a run's metrics.json, configuration, and `pictures` in figures/."""
    condition, image_shape = condition_of_model(config["model"]), config["data"]["image_shape"]
    example = example_of(condition)
    modules = plugins.recorded_in(config)
    word = [plugins.word(modules)] if modules else []
    kind = "webp" if hub else "png"
    shown = {name: f"![{title}](figures/{name}.{kind})" for name, title in PICTURES.items() if name in pictures}
    return CARD.format(
        **{key: metrics["dataset"][key] for key in ("train", "val", "test")},
        **{key: escaped(str(metrics["environment"][key])) for key in ("device", "torch", "pytorch_lightning")},
        metadata=_metadata(metrics, hub),
        sha256=code(metrics["dataset"]["sha256"]),
        data=escaped(metrics["dataset"]["name"]),
        title=escaped(title_of(metrics)),
        description=_description(metrics, condition),
        samples=shown.pop("samples", ""),
        table="\n".join([*_table(metrics, config), *_absences(metrics)]),
        pictures="\n\n".join(shown.values()),
        command=fenced(_command([*overrides, *word])),
        settings=fenced("\n".join(_settings(metrics)), "yaml"),
        seconds=f"{metrics['time']['fit_seconds']:,.0f}",
        commit=escaped(str(metrics["environment"]["commit"] or "unknown")),
        images="\n".join(_images(metrics, condition, condition_of_data(config["data"]), image_shape)),
        labels=example.python,
        shape=(example.num, *image_shape),
        without=_without_package((example.num, *image_shape), hub),
        labels_in_a_shell=example.shell,
        word="".join(f" {shlex.quote(part)}" for part in word),
        imported=", trust" if modules else "",
        trust=f"{plugins.call(modules)}  # parts of the model are defined there\n" if modules else "",
        limits="\n".join(f"* {limit}" for limit in limits(metrics, config)),
    )


def _metadata(metrics: Metrics, hub: Hub | None) -> str:
    """The metadata for a model hub, as YAML with one line per value."""
    model, data = (" ".join(text.split()) for text in (metrics["model"], metrics["dataset"]["name"]))
    tags: dict[str, Any] = {"library_name": "cvae_lightning", "tags": [model, "image-generation"], "datasets": [data]}
    if hub:
        numbers = {name: metrics["test"].get(name) for name in HEADLINES}
        stated = [{"type": name, "value": value} for name, value in numbers.items() if value is not None]
        result = {"task": {"type": "image-generation"}, "dataset": {"name": data, "type": data, "split": "test"}}
        tags["model-index"] = [{"name": title_of(metrics), "results": [{**result, "metrics": stated}]}]
        tags |= {"license": hub.licence} if hub.licence else {}
    return yaml.safe_dump(tags, sort_keys=False, allow_unicode=True, width=float("inf"))


def _without_package(shape: Sequence[int], hub: Hub | None) -> str:
    """How to load the weights without this package: by name, or with the code of a folder for a model hub."""
    if not hub:
        return WEIGHTS_ALONE
    text = CODE.format(call=hub.call, shape=tuple(shape))
    return f"{text}\n\n{ROUNDED}" if hub.rounded else text


def _description(metrics: Metrics, condition: Condition) -> str:
    """What the model is, in three sentences."""
    kind = "conditional variational autoencoder" if condition else "variational autoencoder"
    return (
        f"A {kind}. It generates images{_requested(condition)} from {metrics['latent_dim']} latents. "
        f"It has {metrics['parameters']:,} parameters."
    )


def _requested(condition: Condition) -> str:
    """What can be asked of the images, as part of a sentence; empty if nothing."""
    if not condition:
        return ""
    if condition.is_one_class:
        return f" of a requested class, one of {condition.num_classes:,},"
    return f" with requested values of {listed([column.name for column in condition.columns])}"


def _images(metrics: Metrics, condition: Condition, data: Condition, image_shape: Sequence[int]) -> Iterator[str]:
    """What the images are, how many there are per class, and what they are labelled with."""
    counts = metrics["dataset"].get("images_per_class")
    few, many = (min(counts), max(counts)) if counts else (0, 0)
    of_each = f", {few:,} to {many:,} in each class" if few < many else f", {few:,} in each class" if few else ""
    yield f"The images have {pixels(image_shape)}{of_each}."
    if labelled := metrics.get("labelled"):
        yield f"Only {labelled:,} of them kept their class in the training (data.labelled)."
    if data:
        seen = "The model is conditioned on" if condition else "Their labels, which the model does not see"
        yield from (f"{seen}:", "", *(f"* {line}" for line in columns(condition or data)))
    if condition.may_be_unknown:
        yield from ("", "Images can be drawn without what may be unknown.")


def _table(metrics: Metrics, config: dict[str, Any]) -> Iterator[str]:
    """The rows of all metrics of val and test; floors and numbers of samples stand in the row of their metric."""
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
    """The reasons why metrics do not exist, as a Markdown list after an empty line; no lines if all exist."""
    lines = [f"* {escaped(line[0].upper() + line[1:])}." for line in absences(metrics)]
    return ["", *lines] if lines else []


def _samples(metric: Metric, metrics: Metrics, config: dict[str, Any]) -> str:
    """How many samples the metric was measured on; empty for a metric of something else."""
    if metric.name == "fid_pixel":
        return f"{config['evaluators']['grader']['samples_per_class']:,} per class"
    if metric.name.startswith("accuracy") and not metrics["val"].get("num_samples_accuracy"):
        return f"{SAMPLES_PER_CLASS:,} per class"  # a run of an earlier version, which does not state it
    counts = (numbers.get(metric.num_samples) for numbers in (metrics["val"], metrics["test"]))
    return ", ".join(dict.fromkeys(f"{count:,.0f}" for count in counts if count))


def _settings(metrics: Metrics) -> Iterator[str]:
    """The settings of the run as lines of YAML, without those that are null or none."""
    for key, value in metrics.items():
        plain = key not in ("schema", "weights_sha256") and not isinstance(value, dict)
        if plain and value not in (None, "None", "none"):
            plain_text = isinstance(value, str) and re.fullmatch(r"[\w .,:\[\]()-]+", value)
            yield f"{key}: {value if plain_text else json.dumps(value)}"


def _command(overrides: Sequence[str]) -> str:
    """The command that trains this run alone, even if it was part of a sweep."""
    given = [override for override in overrides if not override.startswith("+sweep=")]
    return shlex.join(["python", "-m", "cvae_lightning", *given])


def limits(metrics: Metrics, config: dict[str, Any]) -> Iterator[str]:
    """The limitations of the run, one per line."""
    val, data = metrics["val"], metrics["dataset"]
    num_classes, image_shape = condition_of_model(config["model"]).num_classes, config["data"]["image_shape"]
    name, size = escaped(data["name"]), pixels(image_shape)
    yield f"The model was trained on {name} only, {size}, and turns any other image into something similar."
    yield "Reconstructions and samples are means of the distribution of the pixels, so they are smoother than the data."
    yield "All numbers are for one seed; other seeds give other numbers."
    if 0 < data["test"] < SMALL:
        yield f"test has only {data['test']} images: one of them is {100 / data['test']:.1f} % of it."
    yield from _imbalance(metrics, config)
    if val.get("fid_pixel") is not None:
        real = f", which have {FID_OF_REAL_DIGITS}" if data["name"] == "mnist" else ""
        yield (
            "`fid_pixel`, and the Score with it, looks at each pixel separately: noise with the right mean and "
            f"variance in each pixel scores as well as real images{real}."
        )
    if doubt := doubt_of_judge(val) or doubt_of_judge(metrics["test"]):
        yield doubt
    if val.get("fid_judge") is not None:
        yield "Distances in a judge's features are comparable with others by the same judge, not with the usual FID."
    else:
        asked = ", or show the requested class" if num_classes else ""
        yield f"No number here says whether samples look like the data{asked}; `cvae_lightning.evaluate` measures it."
    yield _likelihoods(metrics, "grey levels" if image_shape[0] == 1 else "levels of colour")
    leak = val.get("label_leak")
    counts = data.get("images_per_class") or [1] * num_classes
    if num_classes and leak is not None and leak > LEAKS * max(counts) / sum(counts):
        yield (
            f"The latents contain the label: a linear probe reads {leak:.0%} of the labels from them, guessing the "
            f"most frequent class {max(counts) / sum(counts):.0%}. The same latents with another label may therefore "
            "not give another class."
        )
    active = val.get("active_units")
    if active is not None and active < metrics["latent_dim"]:
        unused = metrics["latent_dim"] - active
        yield f"{unused:.0f} of the {metrics['latent_dim']} latents carry no information on the image."


def _imbalance(metrics: Metrics, config: dict[str, Any]) -> Iterator[str]:
    """A warning of classes with far fewer training images than others, and of numbers that are drawn beyond these."""
    counts, condition = metrics["dataset"].get("images_per_class"), condition_of_data(config["data"])
    if counts and max(counts) > IMBALANCED * min(counts):
        few, many = counts.index(min(counts)), counts.index(max(counts))
        names = dict(enumerate(condition.class_names))
        rarest, commonest = (escaped(names.get(label, str(label))) for label in (few, many))
        drawn = "; data.balance drew all classes equally often" if config["data"].get("balance") else ""
        yield (
            f"The classes are imbalanced: train has {counts[few]:,} images of {rarest} and {counts[many]:,} of "
            f"{commonest}{drawn}. Rare classes are learned less well, and numbers over all images hide it."
        )
    if condition_of_model(config["model"]) and any(isinstance(column, Number) for column in condition.columns):
        yield "Numbers beyond those of the training images are not refused, but the model has never seen such images."


def _likelihoods(metrics: Metrics, levels: str) -> str:
    """What the likelihoods of this run are comparable with."""
    names = "`elbo`, `log_likelihood`" + (" and `nll_iw`" if "nll_iw" in metrics["val"] else "")
    if metrics["binarize"]:
        kind = escaped(str(metrics["binarize"]))
        return f"{names} are of black and white images ({kind}), and comparable only with others of such images."
    if metrics["likelihood"] == "bernoulli":
        return f"{names} are the usual cross-entropy of {levels}, which is not a likelihood."
    return f"{names} are log densities of {levels}, and not comparable with those of black and white images."
