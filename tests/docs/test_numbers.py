"""Numbers in comments and pages are those that the code gives."""

import functools
import math
import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
from helpers import composed

from cvae_lightning.core.build import PACKAGE, build
from cvae_lightning.data.digits import Digits
from cvae_lightning.metrics.score import score
from cvae_lightning.runs.paper import TABLE_2

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


def doubt(error: float) -> float:
    """The most nats that a guess among ten classes leaves open, by Fano's inequality."""
    return -error * math.log(error / 9) - (1 - error) * math.log(1 - error)


def noise(variance: float) -> float:
    """What noise of one grey level costs, nats per image."""
    return 784 / (24 * 255**2 * variance)


def score_of_table_2(model: str, latent_dim: int) -> float:
    """The Score that follows from the other columns of the paper's Table 2."""
    row = TABLE_2[model]
    return score(row["ssim"], row["mse"], row.get("fid_pixel"), latent_dim, capped=False)


def bonus(latent_dim: int) -> float:
    """What the Score gives for the same images, with so many latents."""
    return score(1.0, 1.0, None, latent_dim, capped=False)


NUMBERS: list[tuple[str, str, Callable[[], float]]] = [
    ("README.md", r"trains on the ([\d,]+) digits", lambda: sum(digits().values())),
    ("docs/install.md", r"uses the ([\d,]+) digits", lambda: sum(digits().values())),
    ("README.md", r"have ([\d,]+) parameters", parameters),
    ("README.md", r"`best_conv`\s+has ([\d,]+)", partial(parameters, "experiment=best_conv")),
    ("docs/data.md", r"passes over its ([\d,]+) training images", lambda: digits()["train"]),
    ("cvae_lightning/data/digits.py", r"([\d,]+) digits of 8x8", lambda: sum(digits().values())),
    ("conf/data/digits.yaml", r"39 x ([\d,]+) images", lambda: digits()["train"]),
    ("docs/reproduction.md", r"784-400-400-20 \(([\d,]+) parameters", parameters),
    ("docs/keys.md", r"the paper's \(([\d,]+) parameters", parameters),
    ("docs/keys.md", r"per resolution \(([\d,]+) parameters", partial(parameters, "network=residual")),
    *(
        (f"conf/experiment/{name}.yaml", r"(\d{3},\d{3})", partial(parameters, f"experiment={name}"))
        for name in ("nll_vae", "nll_cvae", "nll_mixture", "best_conv", "best_vae_conv", "claims/network/mlp")
    ),
    (
        "conf/experiment/claims/network/conv.yaml",
        r"(\d{3},\d{3})",
        partial(parameters, "experiment=claims/network/conv"),
    ),
    ("multirun/reference/README.md", r"gives a Score of ([\d.]+) at", lambda: round(score_of_table_2("cvae", 20), 2)),
    ("multirun/reference/README.md", r"as stated, and ([\d.]+) at 15", lambda: round(score_of_table_2("cvae", 15), 2)),
    ("multirun/reference/README.md", r"it gives ([\d.]+) at 20", lambda: round(score_of_table_2("vae", 20), 3)),
    ("multirun/reference/README.md", r"at 20 and ([\d.]+) at 15", lambda: round(score_of_table_2("vae", 15), 3)),
    ("docs/theory.md", r"which is ([\d.]+) nats at a variance of 0\.005", lambda: round(noise(0.005), 2)),
    ("docs/theory.md", r"and ([\d.]+) nats at the paper's 0\.5", lambda: round(noise(0.5), 3)),
    ("docs/theory.md", r"H\(y \\mid x\) \\le ([\d.]+)\$ nats", lambda: round(doubt(0.0037), 3)),
    ("docs/theory.md", r"this is at most ([\d.]+) nats", lambda: round(doubt(0.0037), 3)),
    ("docs/theory.md", r"most \$I\(z; x\) \+ ([\d.]+)\$ nats", lambda: round(doubt(0.0037), 3)),
    ("docs/theory.md", r"H\(y \\mid z\) \\le ([\d.]+)\$ nats", lambda: round(doubt(0.18), 2)),
    ("docs/theory.md", r"\\log 10 = ([\d.]+)\$", lambda: round(math.log(10), 2)),
    ("docs/theory.md", r"\\ge ([\d.]+)\$ nats", lambda: round(math.log(10) - doubt(0.18), 1)),
    ("docs/theory.md", r"least \$I\(z; x\) \+ ([\d.]+)\$ nats", lambda: round(math.log(10) - doubt(0.18), 1)),
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
