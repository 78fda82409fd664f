"""The command that trains a judge and measures its accuracy on val and test."""

import logging
import time
from pathlib import Path

from omegaconf import DictConfig

from cvae_lightning.core.errors import check_boolean, check_integer, check_not_negative, check_seed, refuse
from cvae_lightning.data.sources import source_of
from cvae_lightning.judging.classifier import fit, num_classes_in
from cvae_lightning.judging.store import digest_of, keep

log = logging.getLogger(__name__)


def train_judge(config: DictConfig) -> None:
    """Fit a judge to the train split of `data`, store it in the folder `out`, and log its accuracy.

    Raises UserError for an invalid key, DataUnavailable if the data set is missing.
    """
    check_integer("epochs", config.epochs, 1, "The default is 20.")
    check_seed("seed", config.seed)
    check_not_negative("distortion", config.distortion, "The default is 0.15.")
    check_boolean("mirrored", config.mirrored, "mirrored=true suits clothes, but not digits.")
    if config.out is None:
        refuse("a folder", "out", None, "By default the judge is stored beside the data.")
    source = source_of(config)
    source.prepare()
    Path(config.out).mkdir(parents=True, exist_ok=True)  # if this fails, it fails before the training
    train, val = source.fit_splits()
    if not len(train.labels):
        refuse("at least one training image", "data", source.name, "Choose another data set.")
    if num_classes_in(train) < 2:
        refuse("images of at least two classes", "data", source.name, "A judge tells classes apart.")
    log.info("Training a judge of %s on %d images for %d epochs.", source.name, len(train.labels), config.epochs)
    start = time.perf_counter()
    judge = fit(train, config.epochs, config.seed, config.distortion, config.mirrored)
    path = keep(judge, Path(config.out), source.name, digest_of(train))
    log.info("Stored as %s after %.0f s.", path, time.perf_counter() - start)
    for name, split in (("val", val), ("test", source.test_split())):
        known = split.classes >= 0
        if not (num := int(known.sum())):
            log.info("accuracy on %-4s does not exist: no images", name)
            continue
        right = int((judge.read(split.images)[1] == split.classes)[known].sum())
        log.info("accuracy on %-4s %.4f (%d of %d)", name, right / num, right, num)
