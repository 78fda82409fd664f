"""Points of many dimensions on a plane."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cvae_lightning.errors import refuse
from cvae_lightning.shapes import Latents


def map_of(z: Latents, method: str, seed: int = 0) -> Tensor:
    """(batch, 2), by scikit-learn; fewer dimensions are the map already.

    `pca`: the two directions of largest variance. `tsne`: neighbours stay neighbours (van der Maaten & Hinton 2008).
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method not in ("pca", "tsne"):
        refuse("pca or tsne", "map", method, "pca is the default.")
    if z.shape[1] < 3:
        return F.pad(z, (0, 2 - z.shape[1]))
    kind = PCA(2, svd_solver="full") if method == "pca" else TSNE(2, init="pca", random_state=seed)
    return torch.from_numpy(kind.fit_transform(z.double().numpy())).float()
