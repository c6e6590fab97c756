from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from pinxit.nn.upfirdn import kernel_of, upfirdn


def naive(x: Tensor, kernel: Tensor, up: int, down: int, pad: tuple[int, int]) -> Tensor:
    """By its definition, a pixel at a time."""
    n, channels, height, width = x.shape
    size, (first, last) = len(kernel), pad
    tall, wide = (side * up + first + last for side in (height, width))
    padded = torch.zeros(n, channels, tall, wide, dtype=x.dtype)
    for y, z in product(range(height), range(width)):
        if 0 <= y * up + first < tall and 0 <= z * up + first < wide:
            padded[:, :, y * up + first, z * up + first] = x[:, :, y, z]
    turned = kernel.flip(0, 1)
    rows, columns = ((side - size) // down + 1 for side in (tall, wide))
    out = torch.zeros(n, channels, rows, columns, dtype=x.dtype)
    for y, z in product(range(rows), range(columns)):
        window = padded[:, :, y * down : y * down + size, z * down : z * down + size]
        out[:, :, y, z] = (window * turned).sum(dim=(2, 3))
    return out


CASES = [
    (up, down, pad, size)
    for up, down in ((1, 1), (2, 1), (1, 2), (2, 3), (3, 2))
    for pad in ((0, 0), (1, 1), (2, 1), (2, 2), (-1, 2), (3, -1))
    for size in (3, 4)
]


@pytest.mark.parametrize(("up", "down", "pad", "size"), CASES)
def test_as_defined_and_differentiated_twice(up: int, down: int, pad: tuple[int, int], size: int) -> None:
    """Oblong pictures, kernels without any symmetry; against the definition and its derivatives by autograd."""
    torch.manual_seed(0)
    kernel = torch.randn(size, size, dtype=torch.float64)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    found, wanted = upfirdn(x, kernel, up=up, down=down, pad=pad), naive(x, kernel, up, down, pad)
    torch.testing.assert_close(found, wanted)
    toward = torch.randn_like(wanted, requires_grad=True)
    slopes = [torch.autograd.grad(y, x, toward, create_graph=True)[0] for y in (found, wanted)]
    torch.testing.assert_close(*slopes)
    again = torch.randn_like(x)
    torch.testing.assert_close(*(torch.autograd.grad(slope, toward, again)[0] for slope in slopes))


def test_a_constant_stays_one() -> None:
    kernel = kernel_of((1, 3, 3, 1))
    x = torch.full((1, 2, 8, 8), 0.7)
    torch.testing.assert_close(
        upfirdn(x, 4 * kernel, up=2, pad=(2, 1))[:, :, 3:-3, 3:-3], torch.full((1, 2, 10, 10), 0.7)
    )
    torch.testing.assert_close(upfirdn(x, kernel, down=2, pad=(1, 1))[:, :, 1:-1, 1:-1], torch.full((1, 2, 2, 2), 0.7))
    assert kernel_of((1, 2, 1), 4.0).sum() == pytest.approx(4.0)


def test_in_bfloat16() -> None:
    x, kernel = torch.randn(1, 2, 8, 8), kernel_of((1, 3, 3, 1))
    found = upfirdn(x.bfloat16(), kernel, pad=(2, 2))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), upfirdn(x, kernel, pad=(2, 2)), atol=0.03, rtol=0.03)
