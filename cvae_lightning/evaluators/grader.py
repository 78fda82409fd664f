"""The metrics of the paper, on 8-bit images, as the grader of the course computes them."""

from collections.abc import Iterable
from math import prod

import torch
from torchmetrics import MeanSquaredError

from cvae_lightning.core.capacity import check_memory, images_at_once, readable
from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.shapes import Batch, Conditions
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import UNCONDITIONAL, Absent, Evaluator, Measured, no_images_of
from cvae_lightning.evaluators.samples import classes_in, of_classes, rounded, truncated
from cvae_lightning.metrics.pixel_fid import PixelFID
from cvae_lightning.metrics.score import SHAPE, score
from cvae_lightning.metrics.ssim import SSIM, WINDOW
from cvae_lightning.models.protocols import Generative

MOST_SUMS = 2 * 10**9  # bytes of sums for fid_pixel: 2,500 classes of 64x64 pixels in colour


class Grader(Evaluator):
    """`ssim` and `mse` of reconstructions, `fid_pixel` of samples, and the Score computed from them.

    `fid_pixel` exists for a model that is conditioned on a class if the split has images of every class. The Score of
    such a model needs it; that of an unconditional model does not. The Score exists for grey images of 28x28 pixels, as
    in the paper, and `ssim` for images of at least 7x7.
    """

    names = ("ssim", "mse", "fid_pixel", "score", "score_uncapped")

    def __init__(self, samples_per_class: int = 100, seed: int = 0) -> None:
        super().__init__(seed)
        self.samples_per_class = check_integer(
            "evaluators.grader.samples_per_class", samples_per_class, 1, "The paper's FID uses 100."
        )
        labels = 8 * samples_per_class  # bytes; the samples themselves are drawn in parts of a bounded size
        check_memory(labels, f"evaluators.grader.samples_per_class={samples_per_class}", "The paper's FID uses 100.")

    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        height, width = model.image_shape[1:]
        no_ssim = None
        if min(height, width) < WINDOW:
            no_ssim = Absent(f"its window has {WINDOW}x{WINDOW} pixels, and the images have {height}x{width}")
        no_fid = _no_pixel_fid(model)
        ssim, mse = SSIM(), MeanSquaredError()
        pixel_fid = PixelFID(0 if no_fid else model.num_classes, prod(model.image_shape))
        for x, y in batches:
            reconstruction = rounded(model.reconstruct(x, y)).float().div_(255)
            if not no_ssim:
                ssim.to(x.device).update(reconstruction, x)
            mse.to(x.device).update(reconstruction, x)
            if not no_fid:
                pixel_fid.to(x.device).update(rounded(x), classes_in(train, y), real=True)
        numbers: Measured = {
            "ssim": no_ssim or float(ssim.compute()),
            "mse": float(mse.compute()),
            "fid_pixel": no_fid or self._fid_pixel(model, pixel_fid, train),
        }
        return {**numbers, **_scores(model, numbers)}

    def _fid_pixel(self, model: Generative, pixel_fid: PixelFID, train: Split) -> float | Absent:
        """The distance between new samples and the real images, which `pixel_fid` has been given already."""
        if missing := (pixel_fid.num_images[1] == 0).nonzero()[:, 0].tolist():
            return no_images_of(missing, "this split")
        at_once = images_at_once(model.image_shape, self.samples_per_class)
        for label in range(model.num_classes):
            classes = torch.full((self.samples_per_class,), label, device=pixel_fid.device)
            labels: Conditions = of_classes(train, classes)
            for part, its_classes in zip(torch.split(labels, at_once), classes.split(at_once), strict=True):
                pixel_fid.update(truncated(model.sample(part)), its_classes, real=False)
        return float(pixel_fid.compute())


def _no_pixel_fid(model: Generative) -> Absent | None:
    """The reason why the model has no `fid_pixel`, whatever the split; None if there is none."""
    if not model.num_classes:
        return UNCONDITIONAL
    needed = PixelFID.bytes_of_sums(model.num_classes, prod(model.image_shape))
    if needed > MOST_SUMS:
        return Absent(f"the sums of {model.num_classes:,} classes need {readable(needed)}")
    return None


def _scores(model: Generative, numbers: Measured) -> Measured:
    """The Score with and without its cap, or the reason why the paper's definition does not apply."""
    ssim, mse, fid_pixel = (numbers[name] for name in ("ssim", "mse", "fid_pixel"))
    no_score = None
    if tuple(model.image_shape) != SHAPE:
        no_score = Absent("the paper defines the Score for grey images of 28x28 pixels")
    elif model.condition and not model.num_classes:
        no_score = Absent("the paper defines the Score for models that are conditioned on a class, or on nothing")
    elif isinstance(fid_pixel, Absent) and model.num_classes:
        no_score = Absent("the Score of a conditional model needs fid_pixel")
    if no_score:
        return {"score": no_score, "score_uncapped": no_score}
    assert not isinstance(ssim, Absent)
    assert not isinstance(mse, Absent)
    fid = None if isinstance(fid_pixel, Absent) else fid_pixel
    return {
        "score": score(ssim, mse, fid, model.latent_dim),
        "score_uncapped": score(ssim, mse, fid, model.latent_dim, capped=False),
    }
