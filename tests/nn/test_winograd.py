"""Winograd's convolutions against PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pinxit.nn import products, winograd
from pinxit.nn.products import Products
from pinxit.nn.winograd import Winograd


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("size", [(10, 10), (9, 15), (3, 3), (4, 32), (35, 7)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_it_is_the_convolution_at_any_size(tile: int, size: tuple[int, int], bias: bool, last: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 6, *size, dtype=torch.float64), torch.randn(5, 6, 3, 3, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    constant = torch.randn(5, dtype=torch.float64) if bias else None
    found = Winograd(weight, constant, tile)(x)
    torch.testing.assert_close(found, F.conv2d(x, weight, constant), rtol=0, atol=1e-12)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("numbers", [1, 100, 200, 500])
@pytest.mark.parametrize("size", [(23, 20), (22, 18), (10, 11)])
def test_parts_of_a_picture_are_the_picture(
    tile: int, numbers: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(5, 6, *size, dtype=torch.float64), torch.randn(5, 6, 3, 3, dtype=torch.float64)
    monkeypatch.setattr(winograd, "NUMBERS", numbers)
    monkeypatch.setattr(winograd, "PATCHES", 1)
    monkeypatch.setattr(winograd, "MOST_PIXELS", numbers)
    torch.testing.assert_close(Winograd(weight, None, tile)(x), F.conv2d(x, weight), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("tile", "most"), [(2, 1e-6), (4, 2e-6)])
def test_rounding(tile: int, most: float) -> None:
    """In fp32, to the deviation of what comes out; PyTorch's own is some 2e-7."""
    torch.manual_seed(0)
    x, weight = torch.randn(1, 256, 34, 34).relu(), torch.randn(64, 256, 3, 3) / 48
    exact = F.conv2d(x.double(), weight.double())
    error = Winograd(weight, None, tile)(x).double() - exact
    assert error.square().mean().sqrt() / exact.std() < most


@pytest.mark.parametrize("order", [True, False])
@pytest.mark.parametrize("shape", [(16, 64, 16, 32), (36, 100, 48, 16), (1, 1, 16, 16), (4, 7, 5, 6), (16, 9, 272, 16)])
def test_products(order: bool, shape: tuple[int, int, int, int]) -> None:
    torch.manual_seed(0)
    count, usual, inputs, outputs = shape
    matrices, x = torch.randn(count, outputs, inputs), torch.randn(usual + 5, count, inputs)
    made = Products(matrices, order)
    assert made.orders == (order and inputs in (16, 48) and products.can_order(matrices) and products.with_avx512())
    expected = torch.einsum("psc,soc->pso", x.double(), matrices.double())
    for part in (slice(usual), slice(usual - 1), slice(3, 3 + usual), slice(usual + 5)):
        found = made(x[part], usual)
        assert found.shape == expected[part].shape
        torch.testing.assert_close(found.double(), expected[part], rtol=0, atol=1e-4)
    ordered = made.in_order
    assert (ordered is not None) == made.orders
    torch.testing.assert_close(made(x, usual + 5).double(), expected, rtol=0, atol=1e-4)  # of a picture of another size


def test_products_where_there_is_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "can_order", lambda _: False)
    x, weight = torch.randn(1, 32, 20, 20), torch.randn(32, 32, 3, 3) / 17
    quick = Winograd(weight, None, 4)
    assert isinstance(quick.products, Products)
    assert not quick.products.orders
    torch.testing.assert_close(quick(x), F.conv2d(x, weight), rtol=0, atol=1e-4)
