"""Small and uneven data: a run completes, or is refused before its first step; no number is ever nan."""

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import MakeRun, composed
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cvae_lightning.core.errors import UserError
from cvae_lightning.data.sources import ReadOnce
from cvae_lightning.data.splits import Split, split_off
from cvae_lightning.evaluators import sample_quality
from cvae_lightning.evaluators.conditions import ConditionQuality
from cvae_lightning.judging import classifier
from cvae_lightning.judging import store as judge_files
from cvae_lightning.reports.writing import write_report
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.summary import summary
from cvae_lightning.runs.sweep import Sweep, chosen_run
from cvae_lightning.training import parts
from cvae_lightning.training.train import train

NUM_CLASSES = 12
SHARED_FIXTURE = [HealthCheck.function_scoped_fixture]  # which names a new directory for each run


class InMemory:
    """A data set as its files would be: training images, of which a sixth is val, and test images."""

    name = "in_memory"

    def __init__(self, labels: list[int], test_labels: list[int]) -> None:
        self.digests = {"in_memory": str(labels + test_labels)}
        self.fit, self.test = (self._split(torch.tensor(part, dtype=torch.long)) for part in (labels, test_labels))

    @staticmethod
    def _split(labels: torch.Tensor) -> Split:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randint(128, (len(labels), 1, 28, 28), generator=generator)
        return Split((noise + 10 * labels[:, None, None, None]).byte(), labels)

    def prepare(self) -> None: ...

    def fit_splits(self) -> tuple[Split, Split]:
        return split_off(self.fit, 1 / 6, 0)

    def test_split(self) -> Split:
        return self.test


@functools.cache
def configured(*overrides: str) -> Any:
    """Every evaluator, for little work."""
    small = [
        "epochs=1",
        "latent_dim=2",
        "network.hidden=[8]",
        f"data.condition={{label:{NUM_CLASSES}}}",
        "accelerator=cpu",
    ]
    quick = ["evaluators.judged.num_samples=20", "evaluators.nll.num_samples=3"]
    config = composed("evaluators=full", *small, *quick, *overrides)
    OmegaConf.set_struct(config, False)
    config.evaluators.gradients = composed("evaluators=claims", "evaluators.gradients.num_draws=2").evaluators.gradients
    return config


@pytest.fixture
def train_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A function: train one epoch on these labels with every evaluator, and return the run."""
    monkeypatch.setattr(judge_files, "fit", functools.partial(classifier.fit, epochs=1))
    monkeypatch.setattr(sample_quality, "SAMPLES_PER_CLASS", 3)
    numbers = iter(range(10_000))

    def begin(labels: list[int], test_labels: list[int], *overrides: str) -> Run:
        source = ReadOnce(InMemory(labels, test_labels))
        monkeypatch.setattr(parts, "source_of", lambda _: source)
        config = configured(*overrides).copy()
        config.data_dir = str(tmp_path / "data")
        run = Run.begin(tmp_path / str(next(numbers)), config)
        train(run)
        return run

    return begin


def labels_of(classes: list[int], num: int) -> list[int]:
    return [classes[place % len(classes)] for place in range(num)]


CLASSES = st.lists(st.integers(0, NUM_CLASSES - 1), min_size=1, max_size=NUM_CLASSES, unique=True)


DATA = given(
    classes=CLASSES,
    test_classes=CLASSES,
    num=st.one_of(st.integers(1, 12), st.integers(1, 300)),
    num_test=st.one_of(st.integers(0, 3), st.integers(0, 60)),
    model=st.sampled_from(["cvae", "vae"]),
    sampler=st.sampled_from(["prior", "gaussian", "mixture"]),
)
QUICK = settings(deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=SHARED_FIXTURE)


def completes_or_is_refused(
    train_on: Any, classes: list[int], test_classes: list[int], num: int, num_test: int, model: str, sampler: str
) -> None:
    labels, test_labels = labels_of(classes, num), labels_of(test_classes, num_test)
    if num <= 3:  # of which a sixth is no image
        with pytest.raises(UserError, match="0 to validate with"):
            train_on(labels, test_labels)
        return
    run = train_on(labels, test_labels, f"model={model}", f"sampler={sampler}")
    metrics = json.loads((run.path / "metrics.json").read_text(), parse_constant=pytest.fail)
    missing = {
        f"{split}/{name}" for split in ("val", "test") for name, value in metrics[split].items() if value is None
    }
    assert metrics["absent"].keys() == missing, "each null has a reason, and nothing else has"
    assert metrics["val"].keys() == metrics["test"].keys()
    always = ["elbo", "kl", "loss", "ssim", "mse", "mse_pca", "nll_iw"]
    if "of one class" not in metrics["absent"].get("val/num_samples", ""):
        always += ["accuracy_real", "num_samples"]
    assert not missing & {f"val/{name}" for name in always}
    assert ("test/mse" in missing) == (num_test == 0)
    card = (run.path / "README.md").read_text()
    for text in (summary(metrics), card):
        assert not re.search(r"\b(nan|inf|None)\b", text)
    assert all(reason in summary(metrics) for reason in metrics["absent"].values())


@DATA
@settings(QUICK, max_examples=8)
def test_a_run_completes_or_is_refused_before_its_first_step(train_on: Any, **data: Any) -> None:
    completes_or_is_refused(train_on, **data)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@DATA
@settings(QUICK, max_examples=80)
def test_many_runs_complete_or_are_refused_before_their_first_step(train_on: Any, **data: Any) -> None:
    completes_or_is_refused(train_on, **data)


def test_the_absent_numbers_are_those_that_need_the_missing_class(train_on: Any) -> None:
    metrics = train_on(labels_of([1, 3, 9], 60), labels_of([1, 3, 9], 12)).metrics
    for split in ("val", "test"):
        assert {name for name, value in metrics[split].items() if value is None} == {
            *("fid_pixel", "score", "score_uncapped", "fid_inception", "fid_inception_floor", "num_samples_inception"),
            *("accuracy", "accuracy_low", "accuracy_high", "accuracy_worst_class", "num_samples_accuracy"),
            *ConditionQuality.names,
        }
    assert metrics["absent"]["val/fid_pixel"] == "no image of classes 0, 2, 4, 5, 6, 7, 8, 10, 11 in this split"
    assert "needs fid_pixel" in metrics["absent"]["test/score"]


def test_classes_without_training_images_are_announced(train_on: Any, caplog: pytest.LogCaptureFixture) -> None:
    train_on(labels_of([0, 1], 30), labels_of([0], 5), "evaluators.judged=null")
    assert "no image of classes 2, 3, 4" in caplog.text


@pytest.mark.parametrize(("labels", "words"), [([], "0 images to train on"), ([12] * 30, r"labels in 0\.\.11.*got 12")])
def test_a_training_that_means_nothing_is_refused(train_on: Any, tmp_path: Path, labels: list[int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        train_on(labels, [0])
    assert not list(tmp_path.rglob("last.ckpt"))


def test_a_number_that_is_not_finite_is_absent(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an evaluator gives, no file ever holds nan."""
    run = make_run("run")
    monkeypatch.setattr("cvae_lightning.evaluators.grader.score", lambda *_, **__: float("nan"))
    metrics = train(run)
    assert metrics["val"]["score"] is None
    assert metrics["absent"]["val/score"] == "it is nan"
    assert OmegaConf.load(run.path / "hparams.yaml")


def test_a_sweep_in_which_no_run_has_the_objective_has_a_report_but_no_best_run(train_on: Any, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({"command": ["lr=0.1,0.2"], "jobs": [["lr=0.1"]]}))
    train_on(labels_of([1, 3, 9], 60), labels_of([1, 3, 9], 12), "evaluators.judged=null")
    assert "No run has val/score_uncapped" in write_report(Sweep(tmp_path))
    with pytest.raises(UserError, match=r"a run that has val/score_uncapped \(run\)"):
        chosen_run(tmp_path)
