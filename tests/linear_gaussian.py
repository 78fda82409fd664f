"""A model whose log p(x) is known: z ~ N(0, I), x | z ~ N(W z + b, variance), and so x ~ N(b, W W' + variance I).

With z from a mixture of Gaussians N(m, S), x is from one of N(W m + b, W S W' + variance I).
"""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from cvae_lightning.core.shapes import Images, Labels, Latents, PerImage
from cvae_lightning.models.latents import DiagonalGaussian, LatentDistribution
from cvae_lightning.models.likelihoods import GaussianPixels, PixelDistribution
from cvae_lightning.models.priors import LearnedPrior, StandardGaussianPrior

SHAPE = (1, 2, 3)


class LinearGaussian(nn.Module):
    """A model of images of 2x3 pixels; the posterior is the best diagonal Gaussian, its mean off by `error`."""

    def __init__(self, latent_dim: int = 2, variance: float = 0.3, error: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weights = nn.Parameter(torch.randn(6, latent_dim, generator=generator))
        self.bias = nn.Parameter(torch.randn(6, generator=generator))
        self.variance = variance
        precision = torch.eye(latent_dim) + self.weights.T.detach() @ self.weights.detach() / variance
        self.encoder = nn.Parameter(torch.linalg.solve(precision, self.weights.T.detach() / variance))
        self.offset = nn.Parameter(torch.full((latent_dim,), error))
        self.log_var = nn.Parameter(-precision.diagonal().log())
        self.prior_net: StandardGaussianPrior | LearnedPrior = StandardGaussianPrior(latent_dim, 0)

    def prior(self, y: Labels) -> LatentDistribution:
        return self.prior_net(y)

    def posterior(self, x: Images, y: Labels) -> DiagonalGaussian:
        mean = (x.flatten(1) - self.bias.detach()) @ self.encoder.T + self.offset
        return DiagonalGaussian(mean, self.log_var.expand_as(mean))

    def likelihood(self, z: Latents, y: Labels) -> PixelDistribution:
        return GaussianPixels((z @ self.weights.T + self.bias).unflatten(1, SHAPE), self.variance)

    def log_p(self, x: Images) -> PerImage:
        """Exact, in nats."""
        covariance = self.weights @ self.weights.T + self.variance * torch.eye(6)
        return MultivariateNormal(self.bias, covariance).log_prob(x.flatten(1))

    def draw(self, num: int) -> Images:
        with torch.no_grad():
            z = self.prior(torch.zeros(num, dtype=torch.long)).sample()
            mean = z @ self.weights.T + self.bias
            return (mean + self.variance**0.5 * torch.randn(num, 6)).unflatten(1, SHAPE)

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        """Of all parameters."""
        names, parameters = zip(*self.named_parameters(), strict=True)
        return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


class LinearMixture(LinearGaussian):
    """Its prior is a learned one, with parameters unlike those of N(0, I); the posterior is best for its moments."""

    def __init__(self, num_components: int, latent_dim: int = 2, error: float = 0.0) -> None:
        super().__init__(latent_dim)
        prior = LearnedPrior(latent_dim, 0, num_components, initial_spread=1.5)
        generator = torch.Generator().manual_seed(2)
        for parameter in prior.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.prior_net = prior
        with torch.no_grad():
            shares, means, variances = prior.logits.softmax(1)[0, :, None], prior.means[0], prior.log_vars[0].exp()
            mean = (shares * means).sum(0)
            variance = (shares * (variances + (means - mean).square())).sum(0)
            precision = (1 / variance).diag() + self.weights.T @ self.weights / self.variance
            self.encoder.copy_(torch.linalg.solve(precision, self.weights.T / self.variance))
            self.offset.copy_(torch.linalg.solve(precision, mean / variance) + error)
            self.log_var.copy_(-precision.diagonal().log())

    def log_p(self, x: Images) -> PerImage:
        prior = self.prior_net
        assert isinstance(prior, LearnedPrior)
        spread = self.weights @ prior.log_vars[0].exp().diag_embed() @ self.weights.T
        components = MultivariateNormal(
            prior.means[0] @ self.weights.T + self.bias, spread + self.variance * torch.eye(6)
        )
        return MixtureSameFamily(Categorical(logits=prior.logits[0]), components).log_prob(x.flatten(1))
