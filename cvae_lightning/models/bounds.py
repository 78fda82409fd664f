"""The evidence lower bound (ELBO) with its two terms, and the bounds that training maximises."""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from cvae_lightning.core.errors import check_boolean, check_integer, check_not_negative, refuse
from cvae_lightning.core.shapes import Conditions, Images, Latents, PerImage
from cvae_lightning.models.latents import DiagonalGaussian, FactorisedDistribution
from cvae_lightning.models.priors import Prior
from cvae_lightning.models.protocols import LatentVariableModel


class ELBO(NamedTuple):
    """The two terms of log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)), Kingma & Welling 2014, eq. 3, in nats."""

    log_likelihood: PerImage  # one Monte Carlo sample of z
    kl: PerImage  # exact; if the prior is a mixture, estimated without bias at the same sample

    @classmethod
    def at_a_draw(cls, model: LatentVariableModel, q: DiagonalGaussian, x: Images, y: Conditions) -> "ELBO":
        """The ELBO at one z per image, drawn from its posterior `q`."""
        return cls.at(model, q, q.rsample(), x, y)

    @classmethod
    def at(cls, model: LatentVariableModel, q: DiagonalGaussian, z: Latents, x: Images, y: Conditions) -> "ELBO":
        """The ELBO at the draw `z` from the posterior `q` of each image."""
        return cls(model.likelihood(z, y).log_prob(x), model.prior(y).kl(q, z))

    @property
    def value(self) -> PerImage:
        """The lower bound itself, log_likelihood - kl, in nats."""
        return self.log_likelihood - self.kl

    def loss(self, beta: float | Tensor = 1.0) -> Tensor:
        """Batch mean of beta * kl - log_likelihood, Higgins et al. 2017, eq. 4."""
        return (beta * self.kl - self.log_likelihood).mean()


@runtime_checkable
class Bound(Protocol):
    """A bound gives the loss that training minimises. The loss that is logged or measured is always `ELBO.loss(beta)`.

    A bound that does not work with every prior also has a method `check(prior)`, which raises UserError; the model
    calls it when it is built.
    """

    beta: float

    def loss(self, model: LatentVariableModel, x: Images, y: Conditions, epoch: int) -> tuple[Tensor, ELBO]:
        """The loss of a batch in `epoch` (the first is 0), nats per image, and the ELBO at the same draws."""
        ...


class ELBOBound:
    """beta * kl - log_likelihood, with two ways to keep latents in use early in the training.

    Over `warmup_epochs` the weight of the KL term rises to `beta`, linearly and epoch by epoch: in epoch e = 0, 1, ...
    it is beta * min(1, (e + 1) / (warmup_epochs + 1)), after Sønderby et al. 2016. A latent whose KL, averaged over
    the batch, is below `free_bits` (nats, not bits) counts as `free_bits`: Kingma et al. 2016 (IAF). Free bits need a
    prior with independent latents, so a mixture is refused. The defaults, 0, switch both off.
    """

    def __init__(self, beta: float = 1.0, warmup_epochs: int = 0, free_bits: float = 0.0) -> None:
        self.beta = check_not_negative("beta", beta, "beta=1 is the ELBO.")
        self.warmup_epochs = check_integer("bound.warmup_epochs", warmup_epochs, 0, "0 is no warm-up.")
        self.free_bits = check_not_negative("bound.free_bits", free_bits, "0 is none; in nats per latent.")

    def check(self, prior: Prior) -> None:
        """Raises UserError for free bits with a prior whose KL is not a sum over latents."""
        if self.free_bits and not isinstance(prior(torch.zeros(1, dtype=torch.long)), FactorisedDistribution):
            remedy = "Or use prior.num_components=1: the KL to any other learned prior is not a sum over latents."
            refuse("0 with a prior that is a mixture or a flow", "bound.free_bits", self.free_bits, remedy)

    def loss(self, model: LatentVariableModel, x: Images, y: Conditions, epoch: int) -> tuple[Tensor, ELBO]:
        q = model.posterior(x, y)
        return self.loss_at(model, q, q.rsample(), x, y, self.weight(epoch))

    def loss_at(
        self,
        model: LatentVariableModel,
        q: DiagonalGaussian,
        z: Latents,
        x: Images,
        y: Conditions,
        weight: float | Tensor,
    ) -> tuple[Tensor, ELBO]:
        """The loss and the ELBO at the draw `z` from the posterior `q` of each image, with this weight of the KL."""
        elbo = ELBO.at(model, q, z, x, y)
        counted = elbo
        if self.free_bits:
            prior = model.prior(y)
            assert isinstance(prior, FactorisedDistribution)  # see check
            kl = prior.kl_by_latent(q).mean(0).clamp(min=self.free_bits).sum()
            counted = elbo._replace(kl=kl.expand_as(elbo.kl))
        return counted.loss(weight), elbo

    def weight(self, epoch: int) -> float:
        """Weight of the KL term in `epoch`."""
        return self.beta * min(1.0, (epoch + 1) / (self.warmup_epochs + 1))


class IWAEBound:
    """-log of the mean importance weight p(x, z) / q(z | x) of `num_samples` draws, Burda et al. 2016, eq. 8.

    With `dreg` the encoder gets the doubly reparameterised gradient (DReG, Tucker et al. 2019). Its signal-to-noise
    ratio grows with `num_samples`, whereas that of the plain gradient falls. The decoder's gradient is the same. Memory
    and time grow with `num_samples`.
    """

    def __init__(self, num_samples: int = 5, dreg: bool = True, beta: float = 1.0) -> None:
        self.num_samples = check_integer("bound.num_samples", num_samples, 1, "Burda et al. 2016 use 5 and 50.")
        self.dreg = check_boolean("bound.dreg", dreg, "true makes the encoder's gradient less noisy.")
        self.beta = beta
        if beta != 1:
            refuse("1, as importance weights have no KL term", "beta", beta, "Use bound=elbo.")

    def loss(self, model: LatentVariableModel, x: Images, y: Conditions, epoch: int) -> tuple[Tensor, ELBO]:
        q = model.posterior(x, y)
        draws = weighted_draws(model, q, x, y, self.num_samples, self.dreg)
        if self.dreg:
            weight_gradient_again(draws)
        elbo = ELBO(draws.log_likelihood.mean(0), model.prior(y).kl(q, draws.z[: len(x)]))
        return -log_mean_exp(draws.log_weight).mean(), elbo


class WeightedDraws(NamedTuple):
    """Draws of z for a batch, sample by sample, with log p(x | z) and log p(x, z) / q(z | x) in nats."""

    z: Latents  # (samples * batch, latent)
    log_likelihood: Tensor  # (samples, batch)
    log_weight: Tensor  # (samples, batch)


def weighted_draws(
    model: LatentVariableModel, q: DiagonalGaussian, x: Images, y: Conditions, num_samples: int, through_z: bool = False
) -> WeightedDraws:
    """`num_samples` draws from the posterior `q` of each image.

    With `through_z` the density of q is detached from its parameters: the encoder's gradient flows through z alone.
    """
    many = q.repeated(num_samples)
    z = many.rsample()
    labels = y.repeat(num_samples, *[1] * (y.ndim - 1))
    log_likelihood = model.likelihood(z, labels).log_prob(x.repeat(num_samples, 1, 1, 1))
    log_q = (many.detached() if through_z else many).log_prob(z)
    by_sample = (num_samples, len(x))
    log_weight = log_likelihood + model.prior(labels).log_prob(z) - log_q
    return WeightedDraws(z, log_likelihood.unflatten(0, by_sample), log_weight.unflatten(0, by_sample))


def weight_gradient_again(draws: WeightedDraws) -> None:
    """Turn the encoder's gradient of the importance-weighted bound into DReG's.

    Backpropagation gives each draw the gradient of its log weight with respect to z, times its share w_k / sum_j w_j of
    the weights. DReG uses the square of the share (Tucker et al. 2019, eq. 8), so whatever arrives at z is multiplied
    by the share once more on its way to the encoder. The gradients of the decoder and the prior do not pass through z.
    """
    if draws.z.requires_grad:
        shares = draws.log_weight.detach().softmax(0).flatten()[:, None]
        draws.z.register_hook(lambda gradient: gradient * shares)


def log_mean_exp(log_weight: Tensor) -> PerImage:
    """The log of the mean weight of each image; `log_weight` is (samples, batch)."""
    return torch.logsumexp(log_weight, 0) - math.log(len(log_weight))
