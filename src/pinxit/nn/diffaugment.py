"""Augmentation that gradients flow through, of real and generated pictures alike (Zhao et al. 2020, "DiffAugment")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Policy = Literal["color", "translation", "cutout"]

FARTHEST = 1 / 8
"""How far a picture is moved, as a share of its sides."""
HOLE = 1 / 2
"""Side of the square that is cut out, as a share of the picture's."""
DRAWS = 7
"""Numbers that a picture's augmentation depends on."""


def diff_augment(x: Tensor, policy: Sequence[Policy], draws: Tensor) -> Tensor:
    """Pictures [N, C, H, W] in [-1, 1], each changed in its own way. `draws`: [N, `DRAWS`], uniform in [0, 1).

    In the paper's order, whatever that of `policy` is. Color: brightness is moved by up to a half, saturation
    multiplied by 0 to 2, contrast by 0.5 to 1.5. Translation: by whole pixels, up to an eighth of a side, with grey
    behind. Cutout: a square of half a side becomes grey, wherever its middle is.
    """
    draws = draws.to(x.device)
    if "color" in policy:
        brightness, saturation, contrast = (draws[:, i, None, None, None].to(x.dtype) for i in range(3))
        x = x + (brightness - 0.5)
        grey = x.mean(dim=1, keepdim=True)
        x = (x - grey) * (2 * saturation) + grey
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) * (contrast + 0.5) + mean
    height, width = x.shape[2:]
    if "translation" in policy:
        x = _moved(
            x, _within(draws[:, 3], int(height * FARTHEST + 0.5)), _within(draws[:, 4], int(width * FARTHEST + 0.5))
        )
    if "cutout" in policy:
        rows = _outside(draws[:, 5], height)
        columns = _outside(draws[:, 6], width)
        x = x * (rows[:, :, None] | columns[:, None, :])[:, None].to(x.dtype)
    return x


def _within(draw: Tensor, most: int) -> Tensor:
    """Uniform in [0, 1) -> whole numbers from -`most` to `most`."""
    return (draw * (2 * most + 1)).long() - most


def _moved(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    n, _, height, width = x.shape
    # One more row and column of grey, which everything from beyond the border is taken from.
    padded = F.pad(x, (1, 1, 1, 1))
    rows = (torch.arange(height, device=x.device) + 1 - down[:, None]).clamp(0, height + 1)
    columns = (torch.arange(width, device=x.device) + 1 - right[:, None]).clamp(0, width + 1)
    batch = torch.arange(n, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _outside(draw: Tensor, side: int) -> Tensor:
    """Rows (or columns) [N, side] that the hole does not reach."""
    hole = int(side * HOLE + 0.5)
    middle = (draw * (side + 1 - hole % 2)).long()[:, None]
    place = torch.arange(side, device=draw.device)
    first = middle - hole // 2
    return (place < first) | (place >= first + hole)
