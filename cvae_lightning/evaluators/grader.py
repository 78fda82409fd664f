"""The metrics of the paper, on 8-bit images, as the grader of the course computes them."""

import math
from collections.abc import Iterable

import torch
from torchmetrics import MeanSquaredError

from cvae_lightning.core.capacity import check_memory
from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.shapes import Batch, ByteImages, Images
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import (
    UNCONDITIONAL,
    Absent,
    Evaluator,
    Measured,
    no_images_of,
)
from cvae_lightning.metrics.pixel_fid import PixelFID
from cvae_lightning.metrics.score import score
from cvae_lightning.metrics.ssim import SSIM
from cvae_lightning.models.protocols import Generative


class Grader(Evaluator):
    """`ssim` and `mse` of reconstructions, `fid_pixel` of samples, and the Score computed from them.

    `fid_pixel` exists for a conditional model if the split has images of every class. The Score of a conditional model
    needs it; that of an unconditional model does not.
    """

    names = ("ssim", "mse", "fid_pixel", "score", "score_uncapped")

    def __init__(self, samples_per_class: int = 100, seed: int = 0) -> None:
        super().__init__(seed)
        self.samples_per_class = check_integer(
            "evaluators.grader.samples_per_class", samples_per_class, 1, "The paper's FID uses 100."
        )
        pixels = 8 * 28 * 28 * samples_per_class  # bytes: the samples of one class, in float32 and as integers
        check_memory(pixels, f"evaluators.grader.samples_per_class={samples_per_class}", "The paper's FID uses 100.")

    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        ssim, mse, pixel_fid = SSIM(), MeanSquaredError(), PixelFID(model.num_classes, math.prod(model.image_shape))
        for x, y in batches:
            reconstruction = rounded(model.reconstruct(x, y)).float().div_(255)
            ssim.to(x.device).update(reconstruction, x)
            mse.to(x.device).update(reconstruction, x)
            if model.num_classes:
                pixel_fid.to(x.device).update(rounded(x), y, real=True)
        measured = (float(ssim.compute()), float(mse.compute()))
        numbers: Measured = dict(zip(("ssim", "mse"), measured, strict=True))
        if not model.num_classes:
            return {**numbers, "fid_pixel": UNCONDITIONAL, **_scores(*measured, None, model.latent_dim)}
        fid_pixel = self._fid_pixel(model, pixel_fid)
        if isinstance(fid_pixel, Absent):
            no_score = Absent("the Score of a conditional model needs fid_pixel")
            return {**numbers, "fid_pixel": fid_pixel, "score": no_score, "score_uncapped": no_score}
        return {**numbers, "fid_pixel": fid_pixel, **_scores(*measured, fid_pixel, model.latent_dim)}

    def _fid_pixel(self, model: Generative, pixel_fid: PixelFID) -> float | Absent:
        """The distance between new samples and the real images, which `pixel_fid` has been given already."""
        if missing := (pixel_fid.num_images[1] == 0).nonzero()[:, 0].tolist():
            return no_images_of(missing, "this split")
        for label in range(model.num_classes):
            labels = torch.full((self.samples_per_class,), label, device=pixel_fid.device)
            pixel_fid.update(truncated(model.sample(labels)), labels, real=False)
        return float(pixel_fid.compute())


def _scores(ssim: float, mse: float, fid_pixel: float | None, latent_dim: int) -> dict[str, float]:
    """The Score with and without its cap."""
    return {
        "score": score(ssim, mse, fid_pixel, latent_dim),
        "score_uncapped": score(ssim, mse, fid_pixel, latent_dim, capped=False),
    }


def rounded(x: Images) -> ByteImages:
    """Convert to 8 bits by rounding, as the grader does with reconstructions."""
    return (255 * x + 0.5).byte()


def truncated(x: Images) -> ByteImages:
    """Convert to 8 bits by truncation, as the grader does with generated images."""
    return (255 * x).byte()
