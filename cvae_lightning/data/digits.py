"""The scanned digits of scikit-learn, a data set that needs no network."""

import hashlib

import torch
import torch.nn.functional as F

from cvae_lightning.data.splits import Split, split_off


class Digits:
    """1,797 digits of 8x8 pixels (Alpaydin & Kaynak 1998), resized to 28x28; each class is split 5:1:1."""

    def __init__(self, split_seed: int = 0) -> None:
        self.name = "digits"
        self.split_seed = split_seed
        self.digests: dict[str, str] = {}

    def prepare(self) -> None:
        """Do nothing: the digits come with scikit-learn."""

    def fit_splits(self) -> tuple[Split, Split]:
        fit, _ = self._fit_and_test()
        return split_off(fit, 1 / 6, self.split_seed, stratified=True)

    def test_split(self) -> Split:
        return self._fit_and_test()[1]

    def _fit_and_test(self) -> tuple[Split, Split]:
        from sklearn.datasets import load_digits  # takes seconds to import

        pixels, labels = load_digits(return_X_y=True)
        content = pixels.astype("u1").tobytes() + labels.astype("u1").tobytes()
        self.digests["digits"] = hashlib.sha256(content).hexdigest()
        small = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 16
        images = F.interpolate(small, size=(28, 28), mode="bicubic").clamp(0, 1)
        whole = Split((255 * images + 0.5).byte(), torch.from_numpy(labels).long())
        return split_off(whole, 1 / 7, self.split_seed, stratified=True)
