"""The trained models that come with the package, which a command reads as run=pretrained:<name>."""

from pathlib import Path

from cvae_lightning.core.build import PACKAGE
from cvae_lightning.core.errors import refuse

PREFIX = "pretrained:"
FOLDER = PACKAGE / "pretrained"
WEIGHTS_SHA256 = {
    "best": "5e6a52429f46b4a4f2cb9c0b72c3ce9e8e0ee58c95730f139db695ba4733f32a",
    "best_conv": "451536cf7e3afe4b3e0aa5db9d0751ef35c6fe9048f29e1fce21f5c01c0ca1fa",
    "nll_cvae": "834a1e3ce516bf84d330d361780bc681c66a1101951be8824bf30c8cb4f97b8c",
}
"""The digest of the weights of each model. Its folder is that of `export to=`, with weights in float16."""


def is_pretrained(path: str | Path) -> bool:
    """Whether `path` names a model of the package instead of a directory."""
    return str(path).startswith(PREFIX)


def name_of(path: str | Path, key: str = "run") -> str:
    """The name in `path`, such as "best" of "pretrained:best". Raises UserError, naming the `key`, for any other."""
    name = str(path).removeprefix(PREFIX)
    if name not in WEIGHTS_SHA256:
        names = ", ".join(f"{PREFIX}{known}" for known in WEIGHTS_SHA256)
        refuse(f"one of {names}", key, str(path), "These come with the package.")
    return name
