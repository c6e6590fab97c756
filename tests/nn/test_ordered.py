"""Convolutions by weights in oneDNN's order against PyTorch's own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.nn import ordered
from pinxit.nn.ordered import Ordered

DTYPES = [torch.float32, torch.bfloat16, torch.float64]
SIZES = [(9, 7), (4, 4), (1, 1), (4, 4), (16, 12)]
"""In turn, so that weights in the order for one size meet another."""


@pytest.fixture(autouse=True)
def without_gradients():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def last(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def hold(found: Tensor, exact: Tensor) -> None:
    assert found.shape == exact.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    near = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 2e-2}[found.dtype]
    torch.testing.assert_close(found.double(), exact, rtol=near, atol=near * float(exact.std()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions_of_one_size_after_another(dtype: torch.dtype, stride: int, bias: bool) -> None:
    weight, shift = last(torch.randn(48, 32, 4, 4), dtype), torch.randn(48).to(dtype) if bias else None
    conv = Ordered(weight, shift, stride, 2)
    for size in SIZES:
        x = last(torch.randn(2, 32, *size), dtype)
        exact = F.conv2d(x.double(), weight.double(), shift if shift is None else shift.double(), stride, 2)
        hold(conv(x), exact)
    assert torch.equal(conv.weight, weight)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kernel", "more"), [(4, 0), (3, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolutions_of_one_size_after_another(
    dtype: torch.dtype, kernel: int, more: int, bias: bool
) -> None:
    weight, shift = last(torch.randn(32, 48, kernel, kernel), dtype), torch.randn(48).to(dtype) if bias else None
    conv = Ordered(weight, shift, 2, 1, more)
    for size in SIZES:
        x = last(torch.randn(2, 32, *size), dtype)
        exact = F.conv_transpose2d(x.double(), weight.double(), shift if shift is None else shift.double(), 2, 1, more)
        hold(conv(x), exact)
    assert torch.equal(conv.weight, weight)


@pytest.mark.parametrize("lost", ["", "_not_there"])
@pytest.mark.parametrize("more", [None, 0])
def test_without_the_operations_it_is_pytorchs(lost: str, more: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    weight, x = last(torch.randn(16, 16, 4, 4), torch.float32), last(torch.randn(1, 16, 8, 8), torch.float32)
    if lost:
        monkeypatch.setattr(ordered, "OPERATIONS", (*ordered.OPERATIONS, lost))
    else:
        monkeypatch.setattr(ordered, "on_x86", lambda: False)
    conv = Ordered(weight, None, 2, 1, more)
    assert not conv.orders
    exact = F.conv2d(x, weight, None, 2, 1) if more is None else F.conv_transpose2d(x, weight, None, 2, 1)
    assert torch.equal(conv(x), exact)
    assert conv.weight is weight


def test_threads_that_paint_their_first_pictures_at_once() -> None:
    weight, x = last(torch.randn(64, 64, 4, 4), torch.float32), last(torch.randn(1, 64, 8, 8), torch.float32)
    exact = F.conv2d(x, weight, None, 2, 1)

    def first(conv: Ordered) -> Tensor:
        with torch.inference_mode():
            return conv(x)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            conv = Ordered(weight, None, 2, 1)
            for found in pool.map(first, [conv] * 8):
                torch.testing.assert_close(found, exact)
