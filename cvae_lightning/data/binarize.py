"""Black-and-white images from grey ones, so that likelihoods compare with those in the literature."""

from zlib import crc32

import torch

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.random_streams import seed_of
from cvae_lightning.core.shapes import ByteImages, Images
from cvae_lightning.data.splits import Split

DYNAMIC, STATIC_THRESHOLD = "dynamic", "static-threshold"
IMAGES_AT_ONCE = 10_000


def check_binarize(how: str | None) -> str | None:
    """`how`, if it is None or one of the ways to binarise. Raises UserError otherwise."""
    if how not in (None, DYNAMIC, STATIC_THRESHOLD):
        refuse(f"null, {DYNAMIC} or {STATIC_THRESHOLD}", "data.binarize", how, "null keeps the grey levels.")
    return how


def binarized(split: Split, how: str | None, name: str) -> Split:
    """The split with the bytes 0 and 255 only, the same on every call; the split itself if `how` is None.

    `dynamic` draws each pixel once, with its grey level as the probability of white, from a random stream of its own
    for `name`. The draw is the same for every seed, model and batch size; Salakhutdinov & Murray 2008 fixed one in the
    same way. `static-threshold` makes the pixels with x >= 0.5 white.
    """
    if how is None:
        return split
    if how == STATIC_THRESHOLD:
        return split._replace(images=(split.images >= 128).byte() * 255)
    generator = torch.Generator().manual_seed(seed_of(crc32(f"binarize {name}".encode())))
    parts = [_drawn_bytes(images, generator) for images in split.images.split(IMAGES_AT_ONCE)]
    return split._replace(images=torch.cat(parts))


def drawn(x: Images, generator: torch.Generator) -> Images:
    """A draw of every pixel: 1 with probability x, otherwise 0."""
    return (torch.rand(x.shape, generator=generator, device=x.device) < x).float()


def _drawn_bytes(images: ByteImages, generator: torch.Generator) -> ByteImages:
    return drawn(images.float().div_(255), generator).byte() * 255
