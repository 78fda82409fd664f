"""What the numbers of a run can't see, and its model can't do."""

from collections.abc import Iterator
from typing import Any

from cvae_lightning.escaping import escaped

LEAKS = 2  # times as many labels as guessing reads
SMALL = 1000  # images of a split
REAL_DIGITS = "which have about 1.2 with 100 a class"


def limits(metrics: dict[str, Any], num_classes: int) -> Iterator[str]:
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
    if val.get("fid_digit") is not None:
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


def _of_likelihoods(metrics: dict[str, Any]) -> str:
    names = "`elbo`, `log_likelihood`" + (" and `nll_iw`" if "nll_iw" in metrics["val"] else "")
    if metrics["binarize"]:
        kind = escaped(str(metrics["binarize"]))
        return f"{names} are of black and white images ({kind}), and compare with others of these alone."
    if metrics["likelihood"] == "bernoulli":
        return f"{names} are a customary cross-entropy of grey levels, and no likelihoods."
    return f"{names} are of densities of grey levels, and do not compare with those of black and white images."
