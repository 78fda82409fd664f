"""What docs/theory.md derives, on models and tables where all of it can be computed exactly; and what it measured."""

import csv
import math
from itertools import combinations, pairwise, product

import pytest
import torch
import torch.nn.functional as F
from helpers import labelled
from linear_gaussian import LinearGaussian
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from cvae_lightning.core.build import PACKAGE
from cvae_lightning.core.shapes import Labels
from cvae_lightning.models.bounds import ELBO
from cvae_lightning.models.latents import DiagonalGaussian, StandardGaussian
from cvae_lightning.models.likelihoods import Gaussian, GaussianPixels
from cvae_lightning.models.optimizers import adam
from cvae_lightning.models.vae import VAE
from cvae_lightning.networks.mlp import MLP

CPU = torch.device("cpu")
RUNS = PACKAGE.parent / "multirun" / "reference" / "theory" / "sweep.csv"


def kl_to_prior(q: DiagonalGaussian) -> Tensor:
    """KL(q || N(0, I)) of each image, nats."""
    return StandardGaussian(len(q.mean), q.mean.shape[1], CPU).kl(q, q.mean)


def tables(*sizes: int) -> Tensor:
    """Random joint probabilities, in float64."""
    return torch.rand(sizes, dtype=torch.double).flatten().softmax(0).reshape(sizes)


def divergence(q: Tensor, p: Tensor) -> Tensor:
    """KL(q || p) of tables, over the last dimension."""
    return (q * (q / p).log()).sum(-1)


def information(joint: Tensor) -> float:
    """I(a; b) in nats, of a table p(a, b); 0 log 0 is 0."""
    independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return float((torch.special.xlogy(joint, joint) - torch.special.xlogy(joint, independent)).sum())


def test_kl_is_never_negative_and_zero_for_equals_alone() -> None:
    q, p = (torch.randn(1000, 6, dtype=torch.double).softmax(1) for _ in range(2))
    assert (divergence(q, p) > 0).all()
    assert (divergence(q, q) == 0).all()
    gaussians = DiagonalGaussian(torch.randn(1000, 3, dtype=torch.double), torch.randn(1000, 3, dtype=torch.double))
    assert (kl_to_prior(gaussians) > 0).all()
    assert (StandardGaussian(1000, 3, CPU).kl_by_latent(gaussians) > 0).all(), "latent by latent too"
    assert kl_to_prior(DiagonalGaussian(torch.zeros(1, 3), torch.zeros(1, 3))) == 0


def test_kl_of_two_gaussians_is_as_derived() -> None:
    """Of any two, and of a diagonal one and the prior, which is all that the code needs."""
    means, factors = torch.randn(2, 5, dtype=torch.double), torch.randn(2, 5, 5, dtype=torch.double)
    one, two = factors @ factors.mT + 0.1 * torch.eye(5)
    off = means[1] - means[0]
    inverse = two.inverse()
    derived = 0.5 * ((inverse @ one).trace() + off @ inverse @ off - 5 + two.logdet() - one.logdet())
    expected = kl_divergence(MultivariateNormal(means[0], one), MultivariateNormal(means[1], two))
    torch.testing.assert_close(derived, expected)

    q = DiagonalGaussian(means, factors[:, 0])
    diagonal = MultivariateNormal(q.mean, q.log_var.exp().diag_embed())
    prior = MultivariateNormal(torch.zeros(5, dtype=torch.double), torch.eye(5, dtype=torch.double))
    torch.testing.assert_close(kl_to_prior(q), kl_divergence(diagonal, prior))


def test_kl_is_the_mean_log_ratio_of_the_densities() -> None:
    q = DiagonalGaussian(torch.tensor([[0.5, -1.0, 0.0]]), torch.tensor([[-2.0, 0.3, 0.0]]))
    many = q.repeated(400_000)
    z = many.rsample()
    ratio = many.log_prob(z) - StandardGaussian(len(z), 3, CPU).log_prob(z)
    assert ratio.mean().item() == pytest.approx(kl_to_prior(q).item(), abs=0.01)


class ShiftedByLabel(LinearGaussian):
    """A conditional one: the label moves each pixel by itself, so that x | y ~ N(b + y, ...)."""

    def posterior(self, x: Tensor, y: Labels) -> DiagonalGaussian:
        return super().posterior(x - y.reshape(-1, 1, 1, 1), y)

    def likelihood(self, z: Tensor, y: Labels) -> GaussianPixels:
        pixels = super().likelihood(z, y)
        return GaussianPixels(pixels.mean + y.reshape(-1, 1, 1, 1), self.variance)


def exact_elbo(model: LinearGaussian, x: Tensor, y: Labels) -> ELBO:
    """At the mean over all draws: E_q[(x - W z - b)^2] is that at q's mean, and the trace of W diag(var) W'."""
    q = model.posterior(x, y)
    at_the_mean = model.likelihood(q.mean, y).log_prob(x)
    spread = (model.weights.square() @ q.log_var.exp().T).sum(0)
    return ELBO(at_the_mean - spread / (2 * model.variance), kl_to_prior(q))


def gap(model: LinearGaussian, x: Tensor, y: Labels) -> Tensor:
    """KL(q || p(z | x, y)), nats."""
    q = model.posterior(x, y)
    precision = torch.eye(q.mean.shape[1]) + model.weights.T @ model.weights / model.variance
    centred = (x - y.reshape(-1, 1, 1, 1)).flatten(1) - model.bias
    mean = torch.linalg.solve(precision, (centred @ model.weights / model.variance).T).T
    exact = MultivariateNormal(mean, precision_matrix=precision)
    return kl_divergence(MultivariateNormal(q.mean, q.log_var.exp().diag_embed()), exact)


@pytest.mark.parametrize("error", [0.0, 0.2, 3.0])
def test_log_p_is_the_elbo_and_the_kl_to_the_posterior(error: float) -> None:
    model = LinearGaussian(error=error).double()
    x = LinearGaussian().draw(50).double()
    elbo, missing = exact_elbo(model, x, labelled(x)), gap(model, x, labelled(x))
    torch.testing.assert_close(elbo.value + missing, model.log_p(x), atol=1e-6, rtol=1e-6)
    assert (missing > 0).all(), "a diagonal precision is not the exact one"


def test_given_the_label_the_same_holds_of_log_p_given_y() -> None:
    model = ShiftedByLabel(error=0.2).double()
    y = torch.arange(50) % 10
    shift = y.reshape(-1, 1, 1, 1)
    x = model.float().draw(50).double() + shift
    model.double()
    log_p = model.log_p(x - shift)
    torch.testing.assert_close(exact_elbo(model, x, y).value + gap(model, x, y), log_p, atol=1e-6, rtol=1e-6)
    assert (exact_elbo(model, x, labelled(x)).value < log_p)[y > 0].all(), "a wrong label is unlikelier"


def test_a_draw_estimates_the_exact_elbo() -> None:
    model = LinearGaussian(error=0.2)
    x = model.draw(1)
    many = x.expand(200_000, -1, -1, -1)
    drawn = ELBO.at_a_draw(model, model.posterior(many, labelled(many)), many, labelled(many))
    exact = exact_elbo(model, x, labelled(x))
    torch.testing.assert_close(drawn.log_likelihood.mean(), exact.log_likelihood[0], atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.kl.mean(), exact.kl[0], atol=1e-3, rtol=0)


def test_the_kl_to_the_data_and_the_mean_log_likelihood_differ_by_an_entropy_that_no_parameter_moves() -> None:
    data = tables(8)
    entropy = -(data * data.log()).sum()
    theta = torch.randn(500, 8, dtype=torch.double, requires_grad=True)
    log_p = theta.log_softmax(1)
    kl, likelihood = divergence(data, log_p.exp()), (data * log_p).sum(1)
    torch.testing.assert_close(kl + likelihood, -entropy.expand(500))
    assert kl.argmin() == likelihood.argmax()
    down, up = (torch.autograd.grad(value.sum(), theta, retain_graph=True)[0] for value in (kl, likelihood))
    torch.testing.assert_close(down, -up)


def test_reparameterised_and_reinforce_gradients_agree_and_the_first_is_less_noisy() -> None:
    """Of E_q[log p(x | z)] by the posterior's mean; one draw each."""
    model = LinearGaussian(error=0.2)
    x = model.draw(1).expand(100_000, -1, -1, -1)
    q = model.posterior(x, labelled(x))
    mean = q.mean.detach().requires_grad_()
    q = DiagonalGaussian(mean, q.log_var.detach())
    z = q.rsample()
    (through_z,) = torch.autograd.grad(model.likelihood(z, labelled(z)).log_prob(x).sum(), mean)
    z = z.detach()
    (score,) = torch.autograd.grad(q.log_prob(z).sum(), mean)
    reinforce = model.likelihood(z, labelled(z)).log_prob(x).detach()[:, None] * score
    torch.testing.assert_close(through_z.mean(0), reinforce.mean(0), atol=0.15, rtol=0)
    assert (through_z.var(0) < reinforce.var(0) / 5).all()


def estimator_variances(w: float, mean: float, sd: float) -> tuple[float, float]:
    """Of the gradients of E[sin(w z)] by the mean of z ~ N(mean, sd^2): reparameterised, and REINFORCE."""
    noise = torch.linspace(-12, 12, 400_001, dtype=torch.double)
    density = torch.exp(-noise.square() / 2)
    density /= density.sum()
    z = mean + sd * noise
    estimates = (w * torch.cos(w * z), torch.sin(w * z) * noise / sd)
    (one, other) = means = [float((density * estimate).sum()) for estimate in estimates]
    assert one == pytest.approx(other, abs=1e-9), "both estimate the same gradient"
    squares = [float((density * estimate.square()).sum()) for estimate in estimates]
    through_z, reinforce = (square - mean**2 for square, mean in zip(squares, means, strict=True))
    return through_z, reinforce


@pytest.mark.parametrize(("w", "mean", "sd"), [(8.0, 0.0, 1.0), (30.0, 0.4, 0.5), (100.0, -1.3, 0.2)])
def test_reinforce_is_less_noisy_where_the_function_oscillates_within_a_posterior(
    w: float, mean: float, sd: float
) -> None:
    through_z, reinforce = estimator_variances(w, mean, sd)
    assert through_z == pytest.approx(w**2 / 2, rel=1e-6)
    assert reinforce == pytest.approx(1 / (2 * sd**2), rel=1e-6)
    slow_through_z, slow_reinforce = estimator_variances(0.1 / sd, mean, sd)
    assert slow_through_z < slow_reinforce / 10
    (less, more), (still_more, still_less) = (estimator_variances(turn / sd, 0.0, sd) for turn in (1.108, 1.110))
    assert less < more, "just below w * sd = 1.109"
    assert still_more > still_less, "just above"


@pytest.mark.parametrize("variance", [0.005, 0.5])
def test_noise_of_one_grey_level_costs_as_much_as_derived(variance: float) -> None:
    """The mean over a fine grid of shifts within a level, the same for every pixel and every mean."""
    x = (255 * torch.rand(1, 1, 28, 28)).round().double() / 255
    pixels = GaussianPixels(torch.rand(1, 1, 28, 28).double(), variance)
    shifts = (torch.arange(1000, dtype=torch.double) + 0.5) / 1000 - 0.5
    noisy = torch.stack([pixels.log_prob(x + shift / 255) for shift in shifts]).mean()
    assert (pixels.log_prob(x) - noisy).item() == pytest.approx(784 / (24 * 255**2 * variance), rel=1e-4)


@pytest.mark.parametrize("error", [0.0, 0.2, 3.0])
def test_a_larger_beta_is_a_looser_bound_and_a_smaller_one_is_no_bound(error: float) -> None:
    model = LinearGaussian(error=error).double()
    x = LinearGaussian().draw(50).double()
    elbo, log_p, missing = exact_elbo(model, x, labelled(x)), model.log_p(x), gap(model, x, labelled(x))
    objectives = [elbo.log_likelihood - beta * elbo.kl for beta in (1.0, 1.5, 4.0)]
    assert all((larger < smaller).all() for smaller, larger in pairwise([log_p, *objectives]))
    for beta in (0.0, 0.1, 0.9):
        exceeds = elbo.log_likelihood - beta * elbo.kl > log_p
        assert torch.equal(exceeds, (1 - beta) * elbo.kl > missing)
        assert exceeds.any() or error == 3 or beta == 0.9


def test_the_importance_weighted_bound_rises_to_log_p() -> None:
    """A latent of three values, of which all draws can be enumerated."""
    joint, q = torch.tensor([0.3, 0.05, 0.1]).double(), torch.tensor([0.2, 0.5, 0.3]).double()
    log_p, weights = float(joint.sum().log()), joint / q
    bounds = []
    for num in range(1, 10):
        draws = torch.tensor(list(product(range(3), repeat=num)))
        bounds.append(float((q[draws].prod(1) * weights[draws].mean(1).log()).sum()))
    assert bounds[0] == pytest.approx(float((q * weights.log()).sum())), "the ELBO"
    assert all(one < other < log_p for one, other in pairwise(bounds))
    many = torch.multinomial(q, 2000 * 500, replacement=True, generator=torch.Generator().manual_seed(0))
    assert float(weights[many].reshape(500, 2000).mean(1).log().mean()) == pytest.approx(log_p, abs=3e-3)


def test_the_mean_of_all_weights_is_the_average_over_subsets() -> None:
    weights = torch.rand(6, dtype=torch.double)
    for num in range(1, 6):
        subsets = torch.stack([weights[list(chosen)].mean() for chosen in combinations(range(6), num)])
        torch.testing.assert_close(subsets.mean(), weights.mean())
        assert subsets.log().mean() < weights.mean().log()


def test_weights_of_a_posterior_of_half_the_priors_variance_have_no_variance() -> None:
    """The mean square of p(z) / q(z) up to a distance grows without limit from there on, and is finite above."""

    def mean_square(variance: float, distance: float) -> float:
        z = torch.linspace(-distance, distance, 200_001, dtype=torch.double)
        log_ratio = -z.square() + z.square() / (2 * variance)  # of p(z)^2 and q(z), up to a constant
        return float(torch.trapezoid(log_ratio.exp() * variance**0.5, z))

    assert mean_square(0.6, 40) == pytest.approx(mean_square(0.6, 20), rel=1e-6)
    assert mean_square(0.5, 40) == pytest.approx(2 * mean_square(0.5, 20))
    assert mean_square(0.4, 40) > 1e6 * mean_square(0.4, 20)


@pytest.mark.parametrize("num", [10, 20, 40, 80])
def test_one_hidden_layer_interpolates_with_an_error_of_one_over_the_square_of_its_units(num: int) -> None:
    """sin(3 x) on [0, 2], whose curvature is at most 9: the error is at most 9 h^2 / 8 at knots h apart."""
    knots = torch.linspace(0, 2, num + 1, dtype=torch.double)
    values = torch.sin(3 * knots)
    slopes = values.diff() / knots.diff()
    outer = torch.cat([slopes[:1], slopes.diff()])
    x = torch.linspace(0, 2, 10_001, dtype=torch.double)
    layer = values[0] + torch.relu(x[:, None] - knots[:-1]) @ outer
    bound = 9 * (2 / num) ** 2 / 8
    assert 0.9 * bound < (layer - torch.sin(3 * x)).abs().max() <= bound


def gradients(variance: float, beta: float) -> list[Tensor]:
    """Of the loss of a small VAE, at the same weights and draws each time."""
    torch.manual_seed(0)
    model = VAE(MLP([16]), Gaussian(variance), adam(lr=0.01), latent_dim=3)
    loss = model.elbo(torch.rand(8, 1, 28, 28), torch.arange(8)).loss(beta)
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize(("variance", "beta"), [(0.5, 0.04), (0.01, 2.0), (2.0, 0.01)])
def test_the_gradient_knows_beta_times_variance_alone(variance: float, beta: float) -> None:
    """But for its length, which goes with 1 / variance."""
    assert variance * beta == pytest.approx(0.02)
    for one, other in zip(gradients(variance, beta), gradients(0.02, 1.0), strict=True):
        torch.testing.assert_close(variance * one, 0.02 * other, rtol=1e-3, atol=1e-6)


def test_a_mean_over_pixels_is_a_beta_of_as_many_as_there_are_pixels() -> None:
    """F.mse_loss + kl, as many repositories have it, is a 784th of the paper's loss at beta 784."""
    torch.manual_seed(0)
    model = VAE(MLP([16]), Gaussian(0.5), adam(lr=0.01), latent_dim=3)
    x, y = torch.rand(8, 1, 28, 28), torch.arange(8)
    q = model.posterior(x, y)
    loss = F.mse_loss(model.likelihood(q.rsample(), y).mean, x) + kl_to_prior(q).mean()
    customary = torch.autograd.grad(loss, list(model.parameters()))
    for one, other in zip(customary, gradients(0.5, 784.0), strict=True):
        torch.testing.assert_close(784 * one, other, rtol=1e-3, atol=1e-3)


def test_adam_takes_the_same_way_for_the_same_product() -> None:
    """A factor on the whole loss is lost on it, but for its epsilon."""
    ways = []
    for variance, beta in ((0.05, 1.0), (0.5, 0.1)):
        torch.manual_seed(0)
        model = VAE(MLP([16]), Gaussian(variance), adam(lr=0.01), latent_dim=3)
        x, y = torch.rand(8, 1, 28, 28), torch.arange(8)
        optimizer = model.optimizer(model.parameters())
        start = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        for _ in range(20):
            optimizer.zero_grad()
            model.elbo(x, y).loss(beta).backward()
            optimizer.step()
        ways.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]) - start)
    assert ways[0].norm() > 1
    assert (ways[0] - ways[1]).norm() < 1e-2 * ways[0].norm()


def test_the_papers_decoder_has_a_constant_of_448_point_7_nats() -> None:
    x = torch.rand(3, 1, 28, 28)
    constant = -Gaussian(0.5)(x.logit()).log_prob(x)
    torch.testing.assert_close(constant, torch.full((3,), 448.73), atol=0.01, rtol=0)
    assert 392 * math.log(math.pi) == pytest.approx(448.73, abs=0.01)


@pytest.mark.parametrize("signal", [0.3, 1.0, 20.0])
@pytest.mark.parametrize(("variance", "beta"), [(0.5, 1.0), (0.1, 1.0), (0.5, 0.2), (0.1, 100.0)])
def test_a_direction_is_kept_down_to_an_error_of_beta_times_variance(
    signal: float, variance: float, beta: float
) -> None:
    """A linear VAE of one pixel of variance `signal`: its optimum, and the line that joins error and rate."""

    def parts(weights: Tensor) -> tuple[Tensor, Tensor]:
        decoder, encoder, log_var = weights
        error = (1 - decoder * encoder).square() * signal + decoder.square() * log_var.exp()
        q = DiagonalGaussian((encoder * signal**0.5).reshape(1, 1), log_var.reshape(1, 1))
        return error, kl_to_prior(q)[0]

    level = beta * variance
    kept = max(signal - level, 0.0) ** 0.5
    at = [kept, kept / signal, math.log(min(level / signal, 1.0))]
    optimum = torch.tensor(at, dtype=torch.double, requires_grad=True)
    error, kl = parts(optimum)
    loss = error / (2 * variance) + beta * kl
    assert error.item() == pytest.approx(min(signal, level))
    assert kl.item() == pytest.approx(max(0.5 * math.log(signal / level), 0.0))
    assert torch.autograd.grad(loss, optimum)[0].abs().max() < 1e-6
    for _ in range(100):
        other_error, other_kl = parts(optimum.detach() + 0.3 * torch.randn(3).double())
        assert other_error / (2 * variance) + beta * other_kl >= loss - 1e-9


def test_more_information_than_the_sum_of_both_is_not_the_rule() -> None:
    """x = y = z, one toss of a coin: I(z; x, y) is one bit, I(z; x) + I(z; y) are two."""
    coin = torch.eye(2) / 2
    with_both = torch.zeros(2, 2, 2)  # z, x, y
    with_both[0, 0, 0] = with_both[1, 1, 1] = 0.5
    assert information(with_both.flatten(1)) == pytest.approx(math.log(2))
    assert information(coin) + information(coin) == pytest.approx(2 * math.log(2))


def left_to_learn(joint: Tensor) -> float:
    """H(b | a) in nats, of a table p(a, b)."""
    return float(torch.special.entr(joint).sum() - torch.special.entr(joint.sum(1)).sum())


def given_x(joint: Tensor) -> float:
    """I(z; y | x) in nats, of a table p(z, x, y): the mean of I(z; y) over the values of x."""
    shares = joint.sum((0, 2))
    return sum(float(share) * information(joint[:, at] / share) for at, share in enumerate(shares))


def test_the_inequality_holds_exactly_where_the_label_tells_more_of_z_beside_the_image() -> None:
    """Of sharp tables, for which it holds, and of tables whose label the image gives away, for which it does not."""
    outcomes = set()
    for number in range(200):
        joint = (4 * torch.randn(3, 4, 3).double()).flatten().softmax(0).reshape(3, 4, 3)
        if number % 2:
            joint = joint.sum(2, keepdim=True) * F.one_hot(torch.arange(4) % 3)
        of_both, of_x, of_y = (information(part) for part in (joint.flatten(1), joint.sum(2), joint.sum(1)))
        assert of_both == pytest.approx(of_x + given_x(joint))
        assert given_x(joint) <= left_to_learn(joint.sum(0)) + 1e-9, "no more than the image leaves open"
        if abs(given_x(joint) - of_y) > 1e-6:
            holds = of_both > of_x + of_y
            assert holds == (given_x(joint) > of_y)
            outcomes.add(holds)
    assert outcomes == {True, False}


def test_an_encoder_that_does_not_see_the_label_satisfies_it_only_without_a_trace_of_the_label() -> None:
    for _ in range(100):
        encoder = (3 * torch.randn(3, 4, 1).double()).softmax(0)  # q(z | x)
        joint = encoder * tables(4, 5)
        assert given_x(joint) == pytest.approx(0)
        assert information(joint.sum(1)) > 1e-9
        assert information(joint.flatten(1)) < information(joint.sum(2)) + information(joint.sum(1))


def doubt(error: float, num_classes: int = 10) -> float:
    """Fano's bound on H(y | a guess that is wrong with probability `error`), nats."""
    return -error * math.log(error / (num_classes - 1)) - (1 - error) * math.log(1 - error)


def test_a_guess_bounds_what_is_left_to_learn() -> None:
    for _ in range(100):
        joint = (3 * torch.randn(6, 4).double()).flatten().softmax(0).reshape(6, 4)  # p(z, y)
        error = 1 - float(joint.max(1).values.sum())
        assert left_to_learn(joint) <= doubt(error, 4)
    even = torch.full((10, 10), 0.18 / 90, dtype=torch.double).fill_diagonal_(0.082)
    assert left_to_learn(even) == pytest.approx(doubt(0.18)), "tight where all wrong classes are as likely"


def test_where_z_is_independent_of_the_label_it_is() -> None:
    for _ in range(100):
        images = torch.randn(3, 4, 5).double().softmax(2)  # p(x | z, y)
        joint = tables(3)[:, None, None] * tables(4)[:, None] * images
        of_y, of_x = information(joint.sum(2)), information(joint.sum(1))
        assert of_y == pytest.approx(0)
        assert information(joint.flatten(1)) >= of_x + of_y


def test_the_mean_kl_is_what_z_tells_and_how_far_its_codes_are_from_the_prior() -> None:
    """For any encoder q(z | x): mean KL(q(z | x) || p(z)) = I(z; x) + KL(q(z) || p(z))."""
    data, encoder, prior = tables(6), torch.randn(6, 4).double().softmax(1), tables(4)
    joint = data[:, None] * encoder
    mean_kl = float((data * divergence(encoder, prior)).sum())
    assert mean_kl == pytest.approx(information(joint) + float(divergence(joint.sum(0), prior)))


def measured() -> list[dict[str, float]]:
    """The kept runs whose variance is fixed."""
    with RUNS.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["way"] != "optimal"]
    return [{key.removeprefix("val/"): float(value) for key, value in row.items() if key != "way"} for row in rows]


def weight(row: dict[str, float]) -> float:
    """2 * beta * variance: squared error for a nat."""
    return 2 * row["beta"] * row["variance"]


def test_measured_runs_of_one_product_are_one_point() -> None:
    """Of two seeds, which is all that sets them apart."""
    pairs = [(a, b) for a in measured() for b in measured() if a["seed"] < b["seed"]]
    pairs = [(a, b) for a, b in pairs if math.isclose(weight(a), weight(b))]
    assert len(pairs) == 3
    for varied, other in pairs:
        assert varied["variance"] != other["variance"]
        assert varied["mse"] == pytest.approx(other["mse"], rel=0.1)
        assert varied["kl"] == pytest.approx(other["kl"], rel=0.1, abs=0.3)


def test_measured_errors_and_rates_have_the_slopes_that_their_products_name() -> None:
    """What is best at its own price is no better at another's: each slope lies between the prices of its ends."""
    rows = sorted(measured(), key=weight)
    for one, other in pairwise(rows):
        gained, lost = one["kl"] - other["kl"], 784 * (other["mse"] - one["mse"])
        if gained > 1:
            assert weight(one) < lost / gained < weight(other)
