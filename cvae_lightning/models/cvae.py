"""The conditional VAE of the paper."""

import torch.nn.functional as F

from cvae_lightning.core.shapes import Context, Labels
from cvae_lightning.models.vae import VAE


class CVAE(VAE):
    """p(x, z | y) = p(z | y) p(x | z, y), Sohn et al. 2015; p(z | y) is p(z) = N(0, I) unless the prior is learned.

    The label's one-hot vector is injected into the encoder and into the decoder.

    >>> model = CVAE(MLP(), Gaussian(), adam(lr=0.005), latent_dim=20, num_classes=10)
    >>> model.sample(torch.tensor([2, 7, 9])).shape
    torch.Size([3, 1, 28, 28])
    """

    MIN_CLASSES = 1

    def context(self, y: Labels) -> Context:
        """The one-hot vector of each label."""
        return F.one_hot(y, self.num_classes).float()
