"""What is maximised: the evidence lower bound and its two terms."""

from typing import NamedTuple

from torch import Tensor

from cvae_lightning.shapes import PerImage


class ELBO(NamedTuple):
    """log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)), Kingma & Welling 2014, eq. 3. Nats."""

    log_likelihood: PerImage  # one Monte Carlo sample of z
    kl: PerImage  # exact

    @property
    def value(self) -> PerImage:
        return self.log_likelihood - self.kl

    def loss(self, beta: float = 1.0) -> Tensor:
        """Batch mean of beta * kl - log_likelihood, Higgins et al. 2017, eq. 4."""
        return (beta * self.kl - self.log_likelihood).mean()
