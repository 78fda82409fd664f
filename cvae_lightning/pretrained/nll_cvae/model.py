"""A variational autoencoder as functions that need only torch and safetensors.

Images are float32 in [0, 1], of shape (batch, 1, 28, 28).
`label` is int64, of shape (batch,): places in CLASSES.
Latents are float32, of shape (batch, 40).

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
    noise = torch.randn(len(label), 40)
    return decode(draw(noise, label), label)


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
    conv2d_3 = aten.conv2d.default(relu_2, WEIGHTS['encoder.4.weight'], WEIGHTS['encoder.4.bias'], [2, 2])
    relu_3 = aten.relu.default(conv2d_3)
    conv2d_4 = aten.conv2d.default(relu_3, WEIGHTS['encoder.5.layers.1.weight'], WEIGHTS['encoder.5.layers.1.bias'], [1, 1], [1, 1])
    relu_4 = aten.relu.default(conv2d_4)
    conv2d_5 = aten.conv2d.default(relu_4, WEIGHTS['encoder.5.layers.3.weight'], WEIGHTS['encoder.5.layers.3.bias'], [1, 1], [1, 1])
    add_1 = aten.add.Tensor(conv2d_3, conv2d_5)
    relu_5 = aten.relu.default(add_1)
    flatten = aten.flatten.using_ints(relu_5, 1)
    linear = aten.linear.default(flatten, WEIGHTS['encoder.8.weight'], WEIGHTS['encoder.8.bias'])
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
    conv2d_2 = aten.conv2d.default(relu_2, WEIGHTS['decoder.5.weight'], WEIGHTS['decoder.5.bias'])
    pixel_shuffle = aten.pixel_shuffle.default(conv2d_2, 2)
    relu_3 = aten.relu.default(pixel_shuffle)
    conv2d_3 = aten.conv2d.default(relu_3, WEIGHTS['decoder.7.layers.1.weight'], WEIGHTS['decoder.7.layers.1.bias'], [1, 1], [1, 1])
    relu_4 = aten.relu.default(conv2d_3)
    conv2d_4 = aten.conv2d.default(relu_4, WEIGHTS['decoder.7.layers.3.weight'], WEIGHTS['decoder.7.layers.3.bias'], [1, 1], [1, 1])
    add_1 = aten.add.Tensor(pixel_shuffle, conv2d_4)
    relu_5 = aten.relu.default(add_1)
    conv2d_5 = aten.conv2d.default(relu_5, WEIGHTS['decoder.9.weight'], WEIGHTS['decoder.9.bias'], [1, 1], [1, 1])
    pixel_shuffle_1 = aten.pixel_shuffle.default(conv2d_5, 2)
    sigmoid = aten.sigmoid.default(pixel_shuffle_1)
    return sigmoid


def draw(noise, label):
    """The latents for `noise` from N(0, I) and, if asked for, `uniform` (batch,) from [0, 1)."""
    select = aten.select.int(noise, 1, 0)
    unsqueeze = aten.unsqueeze.default(label, 1)
    select_1 = aten.select.int(unsqueeze, 1, 0)
    ge = aten.ge.Scalar(select_1, 0)
    lt = aten.lt.Scalar(select_1, 10)
    and_1 = aten.__and__.Tensor(ge, lt)
    where = aten.where.ScalarOther(and_1, select_1, 10)
    index = aten.index.Tensor(WEIGHTS['encoder.context.contexts0'], [where])
    unbind = aten.unbind.int(WEIGHTS['prior_net.flow.orders'])
    getitem = unbind[0]
    getitem_1 = unbind[1]
    getitem_2 = unbind[2]
    getitem_3 = unbind[3]
    getitem_4 = unbind[4]
    getitem_5 = unbind[5]
    getitem_6 = unbind[6]
    getitem_7 = unbind[7]
    split_with_sizes = aten.split_with_sizes.default(noise, [20, 20], 1)
    getitem_8 = split_with_sizes[0]
    getitem_9 = split_with_sizes[1]
    cat = aten.cat.default([getitem_8, index], 1)
    linear = aten.linear.default(cat, WEIGHTS['prior_net.flow.couplings.7.layers.0.weight'], WEIGHTS['prior_net.flow.couplings.7.layers.0.bias'])
    relu = aten.relu.default(linear)
    linear_1 = aten.linear.default(relu, WEIGHTS['prior_net.flow.couplings.7.layers.2.weight'], WEIGHTS['prior_net.flow.couplings.7.layers.2.bias'])
    relu_1 = aten.relu.default(linear_1)
    linear_2 = aten.linear.default(relu_1, WEIGHTS['prior_net.flow.couplings.7.layers.4.weight'], WEIGHTS['prior_net.flow.couplings.7.layers.4.bias'])
    chunk = aten.chunk.default(linear_2, 2, 1)
    getitem_10 = chunk[0]
    getitem_11 = chunk[1]
    div = aten.div.Tensor(getitem_11, 2.0)
    tanh = aten.tanh.default(div)
    mul = aten.mul.Tensor(tanh, 2.0)
    sub = aten.sub.Tensor(getitem_9, getitem_10)
    neg = aten.neg.default(mul)
    exp = aten.exp.default(neg)
    mul_1 = aten.mul.Tensor(sub, exp)
    cat_1 = aten.cat.default([getitem_8, mul_1], 1)
    expand_as = aten.expand_as.default(getitem_7, cat_1)
    scatter = aten.scatter.src(cat_1, 1, expand_as, cat_1)
    split_with_sizes_1 = aten.split_with_sizes.default(scatter, [20, 20], 1)
    getitem_12 = split_with_sizes_1[0]
    getitem_13 = split_with_sizes_1[1]
    cat_2 = aten.cat.default([getitem_12, index], 1)
    linear_3 = aten.linear.default(cat_2, WEIGHTS['prior_net.flow.couplings.6.layers.0.weight'], WEIGHTS['prior_net.flow.couplings.6.layers.0.bias'])
    relu_2 = aten.relu.default(linear_3)
    linear_4 = aten.linear.default(relu_2, WEIGHTS['prior_net.flow.couplings.6.layers.2.weight'], WEIGHTS['prior_net.flow.couplings.6.layers.2.bias'])
    relu_3 = aten.relu.default(linear_4)
    linear_5 = aten.linear.default(relu_3, WEIGHTS['prior_net.flow.couplings.6.layers.4.weight'], WEIGHTS['prior_net.flow.couplings.6.layers.4.bias'])
    chunk_1 = aten.chunk.default(linear_5, 2, 1)
    getitem_14 = chunk_1[0]
    getitem_15 = chunk_1[1]
    div_1 = aten.div.Tensor(getitem_15, 2.0)
    tanh_1 = aten.tanh.default(div_1)
    mul_2 = aten.mul.Tensor(tanh_1, 2.0)
    sub_1 = aten.sub.Tensor(getitem_13, getitem_14)
    neg_1 = aten.neg.default(mul_2)
    exp_1 = aten.exp.default(neg_1)
    mul_3 = aten.mul.Tensor(sub_1, exp_1)
    cat_3 = aten.cat.default([getitem_12, mul_3], 1)
    expand_as_1 = aten.expand_as.default(getitem_6, cat_3)
    scatter_1 = aten.scatter.src(cat_3, 1, expand_as_1, cat_3)
    split_with_sizes_2 = aten.split_with_sizes.default(scatter_1, [20, 20], 1)
    getitem_16 = split_with_sizes_2[0]
    getitem_17 = split_with_sizes_2[1]
    cat_4 = aten.cat.default([getitem_16, index], 1)
    linear_6 = aten.linear.default(cat_4, WEIGHTS['prior_net.flow.couplings.5.layers.0.weight'], WEIGHTS['prior_net.flow.couplings.5.layers.0.bias'])
    relu_4 = aten.relu.default(linear_6)
    linear_7 = aten.linear.default(relu_4, WEIGHTS['prior_net.flow.couplings.5.layers.2.weight'], WEIGHTS['prior_net.flow.couplings.5.layers.2.bias'])
    relu_5 = aten.relu.default(linear_7)
    linear_8 = aten.linear.default(relu_5, WEIGHTS['prior_net.flow.couplings.5.layers.4.weight'], WEIGHTS['prior_net.flow.couplings.5.layers.4.bias'])
    chunk_2 = aten.chunk.default(linear_8, 2, 1)
    getitem_18 = chunk_2[0]
    getitem_19 = chunk_2[1]
    div_2 = aten.div.Tensor(getitem_19, 2.0)
    tanh_2 = aten.tanh.default(div_2)
    mul_4 = aten.mul.Tensor(tanh_2, 2.0)
    sub_2 = aten.sub.Tensor(getitem_17, getitem_18)
    neg_2 = aten.neg.default(mul_4)
    exp_2 = aten.exp.default(neg_2)
    mul_5 = aten.mul.Tensor(sub_2, exp_2)
    cat_5 = aten.cat.default([getitem_16, mul_5], 1)
    expand_as_2 = aten.expand_as.default(getitem_5, cat_5)
    scatter_2 = aten.scatter.src(cat_5, 1, expand_as_2, cat_5)
    split_with_sizes_3 = aten.split_with_sizes.default(scatter_2, [20, 20], 1)
    getitem_20 = split_with_sizes_3[0]
    getitem_21 = split_with_sizes_3[1]
    cat_6 = aten.cat.default([getitem_20, index], 1)
    linear_9 = aten.linear.default(cat_6, WEIGHTS['prior_net.flow.couplings.4.layers.0.weight'], WEIGHTS['prior_net.flow.couplings.4.layers.0.bias'])
    relu_6 = aten.relu.default(linear_9)
    linear_10 = aten.linear.default(relu_6, WEIGHTS['prior_net.flow.couplings.4.layers.2.weight'], WEIGHTS['prior_net.flow.couplings.4.layers.2.bias'])
    relu_7 = aten.relu.default(linear_10)
    linear_11 = aten.linear.default(relu_7, WEIGHTS['prior_net.flow.couplings.4.layers.4.weight'], WEIGHTS['prior_net.flow.couplings.4.layers.4.bias'])
    chunk_3 = aten.chunk.default(linear_11, 2, 1)
    getitem_22 = chunk_3[0]
    getitem_23 = chunk_3[1]
    div_3 = aten.div.Tensor(getitem_23, 2.0)
    tanh_3 = aten.tanh.default(div_3)
    mul_6 = aten.mul.Tensor(tanh_3, 2.0)
    sub_3 = aten.sub.Tensor(getitem_21, getitem_22)
    neg_3 = aten.neg.default(mul_6)
    exp_3 = aten.exp.default(neg_3)
    mul_7 = aten.mul.Tensor(sub_3, exp_3)
    cat_7 = aten.cat.default([getitem_20, mul_7], 1)
    expand_as_3 = aten.expand_as.default(getitem_4, cat_7)
    scatter_3 = aten.scatter.src(cat_7, 1, expand_as_3, cat_7)
    split_with_sizes_4 = aten.split_with_sizes.default(scatter_3, [20, 20], 1)
    getitem_24 = split_with_sizes_4[0]
    getitem_25 = split_with_sizes_4[1]
    cat_8 = aten.cat.default([getitem_24, index], 1)
    linear_12 = aten.linear.default(cat_8, WEIGHTS['prior_net.flow.couplings.3.layers.0.weight'], WEIGHTS['prior_net.flow.couplings.3.layers.0.bias'])
    relu_8 = aten.relu.default(linear_12)
    linear_13 = aten.linear.default(relu_8, WEIGHTS['prior_net.flow.couplings.3.layers.2.weight'], WEIGHTS['prior_net.flow.couplings.3.layers.2.bias'])
    relu_9 = aten.relu.default(linear_13)
    linear_14 = aten.linear.default(relu_9, WEIGHTS['prior_net.flow.couplings.3.layers.4.weight'], WEIGHTS['prior_net.flow.couplings.3.layers.4.bias'])
    chunk_4 = aten.chunk.default(linear_14, 2, 1)
    getitem_26 = chunk_4[0]
    getitem_27 = chunk_4[1]
    div_4 = aten.div.Tensor(getitem_27, 2.0)
    tanh_4 = aten.tanh.default(div_4)
    mul_8 = aten.mul.Tensor(tanh_4, 2.0)
    sub_4 = aten.sub.Tensor(getitem_25, getitem_26)
    neg_4 = aten.neg.default(mul_8)
    exp_4 = aten.exp.default(neg_4)
    mul_9 = aten.mul.Tensor(sub_4, exp_4)
    cat_9 = aten.cat.default([getitem_24, mul_9], 1)
    expand_as_4 = aten.expand_as.default(getitem_3, cat_9)
    scatter_4 = aten.scatter.src(cat_9, 1, expand_as_4, cat_9)
    split_with_sizes_5 = aten.split_with_sizes.default(scatter_4, [20, 20], 1)
    getitem_28 = split_with_sizes_5[0]
    getitem_29 = split_with_sizes_5[1]
    cat_10 = aten.cat.default([getitem_28, index], 1)
    linear_15 = aten.linear.default(cat_10, WEIGHTS['prior_net.flow.couplings.2.layers.0.weight'], WEIGHTS['prior_net.flow.couplings.2.layers.0.bias'])
    relu_10 = aten.relu.default(linear_15)
    linear_16 = aten.linear.default(relu_10, WEIGHTS['prior_net.flow.couplings.2.layers.2.weight'], WEIGHTS['prior_net.flow.couplings.2.layers.2.bias'])
    relu_11 = aten.relu.default(linear_16)
    linear_17 = aten.linear.default(relu_11, WEIGHTS['prior_net.flow.couplings.2.layers.4.weight'], WEIGHTS['prior_net.flow.couplings.2.layers.4.bias'])
    chunk_5 = aten.chunk.default(linear_17, 2, 1)
    getitem_30 = chunk_5[0]
    getitem_31 = chunk_5[1]
    div_5 = aten.div.Tensor(getitem_31, 2.0)
    tanh_5 = aten.tanh.default(div_5)
    mul_10 = aten.mul.Tensor(tanh_5, 2.0)
    sub_5 = aten.sub.Tensor(getitem_29, getitem_30)
    neg_5 = aten.neg.default(mul_10)
    exp_5 = aten.exp.default(neg_5)
    mul_11 = aten.mul.Tensor(sub_5, exp_5)
    cat_11 = aten.cat.default([getitem_28, mul_11], 1)
    expand_as_5 = aten.expand_as.default(getitem_2, cat_11)
    scatter_5 = aten.scatter.src(cat_11, 1, expand_as_5, cat_11)
    split_with_sizes_6 = aten.split_with_sizes.default(scatter_5, [20, 20], 1)
    getitem_32 = split_with_sizes_6[0]
    getitem_33 = split_with_sizes_6[1]
    cat_12 = aten.cat.default([getitem_32, index], 1)
    linear_18 = aten.linear.default(cat_12, WEIGHTS['prior_net.flow.couplings.1.layers.0.weight'], WEIGHTS['prior_net.flow.couplings.1.layers.0.bias'])
    relu_12 = aten.relu.default(linear_18)
    linear_19 = aten.linear.default(relu_12, WEIGHTS['prior_net.flow.couplings.1.layers.2.weight'], WEIGHTS['prior_net.flow.couplings.1.layers.2.bias'])
    relu_13 = aten.relu.default(linear_19)
    linear_20 = aten.linear.default(relu_13, WEIGHTS['prior_net.flow.couplings.1.layers.4.weight'], WEIGHTS['prior_net.flow.couplings.1.layers.4.bias'])
    chunk_6 = aten.chunk.default(linear_20, 2, 1)
    getitem_34 = chunk_6[0]
    getitem_35 = chunk_6[1]
    div_6 = aten.div.Tensor(getitem_35, 2.0)
    tanh_6 = aten.tanh.default(div_6)
    mul_12 = aten.mul.Tensor(tanh_6, 2.0)
    sub_6 = aten.sub.Tensor(getitem_33, getitem_34)
    neg_6 = aten.neg.default(mul_12)
    exp_6 = aten.exp.default(neg_6)
    mul_13 = aten.mul.Tensor(sub_6, exp_6)
    cat_13 = aten.cat.default([getitem_32, mul_13], 1)
    expand_as_6 = aten.expand_as.default(getitem_1, cat_13)
    scatter_6 = aten.scatter.src(cat_13, 1, expand_as_6, cat_13)
    split_with_sizes_7 = aten.split_with_sizes.default(scatter_6, [20, 20], 1)
    getitem_36 = split_with_sizes_7[0]
    getitem_37 = split_with_sizes_7[1]
    cat_14 = aten.cat.default([getitem_36, index], 1)
    linear_21 = aten.linear.default(cat_14, WEIGHTS['prior_net.flow.couplings.0.layers.0.weight'], WEIGHTS['prior_net.flow.couplings.0.layers.0.bias'])
    relu_14 = aten.relu.default(linear_21)
    linear_22 = aten.linear.default(relu_14, WEIGHTS['prior_net.flow.couplings.0.layers.2.weight'], WEIGHTS['prior_net.flow.couplings.0.layers.2.bias'])
    relu_15 = aten.relu.default(linear_22)
    linear_23 = aten.linear.default(relu_15, WEIGHTS['prior_net.flow.couplings.0.layers.4.weight'], WEIGHTS['prior_net.flow.couplings.0.layers.4.bias'])
    chunk_7 = aten.chunk.default(linear_23, 2, 1)
    getitem_38 = chunk_7[0]
    getitem_39 = chunk_7[1]
    div_7 = aten.div.Tensor(getitem_39, 2.0)
    tanh_7 = aten.tanh.default(div_7)
    mul_14 = aten.mul.Tensor(tanh_7, 2.0)
    sub_7 = aten.sub.Tensor(getitem_37, getitem_38)
    neg_7 = aten.neg.default(mul_14)
    exp_7 = aten.exp.default(neg_7)
    mul_15 = aten.mul.Tensor(sub_7, exp_7)
    cat_15 = aten.cat.default([getitem_36, mul_15], 1)
    expand_as_7 = aten.expand_as.default(getitem, cat_15)
    scatter_7 = aten.scatter.src(cat_15, 1, expand_as_7, cat_15)
    return scatter_7
