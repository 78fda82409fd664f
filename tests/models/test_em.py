"""Expectation maximisation for mixtures of Gaussians: what holds for any latents."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from cvae_lightning.core.errors import UserError
from cvae_lightning.models import em
from cvae_lightning.models.em import Blocks, Mixture, em_step, fit_mixture
from cvae_lightning.models.samplers import MixtureSampler

Make = Callable[[torch.Generator], Tensor]


def clusters(num: int, latent_dim: int, seed: int = 0) -> Tensor:
    """`num` latents around six centres far from 0, with correlations."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 + 2 * torch.randn(6, latent_dim, generator=generator)
    mixing = torch.randn(latent_dim, latent_dim, generator=generator) / latent_dim**0.5
    noise = torch.randn(num, latent_dim, generator=generator) @ mixing
    return centres[torch.randint(6, (num,), generator=generator)] + noise


def as_torch(mixture: Mixture) -> MixtureSameFamily:
    parts = MultivariateNormal(mixture.means, scale_tril=mixture.factors)
    return MixtureSameFamily(Categorical(mixture.weights), parts)


@pytest.mark.parametrize("latent_dim", [1, 2, 7])
def test_the_log_density_is_torchs(latent_dim: int) -> None:
    z = clusters(500, latent_dim)
    mixture = fit_mixture(z, 4, seed=0)
    torch.testing.assert_close(mixture.log_prob(z), as_torch(mixture).log_prob(z.double()))


def test_no_iteration_lowers_the_likelihood_of_what_is_fitted() -> None:
    """But for the floor of the variances, which is too small to be seen here."""
    for seed in range(3):
        z = clusters(600, 5, seed).double()
        mixture = Mixture(torch.full((6,), 1 / 6).double(), z[:6], torch.eye(5).double().repeat(6, 1, 1))
        blocks = Blocks(z)
        reached = []
        for _ in range(30):
            log_likelihood, mixture = em_step(blocks, mixture)
            reached.append(log_likelihood)
        assert all(after > before - 1e-6 for before, after in pairwise(reached))
        assert reached[-1] > reached[0] + 1
        assert float(mixture.log_prob(z).mean()) >= reached[-1] - 1e-6


@pytest.mark.parametrize("latent_dim", [1, 3, 20])
def test_one_component_has_the_mean_and_the_covariance_of_the_latents(latent_dim: int) -> None:
    z = clusters(400, latent_dim)
    weights, means, factors = fit_mixture(z, 1, seed=0)
    covariance = z.double().T.cov(correction=0).reshape(latent_dim, latent_dim) + em.FLOOR * torch.eye(latent_dim)
    torch.testing.assert_close(weights, torch.ones(1).double())
    torch.testing.assert_close(means[0], z.double().mean(0))
    torch.testing.assert_close(factors[0] @ factors[0].T, covariance)


def test_an_iteration_is_scikit_learns_from_the_same_start() -> None:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    z = clusters(800, 4).double()
    mixture = Mixture(torch.full((5,), 0.2).double(), z[:5], torch.eye(4).double().repeat(5, 1, 1))
    mixture = mixture._replace(weights=mixture.weights / mixture.weights.sum())
    start = {
        f"{name}_init": part.numpy() for name, part in zip(("weights", "means", "precisions"), mixture, strict=True)
    }
    theirs = GaussianMixture(5, reg_covar=em.FLOOR, max_iter=3, tol=0, **start)
    with pytest.warns(ConvergenceWarning):
        theirs.fit(z.numpy())
    for _ in range(3):
        _, mixture = em_step(Blocks(z), mixture)
    torch.testing.assert_close(mixture.weights, torch.from_numpy(theirs.weights_))
    torch.testing.assert_close(mixture.means, torch.from_numpy(theirs.means_))
    torch.testing.assert_close(mixture.factors @ mixture.factors.mT, torch.from_numpy(theirs.covariances_))
    torch.testing.assert_close(mixture.log_prob(z), torch.from_numpy(theirs.score_samples(z.numpy())))


def test_a_fit_scores_what_scikit_learns_scores() -> None:
    """On latents that were not fitted, on average over five seeds; nats per image."""
    from sklearn.mixture import GaussianMixture

    fitted, held_out = clusters(3000, 4).double().split([2000, 1000])
    ours, theirs = [], []
    for seed in range(5):
        ours.append(float(fit_mixture(fitted, 6, seed).log_prob(held_out).mean()))
        reference = GaussianMixture(6, reg_covar=em.FLOOR, max_iter=200, random_state=seed).fit(fitted.numpy())
        theirs.append(float(reference.score(held_out.numpy())))
    assert sum(ours) / 5 == pytest.approx(sum(theirs) / 5, abs=0.05)


def test_blocks_change_no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither does computing the features anew in each iteration."""
    z = clusters(700, 3)
    whole = fit_mixture(z, 3, seed=0)
    monkeypatch.setattr(em, "BLOCK_ELEMENTS", 1000)
    kept = fit_mixture(z, 3, seed=0)
    monkeypatch.setattr(em, "KEPT_ELEMENTS", 0)
    anew = fit_mixture(z, 3, seed=0)
    for one, two, three in zip(whole, kept, anew, strict=True):
        torch.testing.assert_close(one, two)
        assert torch.equal(two, three)


def test_the_start_of_many_latents_comes_from_a_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    z = clusters(3000, 3)
    all_seen = fit_mixture(z, 6, seed=0).log_prob(z).mean()
    monkeypatch.setattr(em, "SEEDING_LATENTS", 300)
    torch.testing.assert_close(fit_mixture(z, 6, seed=0).log_prob(z).mean(), all_seen, atol=0.1, rtol=0)


def test_a_fit_depends_on_its_seed_alone_and_leaves_the_global_stream_untouched() -> None:
    z = clusters(500, 3)
    torch.manual_seed(0)
    first = fit_mixture(z, 5, seed=3)
    drawn = torch.rand(2)
    again = fit_mixture(z, 5, seed=3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(2))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first.means, fit_mixture(z, 5, seed=4).means)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda g: torch.ones(1, 3), id="one latent"),
        pytest.param(lambda g: torch.full((300, 3), 0.1), id="equal latents"),
        pytest.param(lambda g: torch.randn(2, 3, generator=g).repeat(200, 1), id="two latents, 200 times each"),
        pytest.param(lambda g: torch.randn(300, 3, generator=g) * torch.tensor([1, 0, 0]), id="constant coordinates"),
        pytest.param(lambda g: torch.randn(300, 1, generator=g).expand(300, 3), id="equal coordinates"),
        pytest.param(lambda g: 1e6 * torch.randn(300, 3, generator=g), id="large"),
        pytest.param(lambda g: 1e-12 * torch.randn(300, 3, generator=g), id="small"),
        pytest.param(lambda g: 1e4 + torch.randn(300, 3, generator=g), id="far from 0"),
        pytest.param(lambda g: torch.randn(300, 3, generator=g) / torch.rand(300, 1, generator=g) ** 3, id="outliers"),
        pytest.param(lambda g: torch.randn(300, 40, generator=g), id="hardly more latents than coordinates"),
    ],
)
@pytest.mark.parametrize("num_components", [1, 8])
def test_degenerate_latents_have_a_proper_density(make: Make, num_components: int) -> None:
    z = make(torch.Generator().manual_seed(0))
    mixture = fit_mixture(z, num_components, seed=0)
    assert all(part.isfinite().all() for part in mixture)
    assert (mixture.factors.diagonal(dim1=1, dim2=2) > 0).all()
    assert (mixture.weights >= 0).all()
    assert float(mixture.weights.sum()) == pytest.approx(1)
    torch.testing.assert_close(mixture.log_prob(z), as_torch(mixture).log_prob(z.double()), atol=1e-3, rtol=1e-3)
    assert float(mixture.log_prob(z).mean()) >= float(fit_mixture(z, 1, seed=0).log_prob(z).mean()) - 1e-3
    torch.testing.assert_close(mixture.weights @ mixture.means, z.double().mean(0), rtol=1e-6, atol=1e-6)


def test_a_component_without_latents_keeps_weight_0() -> None:
    z = clusters(200, 2).double()
    far = Mixture(
        torch.tensor([1.0, 0]).double(), torch.stack([z[0], z[0] + 1e6]), torch.eye(2).double().repeat(2, 1, 1)
    )
    for _ in range(3):
        _, far = em_step(Blocks(z), far)
    assert far.weights.tolist() == [1, 0]
    torch.testing.assert_close(far.means[0], z.mean(0))


def test_each_class_is_fitted_as_if_it_were_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    num_classes = 200
    y = torch.randint(num_classes, (4000,), generator=generator).sort().values
    y[:1500] = 0  # of very different sizes
    z = torch.randn(4000, 3, generator=generator) + y[:, None] / 10
    sampler = MixtureSampler(3, num_classes, num_components=4)
    sampler.fit([(z, y)])
    for group in (0, 150, 199):
        alone = MixtureSampler(3, 0, num_components=4)
        alone.fit([(z[y == group], torch.zeros(int((y == group).sum()), dtype=torch.long))])
        for name in ("weights", "means", "factors"):
            assert torch.equal(getattr(sampler, name)[group], getattr(alone, name)[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_latents_that_are_not_finite_are_refused(value: float) -> None:
    z = clusters(300, 3)
    z[17, 1] = value
    with pytest.raises(UserError, match=r"Expected finite latents of the training images \(sampler\), got"):
        MixtureSampler(3, 0, num_components=2).fit([(z, torch.zeros(300, dtype=torch.long))])
