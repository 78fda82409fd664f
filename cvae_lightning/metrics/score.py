"""The paper's Score: one number from the paper's other numbers."""


def score(ssim: float, mse: float, fid_pixel: float | None, latent_dim: int, capped: bool = True) -> float:
    """The course's Score; higher is better. A smaller latent_dim earns a bonus, and a cap limits the whole.

    Without `fid_pixel` it is the unconditional model's, at most 10. With it, it is the conditional model's, at most 30.
    """
    bonus = 1.2 - latent_dim / 784
    reconstruction = 5 * ssim + 50 * max(0.1 - mse, 0)
    if fid_pixel is None:
        points, cap = reconstruction * bonus, 10.0
    else:
        points, cap = (2 * reconstruction + max(10 - fid_pixel, 0)) * bonus, 30.0
    return min(points, cap) if capped else points
