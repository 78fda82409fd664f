"""The images that a drawing starts from."""

from typing import Any

import torch
from torch import Tensor

from cvae_lightning.core.errors import check_boolean, refuse
from cvae_lightning.core.shapes import Batch, Conditions, Images
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
    _check_invert(request)
    if request.keys.images is not None:
        x, shown, _ = _own_images(request, model)
        if shown is None:
            what = "what the images show, one label for all or one per image"
            refuse(what, "labels", None, "This model is conditioned on the label.")
        return x, shown
    return _images_of_split(request, num)[:2]


def images_to_score(request: Request, model: VAE, num: int) -> tuple[Images, Conditions, list[str]]:
    """The images of `chosen_images`, their labels, and a name for each: its number in the split, or its file.

    Classes of the user's own images may be unknown. Raises UserError as `chosen_images` does.
    """
    _check_invert(request)
    if request.keys.images is None:
        x, y, chosen = _images_of_split(request, num)
        return x, y, list(map(str, chosen.tolist()))
    x, shown, names = _own_images(request, model)
    if shown is None:
        condition = model.condition
        if not condition.is_one_class:
            what = f"values of {', '.join(column.name for column in condition.columns)}"
            refuse(what, "condition", None, "This model is conditioned on them.")
        shown = condition.unknown(len(x))
    return x, shown, names


def _check_invert(request: Request) -> None:
    check_boolean("invert", request.keys.invert, "true is for images that are dark on light.")


def _images_of_split(request: Request, num: int) -> tuple[Images, Conditions, Tensor]:
    """Images in [0, 1] of the split that `request` names, with their labels and numbers."""
    keys = request.keys
    split = split_of(request.run, keys.split, request.run.data_moved_to(keys))
    if keys.index is not None:
        chosen = torch.as_tensor(_integers("index", keys.index))
        if chosen.min() < 0 or chosen.max() >= len(split.labels):
            what = f"numbers in 0..{len(split.labels) - 1}"
            refuse(what, "index", keys.index, f"{keys.split} has {len(split.labels)} images.")
    else:
        chosen = _drawn(request, split)[:num]
    images, labels, _ = split.take(chosen)
    return images / 255, labels, chosen


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


def _own_images(request: Request, model: VAE) -> tuple[Images, Conditions | None, list[str]]:
    """The images of the user's files, what they show (None if that is not said, but needed), and the file of each."""
    keys = request.keys
    if not listed(keys.images):
        refuse("a file or a list of files", "images", [], "null takes images of the split.")
    given = given_labels(request, model.condition)
    y, z = inference.draws(model, NUM_SAMPLES)
    dark = float(border(inference.decode(model, z, y)).mean()) < BRIGHT
    files = [str(file) for file in listed(keys.images)]
    by_file = [read_images([file], model.image_shape, keys.invert, light_on_dark=dark) for file in files]
    names = [
        file if len(images) == 1 else f"{file} {number}"
        for file, images in zip(files, by_file, strict=True)
        for number in range(len(images))
    ]
    x = torch.cat(by_file)
    if given is not None:
        return x, model.condition.parse(given, len(x)), names
    needed = not all(column.optional for column in model.condition.columns)
    return x, None if needed else model.condition.unknown(len(x)), names


def _integers(key: str, value: Any) -> list[int]:
    given = listed(value)
    if not given or not all(type(number) is int and abs(number) < 2**63 for number in given):
        refuse("an integer or a list of integers", key, value, f"For example {key}=[2,7,9].")
    return given
