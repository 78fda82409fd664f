"""What the commands that draw from a finished run have in common: which run, whose labels, and where it is written."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig

from cvae_lightning.core.capacity import check_memory, check_room
from cvae_lightning.core.errors import UserError, check_boolean, check_seed, refuse
from cvae_lightning.core.files import refuse_links_out_of
from cvae_lightning.runs.sweep import chosen_run

if TYPE_CHECKING:  # --help doesn't wait for them
    from matplotlib.figure import Figure
    from torch import Tensor

    from cvae_lightning.core.archives import Parts
    from cvae_lightning.core.shapes import Batch
    from cvae_lightning.data.splits import Split
    from cvae_lightning.models.vae import VAE
    from cvae_lightning.runs.run import Run

log = logging.getLogger(__name__)

FORMATS = ("png", "npz")


class Verb:
    """A command with the keys `run`, `out`, `seed` and `format`, and the run that it is about.

    Raises UserError where they are none, or the run is not complete; before anything heavy is imported.
    """

    def __init__(self, config: DictConfig) -> None:
        if config.format not in (*FORMATS, "both"):
            refuse("png, npz or both", "format", config.format, "both is the default.")
        self.formats = FORMATS if config.format == "both" else (config.format,)
        self.seed = check_seed("seed", config.seed)
        self.run: Run = chosen_run(str(config.run))
        _ = self.run.metrics  # which refuses an incomplete run
        if config.out is None:
            refuse_links_out_of(Path(str(config.run)), "run", "Remove the link, or name another folder with out.")
        self.folder = Path(str(config.out)) if config.out is not None else self.run.path / "samples"

    def check_capacity(self, what: str, arrays: int, memory: int) -> None:
        """Raises UserError where `arrays`, in bytes, do not fit on the disk, or the work needs too much memory."""
        if "npz" in self.formats:
            check_room(self.folder, arrays, what, "Lower it, or name a folder on a larger disk (out).")
        check_memory(memory, what, "Lower it.")

    def write(self, name: str, figure: "Figure", **arrays: "Tensor | Parts") -> None:
        """<name>.png and <name>.npz, as asked for; say where they are."""
        from cvae_lightning.core.archives import Parts, write_npz
        from cvae_lightning.core.pictures import write_png

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if "png" in self.formats:
                write_png(figure, self.folder / f"{name}.png")
                log.info("%s", self.folder / f"{name}.png")
            if "npz" in self.formats:
                content = {key: array if isinstance(array, Parts) else array.numpy() for key, array in arrays.items()}
                write_npz(self.folder / f"{name}.npz", content)
                log.info("%s (%s)", self.folder / f"{name}.npz", ", ".join(arrays))
        except OSError as error:
            raise UserError(f"Expected a folder to write to (out), got {str(self.folder)!r} ({error}).") from error


def asked_labels(model: "VAE", labels: Any) -> list[int]:
    """`labels` as a list, all classes where it is null; empty for a model without classes, which warns of any.

    Raises UserError for a label that the model does not know.
    """
    from cvae_lightning.core.shapes import as_labels

    if not model.num_classes:
        if labels is not None:
            log.warning("This model is not told labels: labels=%s is ignored.", labels)
        return []
    if labels is None:
        return list(range(model.num_classes))
    return as_labels(_integers("labels", labels), num_classes=model.num_classes).tolist()


def asked_images(config: DictConfig, verb: Verb, model: "VAE", num: int) -> "Batch":
    """Images with their labels: of the user's files in `images`, or `num` of `split`, drawn with the seed.

    `labels` says what own images show, and chooses among those of a split. Raises UserError where there are none.
    """
    check_boolean("invert", config.invert, "true is for images that are dark on light.")
    if config.images is not None:
        return _own_images(config, model)
    import torch

    images, labels = split_of(verb.run, config.split, config.data_dir)
    if config.index is not None:
        chosen = torch.as_tensor(_integers("index", config.index))
        if chosen.min() < 0 or chosen.max() >= len(labels):
            refuse(f"numbers in 0..{len(labels) - 1}", "index", config.index, f"{config.split} has no others.")
        return images[chosen] / 255, labels[chosen]
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(verb.seed))
    if config.labels is not None and model.num_classes:
        wanted = torch.tensor(asked_labels(model, config.labels))
        order = order[torch.isin(labels[order], wanted)]
    if not len(order):
        refuse(f"labels of {config.split}", "labels", config.labels, "It has no image of these.")
    return images[order[:num]] / 255, labels[order[:num]]


def split_of(run: "Run", split: str, data_dir: str | None) -> "Split":
    """The images of train, val or test as the run had them."""
    from cvae_lightning.runs.data_record import warn_of_other_data
    from cvae_lightning.training.parts import local_data

    if split not in ("train", "val", "test"):
        refuse("train, val or test", "split", split, "val is the default.")
    data = local_data(run, {} if data_dir is None else {"data_dir": data_dir})
    data.setup("test" if split == "test" else "fit")
    warn_of_other_data(run, data.source.digests, "The run was not trained on these images.")
    return data.splits[split]


def _own_images(config: DictConfig, model: "VAE") -> "Batch":
    from cvae_lightning.core.shapes import as_labels
    from cvae_lightning.data.image_files import read_images

    if not _listed(config.images):
        refuse("a file or a list of files", "images", [], "null takes images of the split.")
    height, width = model.image_shape[1:]
    x = read_images(_listed(config.images), (height, width), config.invert)
    if not model.num_classes:
        return x, as_labels(0, len(x))
    if config.labels is None:
        refuse("what the images show, one label or one an image", "labels", None, "This model is told labels.")
    return x, as_labels(_integers("labels", config.labels), len(x), model.num_classes)


def _integers(key: str, value: Any) -> list[int]:
    given = _listed(value)
    if not given or not all(type(number) is int and abs(number) < 2**63 for number in given):
        refuse("an integer or a list of integers", key, value, f"For example {key}=[2,7,9].")
    return given


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, ListConfig) else [value]
