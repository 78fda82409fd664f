"""From configuration to objects. Only classes of this project, and of the few libraries it wires, are built."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cvae_lightning.errors import UserError, refuse

PACKAGE = Path(__file__).parent
CONF = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())  # in a wheel, in a checkout

ALLOWED_TARGETS = ("cvae_lightning.", "pytorch_lightning.Trainer", "pytorch_lightning.loggers.")


def build(config: DictConfig, **arguments: Any) -> Any:
    """The object that `config` describes by `_target_` and arguments, nested objects first; `arguments` are added.

    Raises UserError for a target that is not of this project or one of the few that it wires, so that a
    configuration which came with somebody else's run runs no code of its own; and where a constructor refuses.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    for target in _targets(OmegaConf.to_container(config, resolve=True)):
        if not str(target).startswith(ALLOWED_TARGETS):
            refuse(f"a class of {' or '.join(ALLOWED_TARGETS)}", "_target_", target, "Build other objects in Python.")
    try:
        return instantiate(config, _convert_="all", **arguments)
    except InstantiationException as error:
        cause = _first_cause(error)
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, TypeError | ImportError | InstantiationException):  # an argument too many, no such class
            raise UserError(
                f"Expected arguments that fit, got: {cause}. --cfg job shows all keys; ~<key> leaves one out."
            ) from error
        raise cause from None


def load_group(group: str, name: str) -> DictConfig:
    """The file conf/<group>/<name>.yaml."""
    config = OmegaConf.load(CONF / group / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    return config


def _targets(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _targets(child)


def _first_cause(error: Exception) -> Exception:
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error
