"""The paper's metrics, against independent computations and against the paper's own numbers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity as skimage_ssim
from torch import Tensor
from torchmetrics import Metric

from cvae_lightning.data.idx_source import IdxSource
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.grader import Grader
from cvae_lightning.evaluators.samples import rounded, truncated
from cvae_lightning.metrics.pixel_fid import FEW_CLASSES, PixelFID
from cvae_lightning.metrics.score import score
from cvae_lightning.metrics.ssim import SSIM, structural_similarity
from cvae_lightning.models.bounds import ELBO
from cvae_lightning.models.mean_elbo import MeanELBO
from cvae_lightning.runs.paper import TABLE_2, TABLE_3


def reference_ssim(a: Tensor, b: Tensor) -> Tensor:
    pairs = zip(rounded(a)[:, 0].numpy(), rounded(b)[:, 0].numpy(), strict=True)
    return torch.tensor([skimage_ssim(one, other, data_range=255) for one, other in pairs]).float()


def blurred(x: Tensor) -> Tensor:
    return rounded(torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1)).float() / 255


def test_ssim_is_scikit_images_on_noise() -> None:
    a = torch.randint(0, 256, (20, 1, 28, 28)) / 255
    b = rounded((a + 0.3 * torch.rand_like(a)).clamp(0, 1)).float() / 255
    torch.testing.assert_close(structural_similarity(a, b), reference_ssim(a, b), atol=1e-4, rtol=0)


def test_ssim_is_scikit_images_on_real_images(mnist_dir: Path) -> None:
    images = IdxSource("mnist", "MNIST", str(mnist_dir)).test_split().images
    x = images[:500].float() / 255
    for other in (blurred(x), x.roll(1, 0), torch.zeros_like(x)):
        expected = reference_ssim(x, other)
        torch.testing.assert_close(structural_similarity(x, other), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(7, 7), (33, 20), (64, 64)])
def test_ssim_of_colour_is_scikit_images_with_a_channel_axis(size: tuple[int, int]) -> None:
    a, b = torch.rand(2, 5, 3, *size)
    expected = [
        skimage_ssim(*(image.numpy() for image in pair), data_range=1.0, channel_axis=0)
        for pair in zip(a, b, strict=True)
    ]
    assert structural_similarity(a, b).tolist() == pytest.approx(expected, abs=1e-5)


def test_ssim_of_an_image_with_itself_is_one() -> None:
    x = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(structural_similarity(x, x), torch.ones(4))


def reference_pixel_fid(real: Tensor, real_y: Tensor, fake: Tensor, fake_y: Tensor) -> float:
    """The definition of the paper, class by class, in numpy."""
    distances = []
    for label in range(int(real_y.max()) + 1):
        r = real[real_y == label].flatten(1).numpy().astype("f8") / 255
        g = fake[fake_y == label].flatten(1).numpy().astype("f8") / 255
        m_r, m_g, v_r, v_g = r.mean(0), g.mean(0), r.var(0), g.var(0)
        distances.append(((m_g - m_r) ** 2).sum() + (v_g + v_r - 2 * np.sqrt(v_g * v_r)).sum())
    return float(np.mean(distances))


def image_bytes(num: int, high: int) -> Tensor:
    return torch.randint(0, high, (num, 1, 28, 28), dtype=torch.uint8)


def test_pixel_fid_is_what_numpy_says() -> None:
    real, fake = image_bytes(300, 256), image_bytes(90, 200)
    real_y, fake_y = torch.arange(300) % 3, torch.arange(90) % 3
    metric = PixelFID(num_classes=3, num_pixels=784)
    metric.update(real, real_y, real=True)
    metric.update(fake, fake_y, real=False)
    assert metric.compute().item() == pytest.approx(reference_pixel_fid(real, real_y, fake, fake_y), rel=1e-6)


@pytest.mark.parametrize("num_classes", [FEW_CLASSES, FEW_CLASSES + 1])
def test_pixel_fid_adds_up_bytes_exactly(num_classes: int) -> None:
    images, labels = image_bytes(300, 256), torch.randint(num_classes, (300,))
    metric = PixelFID(num_classes, 784)
    for _ in range(2):
        metric.update(images, labels, real=True)
    for label in range(num_classes):
        pixels = images[labels == label].flatten(1).long()
        assert torch.equal(metric.sums[1, label], 2 * pixels.sum(0))
        assert torch.equal(metric.sums_of_squares[1, label], 2 * pixels.square().sum(0))


def test_pixel_fid_of_images_with_themselves_is_zero() -> None:
    metric = PixelFID(num_classes=2, num_pixels=784)
    images, labels = image_bytes(50, 256), torch.arange(50) % 2
    metric.update(images, labels, real=True)
    metric.update(images, labels, real=False)
    assert metric.compute().item() == 0


def test_pixel_fid_of_pixels_that_never_change_is_the_distance_of_their_means() -> None:
    """A model that has barely trained draws such pixels; rounding does not make their variance negative."""
    metric = PixelFID(num_classes=1, num_pixels=256)
    metric.update(torch.arange(256, dtype=torch.uint8).expand(100, 1, 1, 256), torch.zeros(100).long(), real=False)
    metric.update(torch.zeros(7, 1, 1, 256, dtype=torch.uint8), torch.zeros(7).long(), real=True)
    expected = (torch.arange(256).double() / 255).square().sum()
    torch.testing.assert_close(metric.compute(), expected)


def test_pixel_fid_cannot_tell_digits_from_noise(mnist_dir: Path) -> None:
    """Both real digits and shuffled pixels are about 1.2 from the rest, so a Score is never reported alone."""
    source = IdxSource("mnist", "MNIST", str(mnist_dir))
    real, (images, labels, _) = source.test_split(), source.fit_splits()[1]
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(labels), generator=generator)
    hundreds = torch.cat([order[labels[order] == label][:100] for label in range(10)])
    distances = []
    for shuffle in (False, True):
        chosen = images[hundreds].unflatten(0, (10, 100))
        if shuffle:
            index = torch.rand(10, 100, 1, 28, 28, generator=generator).argsort(1)
            chosen = chosen.gather(1, index)
        metric = PixelFID(10, 784)
        metric.update(real.images, real.labels, real=True)
        metric.update(chosen.flatten(0, 1), labels[hundreds], real=False)
        distances.append(metric.compute().item())
    assert distances[0] == pytest.approx(distances[1], rel=1e-6)
    assert distances[0] == pytest.approx(1.2, abs=0.2)


@pytest.mark.parametrize("batch_size", [1, 7, 60])
def test_no_metric_depends_on_the_batch_size(batch_size: int) -> None:
    a = torch.rand(60, 1, 28, 28)
    b = (a + 0.1 * torch.rand_like(a)).clamp(0, 1)
    labels = torch.arange(60) % 3
    elbo = ELBO(torch.randn(60) - 400, torch.rand(60))

    def values(size: int) -> list[Tensor]:
        ssim, fid, mean = SSIM(), PixelFID(3, 784), MeanELBO(beta=2.0)
        for part in torch.arange(60).split(size):
            ssim.update(a[part], b[part])
            fid.update(rounded(a[part]), labels[part], real=True)
            fid.update(rounded(b[part]), labels[part], real=False)
            mean.update(ELBO(elbo.log_likelihood[part], elbo.kl[part]))
        return [ssim.compute(), fid.compute(), *mean.compute().values()]

    torch.testing.assert_close(values(batch_size), values(60), rtol=1e-6, atol=0)
    assert values(batch_size)[1] == values(60)[1], "integer sums: not even the last digit"


def test_mean_elbo_is_the_mean_of_the_objective() -> None:
    elbo = ELBO(torch.randn(8), torch.rand(8))
    metric = MeanELBO(beta=3.0)
    metric.update(elbo)
    values = metric.compute()
    torch.testing.assert_close(values["elbo"], elbo.value.mean())
    torch.testing.assert_close(values["loss"], elbo.loss(3.0))
    torch.testing.assert_close(values["log_likelihood"] - values["kl"], values["elbo"])


@pytest.mark.parametrize("model", TABLE_2)
def test_the_papers_columns_give_its_score_column(model: str) -> None:
    row = TABLE_2[model]
    assert score(row["ssim"], row["mse"], row.get("fid_pixel"), latent_dim=20) == pytest.approx(row["score"], abs=5e-3)


def test_table_2_is_not_the_run_of_table_3_that_has_its_score() -> None:
    """At latent_dim 15, which Table 3 names for a Score of 24.22, the columns of Table 2 would give 24.35."""
    row = TABLE_2["cvae"]
    assert TABLE_3[50, 15, 0.002] == 24.22
    assert score(row["ssim"], row["mse"], row["fid_pixel"], latent_dim=15) == pytest.approx(24.35, abs=5e-3)


def test_score_is_capped_and_nothing_is_below_zero_in_its_terms() -> None:
    assert score(1.0, 0.0, None, latent_dim=2) == 10
    assert score(1.0, 0.0, None, latent_dim=2, capped=False) == pytest.approx((5 + 5) * (1.2 - 2 / 784))
    assert score(1.0, 0.0, 0.0, latent_dim=2) == 30
    assert score(0.5, 0.9, 99.0, latent_dim=0) == pytest.approx(5 * 1.2)
    assert score(0.7399, 0.0231, 4.4657, latent_dim=20) == pytest.approx(24.2248, abs=5e-3)


def test_the_grader_rounds_reconstructions_and_truncates_samples() -> None:
    levels = torch.arange(256).reshape(1, 1, 16, 16)
    assert torch.equal(rounded(levels / 255), levels.byte())
    halves = (levels[..., :-1] + 0.75) / 255
    assert torch.equal(rounded(halves), (levels[..., :-1] + 1).byte())
    assert torch.equal(truncated(halves), levels[..., :-1].byte())


def test_the_graders_mse_is_that_of_rounded_reconstructions() -> None:
    x, y = torch.rand(30, 1, 28, 28), torch.zeros(30, dtype=torch.long)
    darker: Any = SimpleNamespace(
        num_classes=0, condition=None, latent_dim=5, image_shape=(1, 28, 28), reconstruct=lambda x, y: 0.7 * x
    )
    batches = list(zip(x.split(7), y.split(7), strict=True))
    numbers = Grader().evaluate(darker, batches, Split(rounded(x), y))
    expected = ((255 * 0.7 * x + 0.5).floor() / 255 - x).square().mean().item()
    assert numbers["mse"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("metric", [SSIM(), PixelFID(2, 784), MeanELBO(1.0)])
def test_metrics_hold_nothing_to_train_or_to_save(metric: Metric) -> None:
    assert not list(metric.parameters())
    assert not metric.state_dict()
