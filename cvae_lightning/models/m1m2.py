"""M1 + M2: a VAE of the images, and a conditional VAE of its latents that learns from few classes."""

from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from cvae_lightning.core.errors import check_integer, refuse
from cvae_lightning.core.shapes import Conditions, Images, Latents, Logits, no_context
from cvae_lightning.models.bounds import ELBO, ELBOBound
from cvae_lightning.models.latents import DiagonalGaussian, StandardGaussian
from cvae_lightning.models.m2 import M2
from cvae_lightning.models.vae import Network


@runtime_checkable
class StackedNetwork(Network, Protocol):
    """Builds an encoder and a decoder with two stages each, as networks/stacked.py does."""

    first_latent_dim: int

    def classifier(self, num_classes: int) -> nn.Module: ...


@runtime_checkable
class Stages(Protocol):
    """An encoder or a decoder; a stage maps (inputs, context) to the parameters of a distribution."""

    first: Callable[[Tensor, Tensor], Tensor]
    second: Callable[[Tensor, Tensor], Tensor]


class M1M2(M2):
    """The stacked model M1 + M2 of Kingma et al. 2014: M1 is a VAE without labels, and M2 describes M1's latents z1.

    For the first `first_epochs` epochs M1 is trained alone. Then it stays as it is, and M2 is trained on draws of z1
    from M1's posterior; p(z1 | z, y) is a Gaussian, of which the decoder gives the means and the variances. As a model
    of images, z are the latents of M2, and z1 is at its mean: on the way from x to z, and on that from z to x.

    q(y | x) reads the class from z1: from a draw in training, and from the mean afterwards. M1 is trained on images
    that are moved as those that q(y | x) sees are.
    """

    def __init__(self, network: StackedNetwork, *parts: Any, first_epochs: int = 5, **named: Any) -> None:
        """`network`, `parts` and `named` are the arguments of `M2`."""
        self.first_latent_dim = network.first_latent_dim
        self.first_epochs = check_integer("model.first_epochs", first_epochs, 0, "The other epochs train M2.")
        super().__init__(network, *parts, **named)

    def first_posterior(self, x: Images) -> DiagonalGaussian:
        """q(z1 | x)."""
        return _gaussian(cast(Stages, self.encoder).first(x, no_context(x)))

    def first_likelihood(self, z: Latents, y: Conditions) -> DiagonalGaussian:
        """p(z1 | z, y)."""
        return _gaussian(cast(Stages, self.decoder).second(z, self.context(y)))

    def class_log_probabilities(self, x: Images) -> Logits:
        with torch.no_grad():
            q = self.first_posterior(self.moved(x))
        z1 = q.rsample() if self.training else q.mean
        return self.classifier(z1, no_context(z1)).float().log_softmax(1)

    def loss(self, x: Images, y: Conditions, epoch: int) -> tuple[Tensor, ELBO]:
        if epoch >= self.first_epochs:
            return super().loss(x, y, epoch)
        assert isinstance(self.bound, ELBOBound)
        elbo = self.first_elbo(self.moved(x))
        return elbo.loss(self.bound.weight(epoch)), elbo

    def first_elbo(self, x: Images) -> ELBO:
        """The ELBO of M1 at one draw of z1 for each image; p(z1) is N(0, I)."""
        q = self.first_posterior(x)
        z1 = q.rsample()
        outputs = cast(Stages, self.decoder).first(z1, no_context(z1))
        log_likelihood = self.likelihood_head(outputs.float().contiguous()).log_prob(x)
        return ELBO(log_likelihood, StandardGaussian(len(x), self.first_latent_dim, x.device).kl(q, z1))

    @torch.no_grad()
    def described(self, x: Images) -> Latents:
        """A draw of z1 from M1's posterior of each image."""
        return self.first_posterior(x).rsample()

    def elbo_of(self, described: Latents, y: Conditions) -> ELBO:
        q = _gaussian(cast(Stages, self.encoder).second(described, self.context(y)))
        z = q.rsample()
        return ELBO(self.first_likelihood(z, y).log_prob(described), self.prior(y).kl(q, z))

    def on_fit_start(self) -> None:
        epochs = self.trainer.max_epochs or 0
        if self.first_epochs >= epochs:
            refuse(f"fewer than the {epochs} epochs", "model.first_epochs", self.first_epochs, "The others train M2.")

    def _classifier(self, network: Network, classifier: Network | None) -> nn.Module:
        if classifier is not None:
            refuse("null", "model.classifier", type(classifier).__name__, "q(y | x) reads the latents of M1.")
        return cast(StackedNetwork, network).classifier(self.num_classes)


def _gaussian(parameters: Tensor) -> DiagonalGaussian:
    """The Gaussian of the means and the logs of the variances in `parameters`."""
    return DiagonalGaussian(*parameters.float().chunk(2, dim=1))
