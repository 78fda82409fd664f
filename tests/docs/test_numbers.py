"""Numbers in comments and pages are those that the code gives."""

import functools
import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
from helpers import composed

from cvae_lightning.core.build import PACKAGE, build
from cvae_lightning.data.digits import Digits
from cvae_lightning.metrics.score import score

ROOT = PACKAGE.parent


def parameters(*overrides: str) -> int:
    with torch.device("meta"):
        return sum(weights.numel() for weights in build(composed(*overrides).model).parameters())


@functools.cache
def digits() -> dict[str, int]:
    """Images in each split."""
    source = Digits()
    train, val = source.fit_splits()
    return {"train": len(train.labels), "val": len(val.labels), "test": len(source.test_split().labels)}


def bonus(latent_dim: int) -> float:
    """What the Score gives for the same images, with so many latents."""
    return score(1.0, 1.0, None, latent_dim, capped=False)


NUMBERS: list[tuple[str, str, Callable[[], float]]] = [
    ("README.md", r"trains on the ([\d,]+) digits", lambda: sum(digits().values())),
    ("README.md", r"passes over its ([\d,]+) training images", lambda: digits()["train"]),
    ("cvae_lightning/data/digits.py", r"([\d,]+) digits of 8x8", lambda: sum(digits().values())),
    ("conf/data/digits.yaml", r"39 x ([\d,]+) images", lambda: digits()["train"]),
    ("README.md", r"784-400-400-20 \(([\d,]+) parameters", parameters),
    ("README.md", r"the paper's \(([\d,]+) parameters", parameters),
    ("README.md", r"per resolution \(([\d,]+) parameters", partial(parameters, "network=residual")),
    *(
        (f"conf/experiment/{name}.yaml", r"(\d{3},\d{3})", partial(parameters, f"experiment={name}"))
        for name in ("nll_vae", "nll_flow", "best_conv", "best_vae_conv", "claims/network/mlp", "claims/network/conv")
    ),
    ("docs/claims.md", r"takes ([\d.]+) % from 40 against 15", lambda: round(100 * (1 - bonus(40) / bonus(15)), 1)),
]


@pytest.mark.parametrize(("file", "pattern", "computed"), NUMBERS, ids=[row[0] for row in NUMBERS])
def test_a_number_in_the_text_is_what_the_code_gives(file: str, pattern: str, computed: Callable[[], float]) -> None:
    found = re.search(pattern, (ROOT / file).read_text())
    assert found, f"{file} no longer says it"
    assert float(found[1].replace(",", "")) == computed()


def test_an_epoch_of_the_digits_has_the_steps_of_one_of_mnist() -> None:
    batch_size = composed().batch_size
    passes = composed("data=digits").data.module.passes_per_epoch
    assert -(-passes * digits()["train"] // batch_size) == -(-50_000 // batch_size)
