"""Points of many dimensions on a plane."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.shapes import Latents


def map_of(z: Latents, method: str, seed: int = 0) -> Tensor:
    """(batch, 2), by scikit-learn; fewer dimensions are the map already, and equal points all lie at 0.

    `pca`: the two directions of largest variance. `tsne`: neighbours stay neighbours (van der Maaten & Hinton 2008);
    its perplexity is 30, or a third of the other points where they are fewer than 90.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method not in ("pca", "tsne"):
        refuse("pca or tsne", "map", method, "pca is the default.")
    if z.shape[1] < 3:
        return F.pad(z, (0, 2 - z.shape[1]))
    if torch.equal(z, z[:1].expand_as(z)):
        return torch.zeros(len(z), 2)
    if method == "pca":
        kind = PCA(2, svd_solver="full")
    else:
        kind = TSNE(2, perplexity=min(30.0, (len(z) - 1) / 3), init="pca", random_state=seed)
    return torch.from_numpy(kind.fit_transform(z.double().numpy())).float()
