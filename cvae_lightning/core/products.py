"""How matrix products and convolutions of float32 numbers may be rounded."""

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")
EXACT, ROUNDED = "highest", "medium"  # of torch.set_float32_matmul_precision
SIZE = 128  # of the product that is tried; small ones are computed in another way


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Round neither the factors of products nor those of convolutions; afterwards all is as it was before.

    On a GPU, torch rounds those of convolutions to TF32 by default.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    set_products(device)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def set_products(device: torch.device, precision: str = EXACT) -> None:
    """Let products be rounded as `precision` says, a value of torch.set_float32_matmul_precision.

    On a processor with AMX, "medium" rounds factors to bfloat16; on a GPU, "high" and "medium" round them to TF32, also
    those of convolutions.
    """
    unrounded = precision == EXACT
    if unrounded and device.type == "cpu" and _rounds_nothing():
        precision = ROUNDED
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = not unrounded


@functools.cache
def multiplies_in_bfloat16() -> bool:
    """Whether this machine's processor has instructions for products of bfloat16 numbers.

    Where it has none, bfloat16 is emulated, and a convolution takes seven times as long as in float32. Where it has
    them, it takes half as long (AVX512-BF16) or less (AMX).
    """
    flags = CPUINFO.read_text("utf-8") if CPUINFO.exists() else ""
    return re.search(r"\b(amx_bf16|avx512_bf16)\b", flags) is not None


@functools.cache
def _rounds_nothing() -> bool:
    """Whether "medium" is as exact as "highest" here, though it allows rounding.

    It is on a processor with AVX512-BF16 but without AMX, such as AMD's Zen 4 and 5. "medium" then selects the routines
    of oneDNN, and they are more than twice as fast as those of MKL.
    """
    before = torch.get_float32_matmul_precision()
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(SIZE, SIZE, generator=generator) for _ in range(2))
    torch.set_float32_matmul_precision(ROUNDED)
    error = (a @ b - (a.double() @ b.double())).abs().max()
    torch.set_float32_matmul_precision(before)
    return float(error) < 1e-4  # bfloat16 has errors of 0.1
