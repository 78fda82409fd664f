"""Products of float32 numbers are exact unless somebody asks for rounding."""

import pytest
import torch
from helpers import Stop

from cvae_lightning.core import products
from cvae_lightning.core.products import exact_products, set_products

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def state() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def _as_before() -> object:
    before = state()
    yield
    assert state() == before


def test_on_a_gpu_neither_products_nor_convolutions_are_rounded() -> None:
    with exact_products(GPU):
        assert state() == ("highest", False)
        set_products(GPU, "medium")
        assert state() == ("medium", True), "in the backward pass"
        set_products(GPU)
        assert state() == ("highest", False)


def test_the_state_before_comes_back_after_an_error() -> None:
    with pytest.raises(Stop), exact_products(GPU):
        raise Stop


@pytest.mark.parametrize("shape", [(1024, 794, 400), (1024, 400, 784), (64, 20, 400)])
def test_on_a_processor_products_are_as_exact_as_float32_is(shape: tuple[int, int, int]) -> None:
    batch, inner, outer = shape
    a, b = torch.randn(batch, inner), torch.randn(inner, outer)
    with exact_products(CPU):
        error = (a @ b - (a.double() @ b.double())).abs().max()
    assert error < 1e-6 * inner


@pytest.mark.parametrize("rounds", [True, False])
def test_what_rounds_is_not_taken_for_exact(rounds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        asked = torch.get_float32_matmul_precision() == "medium" and a.dtype == torch.float32
        return torch.mm(a.bfloat16().float(), b.bfloat16().float()) if rounds and asked else torch.mm(a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    products._rounds_nothing.cache_clear()
    try:
        with exact_products(CPU):
            assert state()[0] == ("highest" if rounds else "medium")
    finally:
        products._rounds_nothing.cache_clear()
