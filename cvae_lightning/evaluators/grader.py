"""The report's metrics, as the course's grader computes them: on 8-bit images."""

import math
from collections.abc import Iterable

import torch
from torchmetrics import MeanSquaredError

from cvae_lightning.data.splits import Split
from cvae_lightning.errors import check_integer
from cvae_lightning.evaluators.evaluator import Evaluator
from cvae_lightning.generative import Generative
from cvae_lightning.metrics.pixel_fid import PixelFID
from cvae_lightning.metrics.score import Score
from cvae_lightning.metrics.ssim import SSIM
from cvae_lightning.shapes import Batch, ByteImages, Images


class Grader(Evaluator):
    """`ssim` and `mse` of reconstructions, `fid_pixel` of samples by class, and the Score that they make.

    `fid_pixel` is absent for a model that does not tell classes apart.
    """

    names = ("ssim", "mse", "fid_pixel", "score", "score_uncapped")

    def __init__(self, samples_per_class: int = 100, seed: int = 0) -> None:
        super().__init__(seed)
        self.samples_per_class = check_integer(
            "evaluators.grader.samples_per_class", samples_per_class, 1, "The report's FID uses 100."
        )

    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> dict[str, float]:
        ssim, mse, pixel_fid = SSIM(), MeanSquaredError(), PixelFID(model.num_classes, math.prod(model.image_shape))
        for x, y in batches:
            reconstruction = rounded(model.reconstruct(x, y)).float().div_(255)
            ssim.to(x.device).update(reconstruction, x)
            mse.to(x.device).update(reconstruction, x)
            if model.num_classes:
                pixel_fid.to(x.device).update(rounded(x), y, real=True)
        numbers = {"ssim": float(ssim.compute()), "mse": float(mse.compute())}
        if model.num_classes:
            for label in range(model.num_classes):
                labels = torch.full((self.samples_per_class,), label, device=pixel_fid.device)
                pixel_fid.update(truncated(model.sample(labels)), labels, real=False)
            numbers["fid_pixel"] = float(pixel_fid.compute())
        return numbers | self._scores(model.latent_dim, numbers)

    @staticmethod
    def _scores(latent_dim: int, numbers: dict[str, float]) -> dict[str, float]:
        scores = {"score": Score(latent_dim), "score_uncapped": Score(latent_dim, capped=False)}
        for metric in scores.values():
            metric.update(numbers["ssim"], numbers["mse"], numbers.get("fid_pixel"))
        return {name: float(metric.compute()) for name, metric in scores.items()}


def rounded(x: Images) -> ByteImages:
    """To 8 bits as the grader reads reconstructions."""
    return (255 * x + 0.5).byte()


def truncated(x: Images) -> ByteImages:
    """To 8 bits as the grader reads generated images."""
    return (255 * x).byte()
