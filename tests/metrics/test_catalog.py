"""The catalog has every metric that can be measured, and nothing else; docs/metrics.md names each."""

import re

from helpers import ROOT, composed

from cvae_lightning.core.build import CONF, build
from cvae_lightning.evaluators.evaluator import Evaluator
from cvae_lightning.metrics.catalog import BESIDE, CATALOG, METRICS, Better, describe
from cvae_lightning.models import mean_elbo


def measurable() -> set[str]:
    """The metrics of the ELBO and of all evaluators that conf/ offers."""
    configs = [composed(f"evaluators={path.stem}").evaluators for path in sorted((CONF / "evaluators").glob("*.yaml"))]
    evaluators: list[Evaluator] = [build(part) for config in configs for part in config.values()]
    return {*mean_elbo.NAMES, *(name for evaluator in evaluators for name in evaluator.names)}


def test_the_catalog_has_what_can_be_measured_and_nothing_else() -> None:
    assert CATALOG.keys() == measurable()
    assert len(CATALOG) == len(METRICS), "no name stands twice"


def test_every_title_is_different_and_everything_is_described() -> None:
    assert len({metric.label for metric in METRICS}) == len(METRICS)
    assert all(metric.description for metric in METRICS)


def test_what_stands_beside_a_metric_is_in_the_catalog_and_is_neither_better_nor_worse() -> None:
    assert CATALOG.keys() > BESIDE
    assert {CATALOG[name].better for name in BESIDE} == {Better.NEITHER}


def test_which_values_are_better() -> None:
    higher = ("ssim", "score_uncapped", "elbo", "accuracy")
    assert {describe(f"val/{name}").better for name in higher} == {Better.HIGHER}
    lower = ("loss", "mse", "fid_judge", "kid_judge", "nll_iw", "label_leak")
    assert {describe(f"val/{name}").better for name in lower} == {Better.LOWER}
    neither = ("kl", "active_units", "mse_pca", "accuracy_real", "nll_iw_samples", "fid_judge_floor")
    assert {describe(name).better for name in neither} == {Better.NEITHER}


def test_a_metric_of_ones_own_is_described_by_its_name() -> None:
    names = ("brightness", "mse_of_edges", "fid_mine", "brightness_floor")
    assert [describe(f"test/{name}").better for name in names] == [1, -1, -1, 0]
    assert [describe(f"test/{name}").label for name in names] == list(names)


def test_the_documentation_names_every_metric() -> None:
    assert CATALOG.keys() <= set(re.findall(r"`(\w+)`", (ROOT / "docs" / "metrics.md").read_text()))
