"""How much memory a training needs, known before its first step."""

import copy

import torch
from torch import Tensor

from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.models.vae import VAE


def saved_for_backward(model: VAE, num_images: int) -> int:
    """Bytes that the loss of a batch of `num_images` keeps for its gradient, in float32; 0 if that is unknown.

    The loss is computed on the meta device, where tensors have shapes and no memory.
    """
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage  # views share one
        return tensor

    with random_stream(0):  # for a user's own part that draws on the CPU
        try:
            shapes = copy.deepcopy(model).to("meta")
            x = torch.empty(num_images, *model.image_shape, device="meta")
            y = model.condition.unknown(num_images, x.device)
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                shapes.loss(x, y, epoch=0)
        except (RuntimeError, TypeError):  # a user's own part reads values
            return 0
    for parameter in shapes.parameters():  # which are not of the batch
        kept.pop(parameter.untyped_storage()._cdata, None)
    return sum(storage.nbytes() for storage in kept.values())
