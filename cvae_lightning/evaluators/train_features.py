"""The features of training images in the eyes of a judge, for comparisons with other images."""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from cvae_lightning.core.shapes import Features
from cvae_lightning.data.splits import Split
from cvae_lightning.evaluators.samples import images_of
from cvae_lightning.judging.classifier import NUM_FEATURES, Classifier

MOST_KEPT = 200_000  # images of a train split whose features are kept: 77 MB

_kept: WeakKeyDictionary[Classifier, Features] = WeakKeyDictionary()


def train_features(judge: Classifier, train: Split, index: Tensor) -> Features:
    """The features of the images of `train` with the numbers in `index`; `judge` was fitted to exactly these images.

    Each is computed when it is first asked for, and kept as long as the judge is: floors need those of most training
    images, on val and on test, for each run of a sweep.
    """
    if len(train.labels) > MOST_KEPT:
        return judge.features_of(images_of(train, index))
    if judge not in _kept:
        with torch.inference_mode(False):  # so that every caller may add to them
            _kept[judge] = torch.full((len(train.labels), NUM_FEATURES), torch.nan)
    features = _kept[judge]
    index = index.cpu()
    new = index[features[index, 0].isnan()].unique()
    if len(new):
        features[new] = judge.features_of(images_of(train, new.to(train.images.device))).cpu()
    return features[index].to(judge.device)
