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
    unsqueeze_1 = aten.unsqueeze.default(cat, 2)
    unsqueeze_2 = aten.unsqueeze.default(unsqueeze_1, 3)
    expand = aten.expand.default(unsqueeze_2, [-1, -1, 28, 28])
    cat_1 = aten.cat.default([image, expand], 1)
    contiguous = aten.contiguous.default(cat_1, memory_format=torch.channels_last)
    conv2d = aten.conv2d.default(contiguous, WEIGHTS['encoder.1.weight'], WEIGHTS['encoder.1.bias'], [2, 2], [1, 1])
    relu = aten.relu.default(conv2d)
    conv2d_1 = aten.conv2d.default(relu, WEIGHTS['encoder.2.layers.1.weight'], WEIGHTS['encoder.2.layers.1.bias'], [1, 1], [1, 1])
    relu_1 = aten.relu.default(conv2d_1)
    conv2d_2 = aten.conv2d.default(relu_1, WEIGHTS['encoder.2.layers.3.weight'], WEIGHTS['encoder.2.layers.3.bias'], [1, 1], [1, 1])
    add = aten.add.Tensor(conv2d, conv2d_2)
    relu_2 = aten.relu.default(add)
    conv2d_3 = aten.conv2d.default(relu_2, WEIGHTS['encoder.3.layers.1.weight'], WEIGHTS['encoder.3.layers.1.bias'], [1, 1], [1, 1])
    relu_3 = aten.relu.default(conv2d_3)
    conv2d_4 = aten.conv2d.default(relu_3, WEIGHTS['encoder.3.layers.3.weight'], WEIGHTS['encoder.3.layers.3.bias'], [1, 1], [1, 1])
    add_1 = aten.add.Tensor(add, conv2d_4)
    relu_4 = aten.relu.default(add_1)
    conv2d_5 = aten.conv2d.default(relu_4, WEIGHTS['encoder.5.weight'], WEIGHTS['encoder.5.bias'], [2, 2])
    relu_5 = aten.relu.default(conv2d_5)
    conv2d_6 = aten.conv2d.default(relu_5, WEIGHTS['encoder.6.layers.1.weight'], WEIGHTS['encoder.6.layers.1.bias'], [1, 1], [1, 1])
    relu_6 = aten.relu.default(conv2d_6)
    conv2d_7 = aten.conv2d.default(relu_6, WEIGHTS['encoder.6.layers.3.weight'], WEIGHTS['encoder.6.layers.3.bias'], [1, 1], [1, 1])
    add_2 = aten.add.Tensor(conv2d_5, conv2d_7)
    relu_7 = aten.relu.default(add_2)
    conv2d_8 = aten.conv2d.default(relu_7, WEIGHTS['encoder.7.layers.1.weight'], WEIGHTS['encoder.7.layers.1.bias'], [1, 1], [1, 1])
    relu_8 = aten.relu.default(conv2d_8)
    conv2d_9 = aten.conv2d.default(relu_8, WEIGHTS['encoder.7.layers.3.weight'], WEIGHTS['encoder.7.layers.3.bias'], [1, 1], [1, 1])
    add_3 = aten.add.Tensor(add_2, conv2d_9)
    relu_9 = aten.relu.default(add_3)
    flatten = aten.flatten.using_ints(relu_9, 1)
    linear = aten.linear.default(flatten, WEIGHTS['encoder.10.weight'], WEIGHTS['encoder.10.bias'])
    chunk = aten.chunk.default(linear, 2, 1)
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
    linear = aten.linear.default(cat_1, WEIGHTS['decoder.1.weight'], WEIGHTS['decoder.1.bias'])
    unflatten = aten.unflatten.int(linear, 1, [64, 7, 7])
    contiguous = aten.contiguous.default(unflatten, memory_format=torch.channels_last)
    relu = aten.relu.default(contiguous)
    conv2d = aten.conv2d.default(relu, WEIGHTS['decoder.3.layers.1.weight'], WEIGHTS['decoder.3.layers.1.bias'], [1, 1], [1, 1])
    relu_1 = aten.relu.default(conv2d)
    conv2d_1 = aten.conv2d.default(relu_1, WEIGHTS['decoder.3.layers.3.weight'], WEIGHTS['decoder.3.layers.3.bias'], [1, 1], [1, 1])
    add = aten.add.Tensor(contiguous, conv2d_1)
    relu_2 = aten.relu.default(add)
    conv2d_2 = aten.conv2d.default(relu_2, WEIGHTS['decoder.4.layers.1.weight'], WEIGHTS['decoder.4.layers.1.bias'], [1, 1], [1, 1])
    relu_3 = aten.relu.default(conv2d_2)
    conv2d_3 = aten.conv2d.default(relu_3, WEIGHTS['decoder.4.layers.3.weight'], WEIGHTS['decoder.4.layers.3.bias'], [1, 1], [1, 1])
    add_1 = aten.add.Tensor(add, conv2d_3)
    relu_4 = aten.relu.default(add_1)
    conv2d_4 = aten.conv2d.default(relu_4, WEIGHTS['decoder.6.weight'], WEIGHTS['decoder.6.bias'])
    pixel_shuffle = aten.pixel_shuffle.default(conv2d_4, 2)
    relu_5 = aten.relu.default(pixel_shuffle)
    conv2d_5 = aten.conv2d.default(relu_5, WEIGHTS['decoder.8.layers.1.weight'], WEIGHTS['decoder.8.layers.1.bias'], [1, 1], [1, 1])
    relu_6 = aten.relu.default(conv2d_5)
    conv2d_6 = aten.conv2d.default(relu_6, WEIGHTS['decoder.8.layers.3.weight'], WEIGHTS['decoder.8.layers.3.bias'], [1, 1], [1, 1])
    add_2 = aten.add.Tensor(pixel_shuffle, conv2d_6)
    relu_7 = aten.relu.default(add_2)
    conv2d_7 = aten.conv2d.default(relu_7, WEIGHTS['decoder.9.layers.1.weight'], WEIGHTS['decoder.9.layers.1.bias'], [1, 1], [1, 1])
    relu_8 = aten.relu.default(conv2d_7)
    conv2d_8 = aten.conv2d.default(relu_8, WEIGHTS['decoder.9.layers.3.weight'], WEIGHTS['decoder.9.layers.3.bias'], [1, 1], [1, 1])
    add_3 = aten.add.Tensor(add_2, conv2d_8)
    relu_9 = aten.relu.default(add_3)
    conv2d_9 = aten.conv2d.default(relu_9, WEIGHTS['decoder.11.weight'], WEIGHTS['decoder.11.bias'], [1, 1], [1, 1])
    pixel_shuffle_1 = aten.pixel_shuffle.default(conv2d_9, 2)
    sigmoid = aten.sigmoid.default(pixel_shuffle_1)
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
