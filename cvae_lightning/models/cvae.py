"""The conditional VAE of the report."""

import torch.nn.functional as F

from cvae_lightning.core.shapes import AnyLabels, Context, as_labels
from cvae_lightning.models.vae import VAE


class CVAE(VAE):
    """p(x, z | y) = p(z | y) p(x | z, y), Sohn et al. 2015; p(z | y) is p(z) = N(0, I) unless the prior is learned.

    The label's one-hot is injected into the encoder and into the decoder.
    """

    MIN_CLASSES = 1

    def context(self, y: AnyLabels, num: int) -> Context:
        labels = as_labels(y, num, self.num_classes, self.device)
        return F.one_hot(labels, self.num_classes).float()
