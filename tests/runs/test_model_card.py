"""The model card of a run has the numbers of its files, and no sentence that is false for the run."""

import copy
import json
import re
import shlex
from typing import Any

import pytest
import yaml
from helpers import MakeRun, Stop, composed, metrics_of_a_run
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_data import KINDS
from omegaconf import OmegaConf

from cvae_lightning.core.conditions import Classes, Condition
from cvae_lightning.metrics.catalog import BESIDE, CATALOG
from cvae_lightning.runs.model_card import model_card
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.wording import example_of
from cvae_lightning.training.train import train

NUMBERS: dict[str, float | None] = dict.fromkeys(CATALOG, 0.5)
NUMBERS |= {"fid_judge": 0.0862, "fid_judge_floor": 0.0257, "num_samples": 10000.0, "accuracy_real": 0.9963}
NUMBERS |= {
    "num_samples_accuracy": 10000.0,
    "label_leak": 0.82,
    "active_units": 17.0,
    "nll_iw_samples": 100.0,
    "fid_inception": None,
    "new": 0.123,
}
METRICS = metrics_of_a_run(val=NUMBERS, test={**NUMBERS, "fid_judge": 0.0991})


def card(*overrides: str, **changes: Any) -> str:
    metrics = copy.deepcopy(METRICS)
    for key, value in changes.items():
        if isinstance(value, dict):
            metrics[key] |= value
        else:
            metrics[key] = value
    config: Any = OmegaConf.to_container(composed(*(word for word in overrides if "=" in word)), resolve=True)
    return model_card(metrics, config, overrides, ["samples", "loss"])


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}`")]
    return [cell.strip() for cell in line.strip("|").split("|")[1:-1]]


def test_a_metric_has_its_floor_and_its_number_of_samples_beside_it() -> None:
    text = card()
    assert row(text, "fid_judge") == ["0.0862", "0.0257", "0.0991", "0.0257", "10,000"]
    assert row(text, "accuracy") == ["0.5000", "0.9963", "0.5000", "0.9963", "10,000"]
    assert row(text, "fid_pixel") == ["0.5000", "", "0.5000", "", "100 per class"]
    assert row(text, "active_units")[0] == "17"
    assert row(text, "nll_iw")[-1] == "100"


def test_each_number_that_was_measured_has_one_place() -> None:
    text = card()
    shown = re.findall(r"^\| `(\w+)`", text, re.MULTILINE)
    assert sorted(shown) == sorted(name for name in NUMBERS if name not in BESIDE and name != "fid_inception")
    assert "new" in shown, "an evaluator of which the card knows nothing"


def test_hidden_classes_are_named() -> None:
    assert "kept their class" not in card()
    assert "Only 1,000 of them kept their class in the training (data.labelled)." in card(labelled=1000)


def test_what_a_hub_reads_is_valid() -> None:
    front = yaml.safe_load(card().split("---\n")[1])
    assert front == {"library_name": "cvae_lightning", "tags": ["cvae", "image-generation"], "datasets": ["mnist"]}


def test_settings_and_command_can_be_typed_again() -> None:
    text = card("epochs=10", "network.hidden=[400,400]", "+sweep=seeds")
    assert "python -m cvae_lightning epochs=10 'network.hidden=[400,400]'\n" in text
    settings = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    assert {key: str(value) for key, value in settings.items()} == {key: str(METRICS[key]) for key in settings}
    assert {"model", "lr", "variance", "parameters"} <= settings.keys()
    assert "binarize" not in settings
    assert "474311ef" in text


LIMITS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("reads 82% of the labels from them, guessing the most frequent class", {}, {"val": {"label_leak": 0.11}}),
    ("guessing the most frequent class 40%", {"dataset": {"images_per_class": [4] + [1] * 6}}, {}),
    ("3 of the 20 latents", {}, {"val": {"active_units": 20.0}}),
    ("noise with the right mean", {}, {"val": {"fid_pixel": None}}),
    ("about 1.2", {}, {"dataset": {"name": "kmnist"}}),
    ("one of them is 0.4 %", {"dataset": {"test": 257}}, {}),
    ("a judge's features", {}, {"val_lacks": "fid_judge"}),
    ("No number here says", {"val_lacks": "fid_judge"}, {}),
    ("is not a likelihood", {"likelihood": "bernoulli"}, {"likelihood": "bernoulli", "binarize": "dynamic"}),
    ("black and white images (dynamic)", {"binarize": "dynamic"}, {}),
    ("densities of grey levels", {}, {"likelihood": "bernoulli"}),
]


@pytest.mark.parametrize(("sentence", "true_for", "false_for"), LIMITS, ids=[limit[0] for limit in LIMITS])
def test_a_limitation_is_stated_where_it_holds_and_only_there(
    sentence: str, true_for: dict[str, Any], false_for: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for changes, holds in ((true_for, True), (false_for, False)):
        numbers = {name: value for name, value in NUMBERS.items() if name != changes.get("val_lacks")}
        monkeypatch.setitem(METRICS, "val", numbers)
        text = card(**{key: value for key, value in changes.items() if key != "val_lacks"})
        assert (sentence in text.partition("## Limitations")[2]) is holds


def test_an_unconditional_model_has_no_labels_in_its_card() -> None:
    nothing = {"fid_pixel": None, "accuracy": None}
    text = card("model=vae", model="vae", val=nothing, test=nothing)
    assert "A variational autoencoder. It generates images from 20 latents" in text
    assert "labels=" not in text
    assert "The latents contain the label" not in text, "there is none to contradict"
    assert "`accuracy`" not in text


@pytest.mark.parametrize("model", ["cvae", "vae"])
def test_what_the_card_says_of_loading_works(make_run: MakeRun, model: str) -> None:
    run = make_run("run", f"model={model}", "epochs=1")
    train(run)
    text = (run.path / "README.md").read_text()
    names: dict[str, Any] = {}
    exec(re.sub("path/to/this/folder", str(run.path), text.partition("```python\n")[2].partition("```")[0]), names)
    assert names["images"].shape == (3, 1, 28, 28)
    assert text == model_card(
        run.metrics, run.config, run.overrides, {path.stem for path in run.path.glob("figures/*")}
    )


def test_the_card_is_there_before_the_run_counts_as_complete(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("run", "epochs=1")

    def write_result(self: Run, *_: Any) -> None:
        assert (self.path / "README.md").exists()
        assert not self.complete
        raise Stop

    monkeypatch.setattr(Run, "write_result", write_result)
    with pytest.raises(Stop):
        train(run)


def described(kind: str, *overrides: str, **changes: Any) -> str:
    """The card of a run on one of the data sets of labelled_data."""
    shape, condition = KINDS[kind]
    config: Any = OmegaConf.to_container(composed(*overrides), resolve=False)
    config["data"] |= {"image_shape": list(shape), "condition": condition.described()}
    resolved: Any = OmegaConf.to_container(OmegaConf.create(config), resolve=True)
    return model_card(metrics_of_a_run(dataset={"name": kind, **changes}, val=NUMBERS, test=NUMBERS), resolved)


CARDS: dict[str, list[str]] = {
    "birds": [
        "images of a requested class, one of 2,",
        "The images have 32x32 colour pixels.",
        "* `species`: one of 2 classes: Long-tailed tit (Aegithalos caudatus), Great spotted woodpecker",
        'run.sample(["Long-tailed tit (Aegithalos caudatus)", "Great spotted woodpecker"])  # (2, 3, 32, 32) in [0, 1]',
        "log densities of levels of colour",
        "only, 32x32 colour pixels, and turns",
    ],
    "many": ["one of 40 classes: class 0,", "class 19 and 20 more", "'labels=[class 0,class 1,class 2]'"],
    "turned": [
        "images with requested values of digit, angle from 20 latents",
        "* `angle`: a number, from -45 to 45 in the training images (mean 0, standard deviation 26)",
        'run.sample({"digit": 0, "angle": 0.0}, num=3)  # (3, 1, 28, 28)',
        "'condition={digit: 0, angle: 0.0}' num=3",
        "Numbers beyond those of the training images",
    ],
    "half": [
        "* `digit`: one of 3 classes: 0, 1, 2; may be unknown",
        "Images can be drawn without what may be unknown.",
    ],
    "flags": ["* `parts`: any of 3 flags: red, large, two", "condition={parts: [red]}"],
}


@pytest.mark.parametrize("kind", CARDS)
def test_the_card_says_what_the_images_are_and_what_there_is_to_ask_for(kind: str) -> None:
    text = described(kind)
    assert not [words for words in CARDS[kind] if words not in text]
    assert "28x28 grey" not in text or kind in ("many", "turned")


def test_a_model_that_learned_without_labels_needs_none() -> None:
    assert "may be unknown" not in described("birds")
    assert "Great spotted woodpecker; may be unknown" in described("birds", "model.label_dropout=0.1")


def test_a_vae_says_which_labels_it_does_not_see() -> None:
    text = described("birds", "model=vae")
    assert "Their labels, which the model does not see:" in text
    assert "run.sample(num=3)  # (3, 3, 32, 32)" in text
    nothing = described("nothing", "model=vae")
    assert "labels" not in nothing.partition("## Data")[2].partition("## Settings")[0]


def test_imbalanced_classes_are_pointed_out() -> None:
    text = described("birds", images_per_class=[12, 3000])
    assert "The images have 32x32 colour pixels, 12 to 3,000 in each class." in text
    assert "train has 12 images of Long-tailed tit (Aegithalos caudatus) and 3,000 of Great spotted woodpecker." in text
    balanced = described("birds", "data.balance=true", images_per_class=[12, 3000])
    assert "3,000 of Great spotted woodpecker; data.balance drew all classes equally often." in balanced
    assert "imbalanced" not in described("birds", images_per_class=[1200, 3000])
    assert "32x32 colour pixels, 5 in each class." in described("birds", images_per_class=[5, 5])


@settings(deadline=None, max_examples=300)
@given(st.lists(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1), min_size=1, max_size=3))
def test_the_labels_of_an_example_are_read_as_they_are_written(names: list[str]) -> None:
    """By a shell, then by Hydra."""
    stripped = list(dict.fromkeys(filter(None, (" ".join(name.split()) for name in names)))) or ["a"]
    example = example_of(Condition((Classes("species", tuple(stripped)),)))
    (override,) = OverridesParser.create().parse_overrides(shlex.split(example.shell))
    values: Any = override.value()
    assert [str(value) for value in values] == stripped
    assert json.loads(example.python) == stripped
    assert example.num == len(stripped)
