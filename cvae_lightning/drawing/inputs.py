"""The images that a drawing starts from."""

from typing import Any

import torch
from torch import Tensor

from cvae_lightning.core.errors import check_boolean, refuse
from cvae_lightning.core.shapes import Batch
from cvae_lightning.data.image_files import BRIGHT, border, read_images
from cvae_lightning.data.splits import Split
from cvae_lightning.drawing.labels import given_labels, has_labels, listed
from cvae_lightning.drawing.request import Request
from cvae_lightning.models import inference
from cvae_lightning.models.vae import VAE
from cvae_lightning.runs.data_record import warn_of_other_data
from cvae_lightning.runs.run import Run
from cvae_lightning.training.parts import local_data

NUM_SAMPLES = 100  # whose borders say whether a model draws light on dark


def chosen_images(request: Request, model: VAE, num: int) -> Batch:
    """Images in [0, 1] and their labels, from the user's own files or from a split.

    The key `images` names files, and `labels` or `condition` then says what they show. Otherwise the images come from
    `split`: those with the numbers in `index`, or `num` images drawn with the seed, only of the given labels if there
    are any. Raises UserError for an invalid value of a key, or if there is no such image.
    """
    keys = request.keys
    check_boolean("invert", keys.invert, "true is for images that are dark on light.")
    if keys.images is not None:
        return _own_images(request, model)
    split = split_of(request.run, keys.split, request.run.data_moved_to(keys))
    if keys.index is not None:
        chosen = torch.as_tensor(_integers("index", keys.index))
        if chosen.min() < 0 or chosen.max() >= len(split.labels):
            what = f"numbers in 0..{len(split.labels) - 1}"
            refuse(what, "index", keys.index, f"{keys.split} has {len(split.labels)} images.")
    else:
        chosen = _drawn(request, split)[:num]
    images, labels, _ = split.take(chosen)
    return images / 255, labels


def _drawn(request: Request, split: Split) -> Tensor:
    """The positions of the images of the split that have the given labels, in an order drawn with the seed."""
    order = torch.randperm(len(split.labels), generator=torch.Generator().manual_seed(request.seed))
    condition = request.run.data_condition if split.condition is None else split.condition
    given = given_labels(request, condition)
    if given is not None:
        order = order[has_labels(split, given, condition)[order]]
    if not len(order):
        key = "condition" if isinstance(given, dict) else "labels"
        refuse(f"labels that occur in {request.keys.split}", key, given, "None of its images has one of these.")
    return order


def split_of(run: Run, split: str, moved: dict[str, str]) -> Split:
    """The train, val or test split of the run's data set, which `Run.data_moved_to` says where to find.

    Warns if the files are not those that the run was trained on. Raises UserError for any other name of a split.
    """
    if split not in ("train", "val", "test"):
        refuse("train, val or test", "split", split, "val is the default.")
    data = local_data(run, moved)
    data.setup("test" if split == "test" else "fit")
    warn_of_other_data(run, data.source.digests, "The run was not trained on these images.")
    return data.splits[split]


def _own_images(request: Request, model: VAE) -> Batch:
    keys = request.keys
    if not listed(keys.images):
        refuse("a file or a list of files", "images", [], "null takes images of the split.")
    given = given_labels(request, model.condition)
    y, z = inference.draws(model, NUM_SAMPLES)
    dark = float(border(inference.decode(model, z, y)).mean()) < BRIGHT
    x = read_images(listed(keys.images), model.image_shape, keys.invert, light_on_dark=dark)
    if given is not None:
        return x, model.condition.parse(given, len(x))
    if not all(column.optional for column in model.condition.columns):
        what = "what the images show, one label for all or one per image"
        refuse(what, "labels", None, "This model is conditioned on the label.")
    return x, model.condition.unknown(len(x))


def _integers(key: str, value: Any) -> list[int]:
    given = listed(value)
    if not given or not all(type(number) is int and abs(number) < 2**63 for number in given):
        refuse("an integer or a list of integers", key, value, f"For example {key}=[2,7,9].")
    return given
