"""The seven drawing commands and what they share: check the common keys, draw, write the pictures."""

from importlib import import_module

from omegaconf import DictConfig

from cvae_lightning.core.imports import quick_imports
from cvae_lightning.drawing.request import Request


def sample(config: DictConfig) -> None:
    """Draw new images from the sampler of a run."""
    draw(config, "sample")


def reconstruct(config: DictConfig) -> None:
    """Encode images with a run's model and decode them again."""
    draw(config, "reconstruct")


def interpolate(config: DictConfig) -> None:
    """Go from one image to another through the latents of a run's model."""
    draw(config, "interpolate")


def traverse(config: DictConfig) -> None:
    """Move one latent of a run's model at a time."""
    draw(config, "traverse")


def embed(config: DictConfig) -> None:
    """Map the latents of a split's images."""
    draw(config, "embed")


def score(config: DictConfig) -> None:
    """Say how likely images are under a run's model, and which class they probably have."""
    draw(config, "score")


def inpaint(config: DictConfig) -> None:
    """Draw what is missing in images from a run's model."""
    draw(config, "inpaint")


def draw(config: DictConfig, drawing: str) -> None:
    """Write the pictures of the module `drawing`, one after the other, as PNG files and arrays.

    Raises UserError for a mistake in the common keys. They are checked before the module is imported, which waits for
    torch and matplotlib, so that a mistake is reported at once.
    """
    request = Request.from_config(config)
    with quick_imports():
        pictures = import_module(f"cvae_lightning.drawing.{drawing}").pictures
    for picture in pictures(request):
        picture.write(request.folder, request.formats)
