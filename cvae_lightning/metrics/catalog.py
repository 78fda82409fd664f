"""Every metric that this project measures: what it is called, what it means, and whether higher or lower is better.

The summary of a run, its model card, the report of a sweep and the explorer all read this table, in its order.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple


class Better(IntEnum):
    """Which values of a metric are better; its sign orders runs."""

    LOWER = -1
    NEITHER = 0  # a property of the data or of the measurement, or a term of another metric
    HIGHER = 1


class Metric(NamedTuple):
    """One metric of a split, val or test."""

    name: str
    """Its key in metrics.json."""
    title: str
    better: Better
    description: str
    unit: str = ""
    floor: str = ""
    """The metric that has the value of real images in place of samples."""
    num_samples: str = ""
    """The metric that has the number of samples."""
    whole: bool = False
    """Whether its values are whole numbers."""

    @property
    def label(self) -> str:
        """The title with the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


LOWER, NEITHER, HIGHER = Better
FEATURES = "in the features of a judge that was fitted to train"

METRICS = (
    # Those of the paper.
    Metric("ssim", "SSIM", HIGHER, "structural similarity of images and their reconstructions; 1 if identical"),
    Metric("mse", "MSE", LOWER, "mean squared error of reconstructions, with pixels in [0, 1]"),
    Metric(
        "fid_pixel",
        "fid_pixel",
        LOWER,
        "Fréchet distance between samples and images in the mean and variance of each pixel, class by class",
    ),
    Metric("score", "Score", HIGHER, "the paper's Score, from the above and latent_dim, with its cap"),
    Metric("score_uncapped", "Score, uncapped", HIGHER, "the Score without its cap"),
    Metric("mse_pca", "MSE of PCA", NEITHER, "MSE of PCA with as many components as there are latents"),
    # Samples.
    Metric(
        "fid_judge",
        "fid_judge",
        LOWER,
        f"Fréchet distance between samples and images, {FEATURES}",
        floor="fid_judge_floor",
        num_samples="num_samples",
    ),
    Metric("fid_judge_floor", "fid_judge of real images", NEITHER, "fid_judge of as many images of train"),
    Metric(
        "kid_judge",
        "kid_judge",
        LOWER,
        f"kernel distance between samples and images, {FEATURES}",
        floor="kid_judge_floor",
        num_samples="num_samples",
    ),
    Metric("kid_judge_floor", "kid_judge of real images", NEITHER, "kid_judge of as many images of train"),
    Metric(
        "precision",
        "precision",
        HIGHER,
        f"share of the samples that lie among the images, {FEATURES}",
        floor="precision_floor",
        num_samples="num_samples",
    ),
    Metric("precision_floor", "precision of real images", NEITHER, "precision of as many images of train"),
    Metric(
        "recall",
        "recall",
        HIGHER,
        f"share of the images that lie among the samples, {FEATURES}",
        floor="recall_floor",
        num_samples="num_samples",
    ),
    Metric("recall_floor", "recall of real images", NEITHER, "recall of as many images of train"),
    Metric(
        "num_samples",
        "samples for the judge",
        NEITHER,
        "samples that the judge's distances are measured on",
        whole=True,
    ),
    Metric(
        "num_images_floor",
        "images for the floors",
        NEITHER,
        "images of train that the floors of the judge's distances are measured on",
        whole=True,
    ),
    Metric(
        "accuracy",
        "accuracy",
        HIGHER,
        "share of the samples that the judge assigns to the requested class",
        floor="accuracy_real",
        num_samples="num_samples_accuracy",
    ),
    Metric("accuracy_low", "accuracy, from", HIGHER, "lower end of its 95 % confidence interval"),
    Metric("accuracy_high", "accuracy, to", HIGHER, "upper end of its 95 % confidence interval"),
    Metric("accuracy_worst_class", "accuracy, worst class", HIGHER, "accuracy of the worst class"),
    Metric("accuracy_real", "accuracy on real images", NEITHER, "accuracy of the judge on the images of the split"),
    Metric(
        "num_samples_accuracy",
        "samples for accuracy",
        NEITHER,
        "samples of all classes that accuracy is measured on",
        whole=True,
    ),
    Metric(
        "num_images_accuracy_real",
        "images for accuracy",
        NEITHER,
        "images of the split, those of known class, that the judge's own accuracy is measured on",
        whole=True,
    ),
    Metric(
        "condition_error",
        "error of the first number",
        LOWER,
        "mean absolute difference between the number that was asked for and the one that a fitted network reads, of "
        "the first column of numbers and in its unit",
        floor="condition_error_real",
        num_samples="num_samples_condition",
    ),
    Metric("condition_error_real", "error on real images", NEITHER, "condition_error of real images of the split"),
    Metric(
        "condition_error_sd",
        "error of all numbers",
        LOWER,
        "the same for all columns of numbers, in standard deviations of train",
        unit="sd",
        floor="condition_error_sd_real",
        num_samples="num_samples_condition",
    ),
    Metric(
        "condition_error_sd_real",
        "error of all numbers on real images",
        NEITHER,
        "condition_error_sd of real images of the split",
        unit="sd",
    ),
    Metric(
        "flag_accuracy",
        "accuracy of flags",
        HIGHER,
        "share of the flags that a fitted network reads from samples as they were asked for",
        floor="flag_accuracy_real",
        num_samples="num_samples_condition",
    ),
    Metric("flag_accuracy_real", "accuracy of flags on real images", NEITHER, "flag_accuracy of real images"),
    Metric(
        "num_samples_condition",
        "samples for the condition",
        NEITHER,
        "samples, and images of the split, that numbers and flags are read from",
        whole=True,
    ),
    Metric(
        "fid_inception",
        "fid_inception",
        LOWER,
        "the usual FID, in the features of an Inception network",
        floor="fid_inception_floor",
        num_samples="num_samples_inception",
    ),
    Metric("fid_inception_floor", "fid_inception of real images", NEITHER, "fid_inception of as many images of train"),
    Metric(
        "num_samples_inception",
        "samples for Inception",
        NEITHER,
        "samples that fid_inception is measured on",
        whole=True,
    ),
    # The likelihood.
    Metric("elbo", "ELBO", HIGHER, "lower bound on the log-likelihood of an image", unit="nats"),
    Metric("log_likelihood", "log-likelihood", HIGHER, "log-likelihood of an image given its latents", unit="nats"),
    Metric("kl", "KL", NEITHER, "divergence of the posterior from the prior", unit="nats"),
    Metric("loss", "loss", LOWER, "beta * kl - log_likelihood", unit="nats"),
    Metric(
        "nll_iw",
        "NLL, IW",
        LOWER,
        "negative log-likelihood of an image, by importance weighting",
        unit="nats",
        num_samples="nll_iw_samples",
    ),
    Metric("nll_iw_samples", "importance weights", NEITHER, "importance weights per image", whole=True),
    # What the model says of labels.
    Metric(
        "bayes_accuracy",
        "accuracy as a classifier",
        HIGHER,
        "share of the images whose class is the most probable one by Bayes' theorem",
        floor="accuracy_real",
        num_samples="num_images_bayes",
    ),
    Metric(
        "bayes_nll",
        "NLL of labels",
        LOWER,
        "negative log-probability of the class of an image by Bayes' theorem",
        unit="nats",
        num_samples="num_images_bayes",
    ),
    Metric(
        "bayes_ece",
        "calibration error",
        LOWER,
        "expected difference between the probability of the most probable class and how often it is right",
        num_samples="num_images_bayes",
    ),
    Metric(
        "nll_marginal",
        "NLL, any label",
        LOWER,
        "negative log-likelihood of an image whose label is unknown: the sum over all classes",
        unit="nats",
        num_samples="num_images_bayes",
    ),
    Metric(
        "num_images_bayes",
        "images for Bayes' theorem",
        NEITHER,
        "images of known class that are classified",
        whole=True,
    ),
    Metric(
        "bayes_samples",
        "importance weights per class",
        NEITHER,
        "importance weights per image and class",
        whole=True,
    ),
    Metric(
        "classifier_accuracy",
        "accuracy of q(y | x)",
        HIGHER,
        "share of the images whose class is the most probable one by the model's own classifier",
        floor="accuracy_real",
    ),
    Metric(
        "classifier_nll",
        "NLL of labels, q(y | x)",
        LOWER,
        "negative log-probability of the class of an image by the model's own classifier",
        unit="nats",
    ),
    Metric(
        "classifier_ece",
        "calibration error, q(y | x)",
        LOWER,
        "expected difference between the probability of the classifier's class and how often it is right",
    ),
    Metric(
        "cas",
        "CAS",
        HIGHER,
        "accuracy on real images of a judge that was trained on samples alone",
        floor="cas_real",
        num_samples="num_samples_cas",
    ),
    Metric("cas_real", "CAS of real images", NEITHER, "accuracy of a judge that was trained on train"),
    Metric("num_samples_cas", "samples for CAS", NEITHER, "samples that the classifier was trained on", whole=True),
    # The latents.
    Metric("active_units", "active latents", NEITHER, "latents in use", whole=True),
    Metric("label_leak", "label leak", LOWER, "share of the labels that a linear probe reads from the latents"),
    # The noise of the encoder's gradient.
    *(
        Metric(
            f"gradient_variance_{estimator}{suffix}",
            f"gradient variance, {title}{when}",
            NEITHER,
            f"variance of the encoder's gradient, estimated by {title}{when}",
        )
        for suffix, when in (("", ""), ("_untrained", ", untrained"))
        for estimator, title in (
            ("reparameterised", "reparameterisation"),
            ("reinforce", "REINFORCE"),
            ("reinforce_baseline", "REINFORCE with a baseline"),
        )
    ),
)

CATALOG = {metric.name: metric for metric in METRICS}

BESIDE = {name for metric in METRICS for name in (metric.floor, metric.num_samples) if name}
"""The metrics that are shown with another metric: floors and numbers of samples."""

WEAK_JUDGE = 0.9
"""If a judge reads fewer of the real images right, its errors are more than what models of one data set differ by."""

LOWER_BY_NAME = ("loss", "mse", "fid_", "kid_", "nll_")


def describe(key: str) -> Metric:
    """The entry of a metric, given its name or <split>/<name>.

    A metric of an evaluator of your own has no entry, and is described by its name: a floor is neither better nor
    worse; errors, distances and negative log-likelihoods are better if lower; any other is better if higher.
    """
    name = key.rpartition("/")[2]
    if name in CATALOG:
        return CATALOG[name]
    better = NEITHER if name.endswith("_floor") else LOWER if name.startswith(LOWER_BY_NAME) else HIGHER
    return Metric(name, name, better, "")


def doubt_of_judge(numbers: Mapping[str, float | None]) -> str | None:
    """A sentence that the judge is too weak to judge samples, from the metrics of a split; None if it is not."""
    real = numbers.get("accuracy_real")
    if real is None or real >= WEAK_JUDGE:
        return None
    return (
        f"The judge reads only {real:.1%} of the real images right: below {WEAK_JUDGE:.0%}, what it says of samples is "
        "weak evidence. Compare accuracy with accuracy_real, and distances with their floors."
    )
