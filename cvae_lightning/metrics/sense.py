"""Whether more of a metric is better, or less."""

LOWER_IS_BETTER = ("loss", "mse", "fid_", "kid_", "nll_", "label_leak")
SAMPLE_COUNTS = ("num_samples", "num_samples_inception", "nll_iw_samples")
NEITHER_IS_BETTER = ("kl", "active_units", "mse_pca", "accuracy_real", *SAMPLE_COUNTS)


def sense(metric: str) -> int:
    """1 where more of a metric is better, -1 where less is, 0 where neither is."""
    name = metric.rpartition("/")[2]
    if name in NEITHER_IS_BETTER or name.endswith("_floor"):  # properties of the data, not of the model
        return 0
    return -1 if name.startswith(LOWER_IS_BETTER) else 1
