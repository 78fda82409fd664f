"""The labels and images that a drawing starts from."""

import logging
from typing import Any

import torch
from omegaconf import ListConfig

from cvae_lightning.core.errors import check_boolean, refuse
from cvae_lightning.core.shapes import Batch, as_labels
from cvae_lightning.data.image_files import read_images
from cvae_lightning.data.splits import Split
from cvae_lightning.drawing.request import Request
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.data_record import warn_of_other_data
from cvae_lightning.runs.run import Run
from cvae_lightning.training.parts import local_data

log = logging.getLogger(__name__)


def chosen_labels(request: Request, model: VAE) -> list[int]:
    """The key `labels` as a list: all classes if it is null, none for a model without classes.

    Raises UserError for a label that the model does not know. A model without classes ignores labels, with a warning.
    """
    labels = request.keys.labels
    if not model.num_classes:
        if labels is not None:
            log.warning("This model is not conditioned on the label: labels=%s is ignored.", labels)
        return []
    if labels is None:
        return list(range(model.num_classes))
    return as_labels(_integers("labels", labels), num_classes=model.num_classes).tolist()


def chosen_images(request: Request, model: VAE, num: int) -> Batch:
    """Images in [0, 1] and their labels, from the user's own files or from a split.

    The key `images` names files, and `labels` then says what they show. Otherwise the images come from `split`: those
    with the numbers in `index`, or `num` images drawn with the seed, only of the classes in `labels` if it is given.
    Raises UserError for an invalid value of a key, or if there is no such image.
    """
    keys = request.keys
    check_boolean("invert", keys.invert, "true is for images that are dark on light.")
    if keys.images is not None:
        return _own_images(request, model)
    images, labels, _ = split_of(request.run, keys.split, keys.data_dir)
    if keys.index is not None:
        chosen = torch.as_tensor(_integers("index", keys.index))
        if chosen.min() < 0 or chosen.max() >= len(labels):
            refuse(f"numbers in 0..{len(labels) - 1}", "index", keys.index, f"{keys.split} has {len(labels)} images.")
        return images[chosen] / 255, labels[chosen]
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(request.seed))
    if keys.labels is not None and model.num_classes:
        order = order[torch.isin(labels[order], torch.tensor(chosen_labels(request, model)))]
    if not len(order):
        refuse(f"labels that occur in {keys.split}", "labels", keys.labels, "None of its images has one of these.")
    return images[order[:num]] / 255, labels[order[:num]]


def split_of(run: Run, split: str, data_dir: str | None) -> Split:
    """The train, val or test split of the run's data set, read from `data_dir`, or from the run's own if that is None.

    Warns if the files are not those that the run was trained on. Raises UserError for any other name of a split.
    """
    if split not in ("train", "val", "test"):
        refuse("train, val or test", "split", split, "val is the default.")
    data = local_data(run, {} if data_dir is None else {"data_dir": data_dir})
    data.setup("test" if split == "test" else "fit")
    warn_of_other_data(run, data.source.digests, "The run was not trained on these images.")
    return data.splits[split]


def _own_images(request: Request, model: VAE) -> Batch:
    keys = request.keys
    if not _listed(keys.images):
        refuse("a file or a list of files", "images", [], "null takes images of the split.")
    height, width = model.image_shape[1:]
    x = read_images(_listed(keys.images), (height, width), keys.invert)
    if not model.num_classes:
        return x, as_labels(0, len(x))
    if keys.labels is None:
        what = "the label that the images show, one for all or one per image"
        refuse(what, "labels", None, "This model is conditioned on the label.")
    return x, as_labels(_integers("labels", keys.labels), len(x), model.num_classes)


def _integers(key: str, value: Any) -> list[int]:
    given = _listed(value)
    if not given or not all(type(number) is int and abs(number) < 2**63 for number in given):
        refuse("an integer or a list of integers", key, value, f"For example {key}=[2,7,9].")
    return given


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, ListConfig) else [value]
