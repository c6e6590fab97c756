"""Winograd's convolutions against PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pinxit.nn import winograd
from pinxit.nn.winograd import Winograd


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("size", [(8, 8), (7, 13), (1, 1), (2, 30), (33, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_convolution_at_any_size(tile: int, size: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 6, *size, dtype=torch.float64), torch.randn(5, 6, 3, 3, dtype=torch.float64)
    constant = torch.randn(5, dtype=torch.float64) if bias else None
    quick = Winograd(weight, constant, tile)
    torch.testing.assert_close(quick(x), F.conv2d(x, weight, constant, padding=1), rtol=0, atol=1e-12)
    around = F.pad(x, (1, 1, 1, 1), mode="replicate")
    torch.testing.assert_close(quick.valid(around), F.conv2d(around, weight, constant), rtol=0, atol=1e-12)
    assert quick(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("tile", [2, 4])
def test_parts_of_a_picture_are_the_picture(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 6, 21, 18, dtype=torch.float64), torch.randn(5, 6, 3, 3, dtype=torch.float64)
    monkeypatch.setattr(winograd, "MOST_PIXELS", 0)
    monkeypatch.setattr(winograd, "COLUMNS", 1)
    monkeypatch.setattr(winograd, "LEAST_PATCHES", {tile: 7})
    torch.testing.assert_close(Winograd(weight, None, tile)(x), F.conv2d(x, weight, padding=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("tile", "most"), [(2, 1e-6), (4, 2e-6)])
def test_rounding(tile: int, most: float) -> None:
    """In fp32, to the deviation of what comes out; PyTorch's own is some 2e-7."""
    torch.manual_seed(0)
    x, weight = torch.randn(1, 256, 32, 32).relu(), torch.randn(64, 256, 3, 3) / 48
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    error = Winograd(weight, None, tile)(x).double() - exact
    assert error.square().mean().sqrt() / exact.std() < most
