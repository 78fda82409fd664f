"""Turns each image of MNIST by a known angle: a data set with a class and a real number per image.

    python benchmarks/turned_digits.py turned_digits.npz [--data-dir data] [--dataset MNIST] [--most 45] [--seed 0]

The file has the arrays `train_images`, `train_digit` and `train_angle`, and those of val and test, with the same images
in each split as `data=mnist` has. Angles are in degrees, uniform from -45 to 45, anticlockwise, and drawn with the
seed. Pixels are interpolated by cubic splines of torch. It takes a few seconds.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cvae_lightning.data.idx_source import IdxSource

BATCH_SIZE = 5000


def turned(images: Tensor, degrees: Tensor) -> Tensor:
    """The images (B, 1, H, W), uint8, each turned anticlockwise around its centre; black comes in at the corners."""
    cos, sin = torch.cos(degrees.deg2rad()), torch.sin(degrees.deg2rad())
    zero = torch.zeros_like(cos)
    # the place in the old image that each pixel of the new one shows; rows count downwards
    rows = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    drawn = F.grid_sample(images.float(), grid, mode="bicubic", align_corners=False)
    return drawn.round().clamp(0, 255).to(torch.uint8)


def angles(num: int, most: float, seed: int, split: int) -> Tensor:
    """Degrees for `num` images, with two decimals, from a random stream for each split."""
    drawn = np.random.default_rng([seed, split]).uniform(-most, most, num)
    return torch.from_numpy(drawn.round(2).astype("f4"))


def arrays(source: IdxSource, most: float, seed: int) -> dict[str, Any]:
    """The arrays of all splits, by their names in the file."""
    found = {}
    splits = (*source.fit_splits(), source.test_split())
    for number, (name, split) in enumerate(zip(("train", "val", "test"), splits, strict=True)):
        degrees = angles(len(split.images), most, seed, number)
        parts = zip(split.images.split(BATCH_SIZE), degrees.split(BATCH_SIZE), strict=True)
        found[f"{name}_images"] = torch.cat([turned(*part) for part in parts])[:, 0].numpy()
        found[f"{name}_digit"] = split.labels.numpy()
        found[f"{name}_angle"] = degrees.numpy()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="is written, and must not exist")
    parser.add_argument("--data-dir", default=os.environ.get("CVAE_DATA_DIR", "data"))
    parser.add_argument("--dataset", default="MNIST", choices=["MNIST", "FashionMNIST", "KMNIST"])
    parser.add_argument("--most", type=float, default=45.0, help="the largest angle, in degrees")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.file.exists():
        raise SystemExit(f"Expected a new file, got {str(asked.file)!r}. Delete it, or name another.")
    source = IdxSource(asked.dataset.lower(), asked.dataset, asked.data_dir)
    source.prepare()
    found = arrays(source, asked.most, asked.seed)
    np.savez_compressed(asked.file, **found)
    print(f"{asked.file}: {', '.join(f'{name} {array.shape}' for name, array in found.items())}")


if __name__ == "__main__":
    main()
