"""The Score of the paper: one number computed from its other numbers."""

SHAPE = (1, 28, 28)
"""Of the images that the Score is defined for; its 784 is their number of pixels."""


def score(ssim: float, mse: float, fid_pixel: float | None, latent_dim: int, capped: bool = True) -> float:
    """Return the Score of the paper; higher is better. A smaller latent_dim increases it.

    `fid_pixel` is None for an unconditional model, whose Score is capped at 10. The Score of a conditional model is
    capped at 30.
    """
    bonus = 1.2 - latent_dim / 784
    reconstruction = 5 * ssim + 50 * max(0.1 - mse, 0)
    if fid_pixel is None:
        points, cap = reconstruction * bonus, 10.0
    else:
        points, cap = (2 * reconstruction + max(10 - fid_pixel, 0)) * bonus, 30.0
    return min(points, cap) if capped else points
