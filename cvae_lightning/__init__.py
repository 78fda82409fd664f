"""Variational autoencoders, conditional on a label or not: training, sweeps, evaluation and drawing.

The names below are the public API. Each is imported when it is first used, so that `import cvae_lightning` is quick.

>>> from cvae_lightning import Run
>>> run = Run("outputs/2026-01-01/12-00-00")
>>> run.metrics["test"]["ssim"]
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cvae_lightning.core.plugins import trust
    from cvae_lightning.data.datamodule import DataModule
    from cvae_lightning.models.cvae import CVAE
    from cvae_lightning.models.vae import VAE
    from cvae_lightning.runs.run import Run
    from cvae_lightning.runs.sweep import Sweep
else:
    from importlib import import_module

    _HOMES = {
        "CVAE": "cvae_lightning.models.cvae",
        "VAE": "cvae_lightning.models.vae",
        "DataModule": "cvae_lightning.data.datamodule",
        "Run": "cvae_lightning.runs.run",
        "Sweep": "cvae_lightning.runs.sweep",
        "trust": "cvae_lightning.core.plugins",
    }

    def __getattr__(name):  # noqa: ANN001, ANN202 # type checkers read the imports above
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)

    def __dir__():  # noqa: ANN202
        return sorted([*globals(), *_HOMES])


__all__ = ["CVAE", "VAE", "DataModule", "Run", "Sweep", "trust"]
