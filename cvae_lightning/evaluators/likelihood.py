"""How likely the images of a split are to the model."""

from collections.abc import Iterable, Iterator

import torch

from cvae_lightning.data.splits import Split
from cvae_lightning.errors import check_integer
from cvae_lightning.evaluators.evaluator import Evaluator
from cvae_lightning.generative import Generative, LatentVariableModel
from cvae_lightning.objectives import log_mean_exp, weighted_draws
from cvae_lightning.shapes import Batch, PerImage

ROWS = 4000  # images decoded at a time, some 60 MB in a few tensors of 12 MB


class ImportanceWeighting(Evaluator):
    """`nll_iw`: -log p(x), or -log p(x | y), in nats per image, as Burda et al. 2016 estimate it.

    The mean over images of -log of the mean of `num_samples` importance weights p(x, z) / q(z | x): an upper bound on
    average, the tighter the more samples. `num_images` takes a random part of the split; null takes all.
    """

    names = ("nll_iw", "nll_iw_samples")

    def __init__(self, num_samples: int = 100, num_images: int | None = None, seed: int = 0) -> None:
        super().__init__(seed)
        self.num_samples = check_integer("evaluators.nll.num_samples", num_samples, 1, "The literature uses 5000.")
        if num_images is not None:
            check_integer("evaluators.nll.num_images", num_images, 1, "null takes all images.")
        self.num_images = num_images

    @torch.no_grad()
    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> dict[str, float]:
        if not isinstance(model, LatentVariableModel):
            return {}
        x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
        chosen = torch.randperm(len(x))[: self.num_images].sort().values.to(x.device)
        per_image = list(self._log_p(model, (x[chosen], y[chosen])))
        return {"nll_iw": -float(torch.cat(per_image).double().mean()), "nll_iw_samples": self.num_samples}

    def _log_p(self, model: LatentVariableModel, images: Batch) -> Iterator[PerImage]:
        """In parts of its own, so that neither draws nor memory depend on the size of the batches or of the split."""
        images_at_once = max(1, ROWS // self.num_samples)
        for x, y in zip(*(part.split(images_at_once) for part in images), strict=True):
            q = model.posterior(x, y)
            sizes = torch.arange(self.num_samples).split(max(1, ROWS // len(x)))
            parts = [weighted_draws(model, q, x, y, len(size)).log_weight for size in sizes]
            yield log_mean_exp(torch.cat(parts))
