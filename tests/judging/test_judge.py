"""The judge is never shown what it measures, and what it measures is what independent computations say."""

import functools
import logging
import math
import re
import shutil
import socket
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg
import torch
from helpers import MakeRun, composed, evaluate_again, numbers_of, write_idx_files
from omegaconf import DictConfig
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.files import listed_digests, sha256_of
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Images, Labels
from cvae_lightning.data.digits import Digits
from cvae_lightning.data.idx_source import IdxSource
from cvae_lightning.data.loader import Loader
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators import inception, inception_weights
from cvae_lightning.evaluators.evaluator import UNCONDITIONAL, Absent
from cvae_lightning.evaluators.inception import Inception
from cvae_lightning.evaluators.pca import PCA
from cvae_lightning.evaluators.sample_quality import ACCURACIES, SampleQuality
from cvae_lightning.evaluators.samples import with_labels
from cvae_lightning.judging import store as judge_files
from cvae_lightning.judging.classifier import distorted, fit, half_mirrored
from cvae_lightning.judging.store import SHIPPED, SUMS, digest_of, find, judge_for
from cvae_lightning.judging.train import train_judge
from cvae_lightning.metrics.distances import (
    PrecomputedFeatures,
    frechet_distance,
    kernel_distance,
    precision_and_recall,
)
from cvae_lightning.training.train import train

FULL = {"fid_judge", "fid_judge_floor", "kid_judge", "precision", "recall", "num_samples", "mse_pca", "fid_inception"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge reads a tenth of the samples; one that does not come with the package is fitted in one epoch."""
    monkeypatch.setattr("cvae_lightning.evaluators.sample_quality.SAMPLES_PER_CLASS", 100)
    monkeypatch.setattr(judge_files, "fit", functools.partial(fit, epochs=1))


@pytest.fixture(scope="module")
def digits() -> tuple[Split, Split]:
    return Digits().fit_splits()


@pytest.fixture
def blobs(idx_dir: Path) -> IdxSource:
    return IdxSource("mnist", "MNIST", str(idx_dir))


@pytest.fixture
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_files, "_in_use", {})


class Copies:
    """A model whose samples are the images of the requested class of a split, one after the other."""

    latent_dim = 5

    def __init__(self, split: Split, labels: Tensor | None = None, num_classes: int = 10) -> None:
        self.images = split.images.float() / 255
        self.labels = split.labels if labels is None else labels
        self.condition = Condition.of_classes(num_classes) if num_classes else Condition()
        self.num_classes = num_classes
        self.image_shape: Sequence[int] = tuple(split.images.shape[1:])
        self.turn = 0

    def reconstruct(self, x: Images, y: Labels) -> Images:
        return x

    def sample(self, y: Labels) -> Images:
        chosen = []
        for label in y.tolist():
            places = (self.labels == label).nonzero()[:, 0] if self.num_classes else torch.randperm(len(self.labels))
            chosen.append(places[self.turn % len(places)])
            self.turn += 1
        return self.images[torch.stack(chosen)]


def judged(model: Copies, split: Split, train: Split, folder: Path, batch_size: int = 100) -> dict[str, float]:
    torch.manual_seed(0)
    return numbers_of(SampleQuality(str(folder)).evaluate(model, Loader(split, batch_size), train))


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.safetensors")), ids=lambda file: file.stem)
def test_shipped_judges_are_small_and_listed(file: Path) -> None:
    assert file.stat().st_size <= 1_000_000
    assert sha256_of(file) == listed_digests(SHIPPED / SUMS)[file.name]


def test_the_judge_of_digits_reads_them(digits: tuple[Split, Split]) -> None:
    judge, test = find(SHIPPED, digest_of(digits[0])), Digits().test_split()
    assert judge
    assert (judge.read(test.images)[1] == test.labels).double().mean() > 0.97


def test_the_judge_of_mnist_reads_995_of_1000(mnist_dir: Path) -> None:
    source = IdxSource("mnist", "MNIST", str(mnist_dir))
    judge, test = find(SHIPPED, digest_of(source.fit_splits()[0])), source.test_split()
    assert judge
    assert (judge.read(test.images)[1] == test.labels).double().mean() >= 0.995


def test_the_judge_of_fashion_mnist_reads_93_of_100(fashion_mnist_dir: Path) -> None:
    source = IdxSource("fashion_mnist", "FashionMNIST", str(fashion_mnist_dir))
    judge, test = find(SHIPPED, digest_of(source.fit_splits()[0])), source.test_split()
    assert judge
    assert (judge.read(test.images)[1] == test.labels).double().mean() >= 0.93


@pytest.mark.usefixtures("_new_process")
def test_a_judge_is_trained_once_and_kept_beside_the_data(blobs: IdxSource, tmp_path: Path) -> None:
    train, val = blobs.fit_splits()
    first = judge_for(train, tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    judge_files._in_use.clear()
    again = judge_for(train, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
    assert len(files) == 3, "weights, SHA256SUMS and the lock"
    for mine, other in zip(first.read(val.images), again.read(val.images), strict=True):
        assert torch.equal(mine, other), "what was trained is what is read back"


@pytest.mark.usefixtures("_new_process")
def test_a_judge_serves_the_split_that_it_was_fitted_to_alone(blobs: IdxSource, idx_dir: Path, tmp_path: Path) -> None:
    """However the splits are drawn, an image of val was never used to train the judge that evaluates val."""
    others = IdxSource("mnist", "MNIST", str(idx_dir), split_seed=1).fit_splits()[0]
    judge_for(blobs.fit_splits()[0], tmp_path)
    assert find(tmp_path, digest_of(blobs.fit_splits()[0]))
    assert not find(tmp_path, digest_of(others))
    judge_for(others, tmp_path)
    assert len(listed_digests(tmp_path / SUMS)) == 2


@pytest.mark.usefixtures("_new_process")
def test_a_judge_that_cannot_be_stored_serves_the_process(
    blobs: IdxSource, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    train, _ = blobs.fit_splits()
    judge = judge_for(train, tmp_path / "file" / "judges")
    assert "cannot be stored" in caplog.text
    assert judge_for(train, tmp_path / "file" / "judges") is judge


def test_a_damaged_judge_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "judges"
    shutil.copytree(SHIPPED, folder)
    file = folder / "digits.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match=r"digits.safetensors is damaged: its SHA-256 .* Delete or replace it."):
        find(folder, "any")


def test_fitting_is_repeatable_and_leaves_the_callers_draws_alone(blobs: IdxSource) -> None:
    train, _ = blobs.fit_splits()
    state = torch.get_rng_state()
    first = fit(train, epochs=1)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.inference_mode():  # as in Trainer.validate
        again = fit(train, epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    for change in ({"seed": 1}, {"distortion": 0.07}, {"mirrored": True}):
        other = fit(train, epochs=1, **change)
        assert not torch.equal(first.head.weight, other.head.weight)


def test_mirroring_takes_about_half_of_the_images_left_to_right(blobs: IdxSource) -> None:
    x = torch.rand(400, 1, 4, 4)
    mirrored = half_mirrored(x)
    turned = (mirrored == x.flip(3)).flatten(1).all(1)
    assert torch.equal(mirrored[~turned], x[~turned])
    assert 150 < int(turned.sum()) < 250


def test_without_distortion_images_are_only_shifted() -> None:
    x = torch.zeros(50, 1, 28, 28)
    x[:, :, 10:18, 10:18] = 1
    assert torch.allclose(distorted(x, 0.0).sum((1, 2, 3)), torch.tensor(64.0), rtol=1e-4)
    assert not torch.allclose(distorted(x, 0.15).sum((1, 2, 3)), torch.tensor(64.0), rtol=1e-2)


def test_the_command_keeps_a_judge_and_prints_its_accuracy(
    idx_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config: DictConfig = composed(f"data_dir={idx_dir}", f"out={tmp_path}", "epochs=1", config_name="judge")
    train_judge(config)
    assert list(listed_digests(tmp_path / SUMS)) == ["mnist.safetensors"]
    assert "accuracy on val " in caplog.text
    assert "accuracy on test" in caplog.text


def test_the_command_measures_only_splits_that_have_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write_idx_files(tmp_path, train=2, test=1)  # a sixth of two images is none
    train_judge(composed(f"data_dir={tmp_path}", f"out={tmp_path}", "epochs=1", config_name="judge"))
    assert "accuracy on val  does not exist: no images" in caplog.text
    assert re.search(r"accuracy on test [01].*of 1\)", caplog.text)


def test_the_command_refuses_a_train_split_without_images(tmp_path: Path) -> None:
    write_idx_files(tmp_path, train=0)
    with pytest.raises(UserError, match=r"at least one training image \(data\), got 'mnist'"):
        train_judge(composed(f"data_dir={tmp_path}", f"out={tmp_path}", config_name="judge"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("epochs=0", "an integer of at least 1 (epochs), got 0"),
        ("distortion=-1", "a finite number of at least 0 (distortion), got -1"),
        ("mirrored=half", "true or false (mirrored), got 'half'"),
    ],
)
def test_the_command_refuses_meaningless_values(wrong: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"Expected {message}")):
        train_judge(composed(wrong, config_name="judge"))


@pytest.mark.parametrize("batch_size", [1, 33, 1000])
def test_what_is_judged_does_not_depend_on_the_batch_size(
    digits: tuple[Split, Split], tmp_path: Path, batch_size: int
) -> None:
    train, val = digits
    numbers = judged(Copies(train), val, train, tmp_path, batch_size)
    assert numbers == judged(Copies(train), val, train, tmp_path), "not even the last digit"
    assert numbers["num_samples"] == len(val.labels)


def test_floors_have_the_labels_of_the_samples_and_share_no_image() -> None:
    split = Split(torch.arange(100, dtype=torch.uint8).reshape(100, 1, 1, 1), torch.arange(100) % 4)
    labels = torch.tensor([0] * 6 + [2] * 3 + [3] * 8)
    draws = with_labels(split, labels, most_draws=5)
    assert len(draws) == 3, "of class 3 there are 25"
    numbers = torch.cat(draws).tolist()
    assert len(set(numbers)) == len(numbers)
    for index in draws:
        assert split.labels[index].tolist() == labels.tolist()
    (all_there_are,) = with_labels(split, torch.ones(30, dtype=torch.long), most_draws=5)
    assert len(all_there_are) == 25


def test_reading_a_judge_from_disk_changes_no_draws(
    digits: tuple[Split, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, val = digits
    judged(Copies(train), val, train, tmp_path)
    known = judged(Copies(train), val, train, tmp_path)
    monkeypatch.setattr(judge_files, "_in_use", {})
    assert judged(Copies(train), val, train, tmp_path) == known


def test_noise_is_orders_of_magnitude_further_than_digits(digits: tuple[Split, Split], tmp_path: Path) -> None:
    train, val = digits
    noise = Split(torch.randint_like(train.images, 256), train.labels)
    real, far = (judged(Copies(split), val, train, tmp_path) for split in (train, noise))
    for name in ("fid_judge", "kid_judge"):
        assert far[name] > 50 * max(real[name], real[f"{name}_floor"])
    assert far["precision"] < 0.05 < 0.6 < real["precision"]


def test_noise_that_fid_pixel_takes_for_digits_is_found_out(mnist_dir: Path, tmp_path: Path) -> None:
    """Every pixel is distributed as in the digits of its class, independently of the others."""
    train, val = IdxSource("mnist", "MNIST", str(mnist_dir)).fit_splits()
    digits, val = train.take(torch.arange(10_000)), val.take(torch.arange(1000))
    images = digits.images.clone()
    for label in range(10):
        chosen = images[digits.labels == label]
        images[digits.labels == label] = chosen.gather(0, torch.rand(chosen.shape).argsort(0))
    evaluator = SampleQuality(str(tmp_path), num_samples=1000)
    real, far = (
        numbers_of(evaluator.evaluate(Copies(split), Loader(val, 1000), train))
        for split in (digits, Split(images, digits.labels))
    )
    for name in ("fid_judge", "kid_judge"):
        assert far[name] > 50 * max(real[name], real[f"{name}_floor"])


def test_shuffled_labels_bring_accuracy_to_a_tenth(digits: tuple[Split, Split], tmp_path: Path) -> None:
    train, val = digits
    right = judged(Copies(val), val, train, tmp_path)
    shuffled = judged(Copies(val, val.labels[torch.randperm(len(val.labels))]), val, train, tmp_path)
    assert right["accuracy"] == pytest.approx(right["accuracy_real"], abs=0.01)
    assert shuffled["accuracy"] == pytest.approx(0.1, abs=0.05)
    assert shuffled["accuracy_worst_class"] <= shuffled["accuracy"] <= right["accuracy_high"]
    assert right["accuracy_low"] < right["accuracy"] < right["accuracy_high"]


def test_the_ends_of_the_interval_are_as_far_from_the_accuracy_as_wilson_says(
    digits: tuple[Split, Split], tmp_path: Path
) -> None:
    """At either end p, the accuracy is 1.96 standard deviations of a proportion with expectation p away."""
    train, val = digits
    numbers = judged(Copies(val), val, train, tmp_path)
    for end in (numbers["accuracy_low"], numbers["accuracy_high"]):
        deviation = math.sqrt(end * (1 - end) / (10 * 100))
        assert abs(numbers["accuracy"] - end) == pytest.approx(1.959964 * deviation, rel=1e-6)


def test_a_renamed_evaluator_keeps_its_draws() -> None:
    """The numbers of earlier runs were measured on the random stream of this name."""
    assert SampleQuality.stream == "Judged"


def test_a_model_that_ignores_labels_has_no_accuracy(digits: tuple[Split, Split], tmp_path: Path) -> None:
    train, val = digits
    measured = SampleQuality(str(tmp_path)).evaluate(Copies(train, num_classes=0), Loader(val, 100), train)
    missing = {name for name, value in measured.items() if value == UNCONDITIONAL}
    assert missing == set(ACCURACIES)
    numbers = numbers_of({name: value for name, value in measured.items() if name not in missing})
    assert numbers.keys() | missing == set(SampleQuality.names)
    assert numbers["fid_judge"] < 3 * numbers["fid_judge_floor"]


def two_sets(num_real: int = 300, num_fake: int = 200) -> tuple[Tensor, Tensor]:
    mixing = torch.randn(8, 8)
    return torch.randn(num_real, 8) @ mixing, 0.8 * torch.randn(num_fake, 8) @ mixing + 0.3


def test_frechet_distance_is_what_numpy_says() -> None:
    real, fake = (features.numpy().astype("f8") for features in two_sets())
    a, b = np.cov(real.T), np.cov(fake.T)
    root = scipy.linalg.sqrtm(a @ b).real
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root)
    assert frechet_distance(torch.from_numpy(real), torch.from_numpy(fake)) == pytest.approx(expected, rel=1e-9)


def cubic(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return (a @ b.T / a.shape[1] + 1) ** 3


def test_kernel_distance_is_what_numpy_says() -> None:
    """Of 200 and 200 images, which make a single subset."""
    real, fake = (features.numpy().astype("f8") for features in two_sets(200, 200))
    within = sum((cubic(x, x).sum() - np.trace(cubic(x, x))) / (200 * 199) for x in (real, fake))
    expected = within - 2 * cubic(real, fake).mean()
    assert kernel_distance(torch.from_numpy(real), torch.from_numpy(fake)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("sizes", [(3000, 1500), (300, 200), (2, 5)])
def test_kernel_distance_is_that_of_torchmetrics(sizes: tuple[int, int]) -> None:
    """With the same random subsets."""
    real, fake = two_sets(*sizes)
    with warnings.catch_warnings(action="ignore"):  # it warns about the memory that the features need
        theirs = KernelInceptionDistance(PrecomputedFeatures(8), subsets=100, subset_size=min(1000, *sizes))
    theirs.update(real.double(), real=True)
    theirs.update(fake.double(), real=False)
    with random_stream(1):
        expected, _ = theirs.compute()
    with random_stream(1):
        assert kernel_distance(real, fake) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


def near(fake: npt.NDArray[np.float64], real: npt.NDArray[np.float64]) -> float:
    def distances(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.linalg.norm(a[:, None] - b[None], axis=2)

    radius = np.sort(distances(real, real), axis=1)[:, 3]  # the nearest is the image itself
    return float((distances(fake, real) <= radius).any(1).mean())


def test_precision_and_recall_are_what_numpy_says() -> None:
    real, fake = two_sets()
    precision, recall = precision_and_recall(real, fake)
    assert precision == pytest.approx(near(fake.numpy(), real.numpy()), abs=1e-6)
    assert recall == pytest.approx(near(real.numpy(), fake.numpy()), abs=1e-6)
    assert precision > recall, "the second set is the narrower one"


def test_pca_is_scikit_learns(digits: tuple[Split, Split]) -> None:
    from sklearn import decomposition

    train, val = digits
    x = val.images.flatten(1).double().numpy() / 255
    reference = decomposition.PCA(5, svd_solver="full").fit(train.images.flatten(1).double().numpy() / 255)
    expected = ((reference.inverse_transform(reference.transform(x)) - x) ** 2).mean()
    for batch_size in (7, 1000):
        numbers = PCA().evaluate(Copies(val), Loader(val, batch_size), train)
        assert numbers["mse_pca"] == pytest.approx(expected, rel=1e-6)


@pytest.fixture
def _torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty cache of weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    inception._cached_or_downloaded.cache_clear()
    yield
    inception._cached_or_downloaded.cache_clear()


def test_a_wrong_file_never_measures(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    with pytest.raises(UserError, match=r"Expected a file \(evaluators.inception.weights\), got '.*weights.pth'"):
        Inception(str(file))
    file.write_bytes(b"random weights")
    with pytest.raises(UserError, match=r"Expected torch-fidelity's weights, SHA-256 6726825d0af5"):
        Inception(str(file))


@pytest.mark.usefixtures("_torch_home")
def test_a_wrong_file_in_the_cache_never_measures(digits: tuple[Split, Split], tmp_path: Path) -> None:
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "weights-inception-2015-12-05-6726825d.pth").write_bytes(b"random weights")
    with pytest.raises(UserError, match="Expected torch-fidelity's weights"):
        Inception("download").evaluate(Copies(digits[1]), Loader(digits[1], 100), digits[0])


@pytest.mark.usefixtures("_torch_home")
def test_without_a_network_fid_inception_is_absent_for_that_reason(digits: tuple[Split, Split]) -> None:
    measured = Inception("download").evaluate(Copies(digits[1]), Loader(digits[1], 100), digits[0])
    assert measured.keys() == set(Inception.names)
    (absent,) = set(measured.values())
    assert isinstance(absent, Absent)
    assert "could not be downloaded (the tests have no network)" in absent.reason


@pytest.mark.usefixtures("_torch_home")
def test_a_server_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/weights.pth"
        monkeypatch.setattr(inception_weights, "URL_INCEPTION_V3", address)
        absent = inception_weights.cached_or_downloaded(0.5)  # or the test runs into its own time limit
    assert isinstance(absent, Absent)
    assert "could not be downloaded" in absent.reason


def test_on_a_processor_nothing_is_downloaded_unasked(digits: tuple[Split, Split]) -> None:
    (absent,) = set(Inception().evaluate(Copies(digits[1]), Loader(digits[1], 100), digits[0]).values())
    assert isinstance(absent, Absent)
    assert "download asks for it" in absent.reason


class Brightness(torch.nn.Module):
    """In the network's place: two features of 3 x 28 x 28 bytes."""

    def forward(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (3, 28, 28)
        return torch.stack([images.float().mean((1, 2, 3)), images[:, 0, 10].float().mean(1)], 1)


def test_fid_inception_stands_beside_its_floor(
    digits: tuple[Split, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, val = digits
    monkeypatch.setattr(inception, "network_of", lambda _: Brightness())
    monkeypatch.setattr(inception, "check_weights", lambda path: path)
    numbers = numbers_of(Inception(str(tmp_path)).evaluate(Copies(val), Loader(val, 100), train))
    assert numbers.keys() == set(Inception.names)
    assert numbers["fid_inception"] < numbers["fid_inception_floor"], "the model copies the split itself"
    assert numbers["num_samples_inception"] == len(val.labels)


@pytest.mark.parametrize("model", ["cvae", "vae"])
def test_a_full_evaluation_is_repeatable_and_the_default_has_its_old_keys(make_run: MakeRun, model: str) -> None:
    plain = train(make_run("plain", f"model={model}"))
    run = make_run("full", f"model={model}", "evaluators=full")
    metrics = train(run)
    assert not FULL & plain["val"].keys()
    for split in ("val", "test"):
        assert metrics[split].keys() >= FULL
        assert (metrics[split]["accuracy"] is None) == (model == "vae")
        assert metrics[split]["fid_inception"] is None
        assert plain[split].items() <= metrics[split].items(), "other numbers are what they were"
    assert evaluate_again(run, {})._asdict() == {key: metrics[key] for key in ("val", "test", "absent")}
