"""The conditional VAE of the paper."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import check_integer, check_share, refuse
from cvae_lightning.core.shapes import Batch, Conditions, Context
from cvae_lightning.models.vae import VAE


class CVAE(VAE):
    """p(x, z | y) = p(z | y) p(x | z, y), Sohn et al. 2015; p(z | y) is p(z) = N(0, I) unless the prior is learned.

    The context of the label, the one-hot vector of a class, is injected into the encoder and into the decoder.

    >>> model = CVAE(MLP(), Gaussian(), adam(lr=0.005), latent_dim=20, num_classes=10)
    >>> model.sample(torch.tensor([2, 7, 9])).shape
    torch.Size([3, 1, 28, 28])
    """

    def __init__(self, *parts: Any, label_dropout: float = 0.0, **named: Any) -> None:
        """`parts` and `named` are the arguments of `VAE`.

        Each column of the labels of each training image is hidden with the probability `label_dropout`, so that one
        model samples with and without them. Raises UserError for images without labels.
        """
        self.label_dropout = check_share("model.label_dropout", label_dropout, "0 hides no label; 0.1 is usual.")
        super().__init__(*parts, **named)

    def context(self, y: Conditions) -> Context:
        """What both networks see of each label: the one-hot vector of a class, for example."""
        return self.condition.context(y)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.label_dropout:
            x, y = batch
            batch = (x, self.condition.hidden(y, self.label_dropout))
        return super().training_step(batch, batch_idx)

    def _condition(self, condition: Condition | Mapping[str, Any] | None, num_classes: int) -> Condition:
        if condition is None:
            remedy = "MNIST has 10; model=vae needs no labels."
            condition = Condition.of_classes(check_integer("num_classes", num_classes, 1, remedy))
        if not isinstance(condition, Condition):
            condition = Condition.from_config(condition)
        if not condition:
            refuse("labelled images", "data.condition", "none", "model=vae needs no labels.")
        return condition.with_unknown() if self.label_dropout else condition
