"""Maps of latents, which have many dimensions, on a plane."""

import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch import Tensor

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.shapes import Latents


def map_of(z: Latents, method: str, seed: int = 0) -> Tensor:
    """Points (batch, 2) of a plane for latents (batch, latent), by scikit-learn. `method` is pca or tsne.

    `pca`: the two directions of largest variance. `tsne`: neighbours stay neighbours (van der Maaten & Hinton 2008),
    with a perplexity of 30, or a third of the number of other points if there are fewer than 90. Latents of one or two
    dimensions are their own map, and if all latents are equal, all points lie at 0. Raises UserError for any other
    method.
    """
    if method not in ("pca", "tsne"):
        refuse("pca or tsne", "map", method, "pca is the default.")
    if z.shape[1] < 3:
        return F.pad(z, (0, 2 - z.shape[1]))
    if torch.equal(z, z[:1].expand_as(z)):
        return torch.zeros(len(z), 2)
    if method == "pca":
        projection = PCA(2, svd_solver="full")
    else:
        projection = TSNE(2, perplexity=min(30.0, (len(z) - 1) / 3), init="pca", random_state=seed)
    return torch.from_numpy(projection.fit_transform(z.double().numpy())).float()
