from __future__ import annotations

import pytest
import torch

from pinxit.nn.diffaugment import DRAWS, diff_augment

STILL = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
"""Brightness, saturation and contrast as they are, no movement."""


def test_the_middle_of_all_draws_changes_no_colour_and_no_place() -> None:
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(diff_augment(x, ("color", "translation"), STILL.expand(2, DRAWS)), x)
    assert torch.equal(diff_augment(x, (), torch.rand(2, DRAWS)), x)


def test_colours() -> None:
    """By the formulas of the paper's code: brightness, then saturation about the pixel's mean, then contrast."""
    torch.manual_seed(0)
    x, draws = torch.randn(3, 3, 8, 8), torch.rand(3, DRAWS)
    found = diff_augment(x, ("color",), draws)
    for one, draw, wanted in zip(x, draws.tolist(), found, strict=True):
        y = one + draw[0] - 0.5
        y = (y - y.mean(dim=0)) * draw[1] * 2 + y.mean(dim=0)
        y = (y - y.mean()) * (draw[2] + 0.5) + y.mean()
        torch.testing.assert_close(wanted, y)


@pytest.mark.parametrize(("draw", "by"), [(0.0, -2), (0.5, 0), (0.999, 2), (0.3, -1)])
def test_movement_leaves_grey_behind(draw: float, by: int) -> None:
    x = torch.rand(1, 1, 16, 16) + 1
    draws = STILL.clone()
    draws[3] = draw
    y = diff_augment(x, ("translation",), draws[None])
    wanted = torch.zeros_like(x)
    if by >= 0:
        wanted[:, :, by:] = x[:, :, : 16 - by]
    else:
        wanted[:, :, :by] = x[:, :, -by:]
    assert torch.equal(y, wanted)


@pytest.mark.parametrize(("draw", "rows"), [(0.0, range(4)), (0.5, range(4, 12)), (0.999, range(12, 16))])
def test_a_hole_of_half_a_side(draw: float, rows: range) -> None:
    draws = STILL.clone()
    draws[5] = draw
    y = diff_augment(torch.ones(1, 2, 16, 16), ("cutout",), draws[None])
    hole = [(r, c) for r, c in (y[0, 0] == 0).nonzero().tolist()]
    assert hole == [(r, c) for r in rows for c in range(4, 12)]


def test_gradients_flow_through_all_of_it() -> None:
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    draws = torch.rand(2, DRAWS, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(lambda x: diff_augment(x, ("color", "translation", "cutout"), draws), x)
