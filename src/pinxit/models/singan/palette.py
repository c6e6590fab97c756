"""A few colours that stand for all of a photo's: what a scale that is retrained for paintings sees of its input
(Rott Shaham et al. 2019, sec. 4.2)."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from pinxit.data.images import to_image

LLOYD = 10
"""Steps of k-means after Pillow's, which rounds its centres to whole levels."""


def palette_of(photo: Tensor, colors: int) -> Tensor:
    """The `colors` centres [K, 3] of a photo [1, 3, H, W] in [-1, 1] by k-means; fewer where it has fewer colours.

    Nothing in it is drawn, so the same photo has the same palette.
    """
    cut = to_image(photo[0]).quantize(colors, Image.Quantize.MEDIANCUT, kmeans=colors, dither=Image.Dither.NONE)
    levels = cut.convert("RGB").getcolors()
    assert levels is not None  # None is for more than 256
    centres = torch.tensor(sorted(color for _, color in levels), dtype=torch.float64) / 127.5 - 1
    pixels = photo[0].flatten(1).T.double().cpu()
    for _ in range(LLOYD):
        members = torch.nn.functional.one_hot(nearest(pixels.T[None], centres)[0], len(centres)).double()
        count = members.sum(0)[:, None]
        centres = torch.where(count > 0, members.T @ pixels / count.clamp(min=1), centres)
    return centres.float().to(photo.device)


def reduced(pictures: Tensor, palette: Tensor) -> Tensor:
    """Each pixel of [N, 3, H, W] as the colour of the palette [K, 3] that is nearest to it."""
    return palette[nearest(pictures, palette)].movedim(-1, 1).contiguous()


def nearest(pictures: Tensor, palette: Tensor) -> Tensor:
    """[N, 3, ...] -> int64 [N, ...]: the nearest colour's row in the palette, the first of several."""
    trailing = (1,) * (pictures.ndim - 2)
    return torch.stack([(pictures - c.view(1, 3, *trailing)).square().sum(1) for c in palette]).argmin(0)
