"""The versions that a fault report names."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "torchmetrics")


def version_of(package: str) -> str | None:
    """The version of an installed package, which is not imported for it; None in a checkout that was not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def all_versions() -> str:
    """One line for this package, and one for Python, the system and the packages whose versions change numbers."""
    others = ", ".join(f"{package} {version_of(package)}" for package in PACKAGES)
    return (
        f"cvae_lightning {version_of('cvae_lightning') or '(a checkout that is not installed)'}\n"
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {others}"
    )
