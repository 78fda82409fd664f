"""A variational autoencoder as functions that need only torch and safetensors.

Images are float32 in [0, 1], of shape (batch, 1, 28, 28).
`label` is int64, of shape (batch,): places in CLASSES.
Latents are float32, of shape (batch, 20).

>>> import torch
>>> from model import sample
>>> sample(torch.tensor([0, 1, 1])).shape
torch.Size([3, 1, 28, 28])
"""

from pathlib import Path

import torch
from safetensors.torch import load_file

CLASSES = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']
FOLDER = Path(__file__).parent
WEIGHTS = {
    name: weight.float() if weight.is_floating_point() else weight
    for file in ("model.safetensors", "tables.safetensors")
    for name, weight in load_file(FOLDER / file).items()
}
aten = torch.ops.aten


def sample(label):
    """New images: latents that are drawn, and decoded."""
    noise = torch.randn(len(label), 20)
    uniform = torch.rand(len(noise))
    return decode(draw(noise, uniform, label), label)


def encode(image, label):
    """Mean and log variance of the latents of images, both of shape (batch, latent_dim)."""
    unsqueeze = aten.unsqueeze.default(label, 1)
    select = aten.select.int(unsqueeze, 1, 0)
    ge = aten.ge.Scalar(select, 0)
    lt = aten.lt.Scalar(select, 10)
    and_1 = aten.__and__.Tensor(ge, lt)
    where = aten.where.ScalarOther(and_1, select, 10)
    index = aten.index.Tensor(WEIGHTS['encoder.context.contexts0'], [where])
    cat = aten.cat.default([index], 1)
    flatten = aten.flatten.using_ints(image, 1)
    expand = aten.expand.default(cat, [-1, -1])
    cat_1 = aten.cat.default([flatten, expand], 1)
    linear = aten.linear.default(cat_1, WEIGHTS['encoder.layers.1.weight'], WEIGHTS['encoder.layers.1.bias'])
    relu = aten.relu.default(linear)
    linear_1 = aten.linear.default(relu, WEIGHTS['encoder.layers.3.weight'], WEIGHTS['encoder.layers.3.bias'])
    relu_1 = aten.relu.default(linear_1)
    linear_2 = aten.linear.default(relu_1, WEIGHTS['encoder.layers.5.weight'], WEIGHTS['encoder.layers.5.bias'])
    chunk = aten.chunk.default(linear_2, 2, 1)
    getitem = chunk[0]
    getitem_1 = chunk[1]
    return getitem, getitem_1


def decode(latent, label):
    """The images that latents stand for."""
    unsqueeze = aten.unsqueeze.default(label, 1)
    select = aten.select.int(unsqueeze, 1, 0)
    ge = aten.ge.Scalar(select, 0)
    lt = aten.lt.Scalar(select, 10)
    and_1 = aten.__and__.Tensor(ge, lt)
    where = aten.where.ScalarOther(and_1, select, 10)
    index = aten.index.Tensor(WEIGHTS['encoder.context.contexts0'], [where])
    cat = aten.cat.default([index], 1)
    expand = aten.expand.default(cat, [-1, -1])
    cat_1 = aten.cat.default([latent, expand], 1)
    linear = aten.linear.default(cat_1, WEIGHTS['decoder.layers.1.weight'], WEIGHTS['decoder.layers.1.bias'])
    relu = aten.relu.default(linear)
    linear_1 = aten.linear.default(relu, WEIGHTS['decoder.layers.3.weight'], WEIGHTS['decoder.layers.3.bias'])
    relu_1 = aten.relu.default(linear_1)
    linear_2 = aten.linear.default(relu_1, WEIGHTS['decoder.layers.5.weight'], WEIGHTS['decoder.layers.5.bias'])
    unflatten = aten.unflatten.int(linear_2, 1, [1, 28, 28])
    sigmoid = aten.sigmoid.default(unflatten)
    return sigmoid


def draw(noise, uniform, label):
    """The latents for `noise` from N(0, I) and, if asked for, `uniform` (batch,) from [0, 1)."""
    unsqueeze = aten.unsqueeze.default(label, 1)
    select = aten.select.int(unsqueeze, 1, 0)
    ge = aten.ge.Scalar(select, 0)
    lt = aten.lt.Scalar(select, 10)
    and_1 = aten.__and__.Tensor(ge, lt)
    where = aten.where.ScalarOther(and_1, select, 10)
    unsqueeze_1 = aten.unsqueeze.default(uniform, 1)
    index = aten.index.Tensor(WEIGHTS['sampler.thresholds'], [where])
    ge_1 = aten.ge.Tensor(unsqueeze_1, index)
    sum_1 = aten.sum.dim_IntList(ge_1, [1])
    index_1 = aten.index.Tensor(WEIGHTS['sampler.means'], [where, sum_1])
    index_2 = aten.index.Tensor(WEIGHTS['sampler.factors'], [where, sum_1])
    unsqueeze_2 = aten.unsqueeze.default(noise, 2)
    matmul = aten.matmul.default(index_2, unsqueeze_2)
    select_1 = aten.select.int(matmul, 2, 0)
    add = aten.add.Tensor(index_1, select_1)
    return add
