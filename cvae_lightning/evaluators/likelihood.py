"""How likely the images of a split are under the model."""

from collections.abc import Iterable

import torch

from cvae_lightning.core.capacity import check_memory, images_at_once
from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.shapes import Batch, PerImage
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.evaluator import NO_LATENTS, Evaluator, Measured
from cvae_lightning.evaluators.samples import chosen, in_parts, labels_of
from cvae_lightning.models.bounds import log_mean_exp, weighted_draws
from cvae_lightning.models.protocols import Generative, LatentVariableModel

ROWS = 4000  # images of 28x28 decoded at a time, some 60 MB in a few tensors of 12 MB; fewer of larger ones


class ImportanceWeighting(Evaluator):
    """`nll_iw`: -log p(x), or -log p(x | y), in nats per image, as Burda et al. 2016 estimate it.

    It is the mean over images of -log of the mean of `num_samples` importance weights p(x, z) / q(z | x): on average an
    upper bound, which gets tighter with more samples. `num_images` takes a random part of the split; null takes all.

    Many samples for a whole split take hours. With `control_samples`, a smaller number, all images are measured with
    those, and the random part adds only the difference that `num_samples` make to it: a control variate. The
    expectation is that of `num_samples` on all images. The bounds of images differ by tens of nats, the gains from more
    samples by less than one.
    """

    names = ("nll_iw", "nll_iw_samples")

    def __init__(
        self,
        num_samples: int = 100,
        num_images: int | None = None,
        control_samples: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        self.num_samples = check_integer("evaluators.nll.num_samples", num_samples, 1, "The literature uses 5000.")
        check_memory(16 * num_samples, f"evaluators.nll.num_samples={num_samples}", "The literature uses 5000.")
        if num_images is not None:
            check_integer("evaluators.nll.num_images", num_images, 1, "null takes all images.")
        if control_samples is not None:
            check_integer("evaluators.nll.control_samples", control_samples, 1, "null has no control variate.")
        self.num_images = num_images
        self.control_samples = control_samples

    @torch.no_grad()
    def evaluate(self, model: Generative, batches: Iterable[Batch], train: Split) -> Measured:
        if not isinstance(model, LatentVariableModel):
            return dict.fromkeys(self.names, NO_LATENTS)
        index = torch.randperm(len(labels_of(batches)))[: self.num_images].sort().values
        log_p = self._log_p(model, chosen(batches, index), self.num_samples).mean()
        if self.control_samples is not None:
            control = self._log_p(model, batches, self.control_samples)
            log_p += control.mean() - control[index.to(control.device)].mean()
        return {"nll_iw": -float(log_p), "nll_iw_samples": self.num_samples}

    def _log_p(self, model: LatentVariableModel, batches: Iterable[Batch], num_samples: int) -> PerImage:
        """The bound of each image, in parts of a fixed size, so that draws and memory don't depend on the batches."""
        bounds = []
        rows = ROWS
        for x, y in in_parts(batches, max(1, ROWS // num_samples)):
            rows = images_at_once(x.shape[1:], ROWS)
            q = model.posterior(x, y)
            sizes = torch.arange(num_samples).split(max(1, rows // len(x)))
            parts = [weighted_draws(model, q, x, y, len(size)).log_weight for size in sizes]
            bounds.append(log_mean_exp(torch.cat(parts)))
        return torch.cat(bounds).double()
