"""A share, and how sure it is."""

import math

STANDARD_DEVIATIONS = 1.959964  # of a normal, on both sides: 95 %


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % confidence interval of a proportion, Wilson 1927; it never leaves [0, 1]."""
    square = STANDARD_DEVIATIONS**2
    share = successes / trials
    middle = share + square / (2 * trials)
    half = STANDARD_DEVIATIONS * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    scale = 1 + square / trials
    return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)
