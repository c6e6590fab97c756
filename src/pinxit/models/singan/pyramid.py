"""The scales of a photo, and the resizing between them, to the last pixel as the authors' code has them.

The results of that code depend on these details, so they are part of the method: a resize passes through 8 bits that
are cut off, not rounded; its kernel is anchored at the given ratio, not at that of the sizes; its left and upper
borders are treated otherwise than the right and lower ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pinxit.errors import expected
from pinxit.models.singan.config import Network


@dataclass(frozen=True)
class Pyramid:
    """The scales of one photo, coarse to fine."""

    sizes: tuple[tuple[int, int], ...]
    """Height and width of each."""
    factor: float
    """Ratio of neighbouring scales, below 1."""
    shrink: float
    """What the photo itself is scaled by first, at most 1."""

    @property
    def finest(self) -> int:
        return len(self.sizes) - 1

    def levels(self, photo: Tensor) -> list[Tensor]:
        """The photo [1, 3, H, W], shrunk already, at every scale; each straight from it, the finest too."""
        return [resize(photo, math.pow(self.factor, self.finest - i)) for i in range(len(self.sizes))]


def plan(height: int, width: int, network: Network) -> Pyramid:
    """The scales for a photo of this size.

    The number of scales comes out of logarithms and powers of floats and then `ceil`, so the order of the operations is
    the authors'; for super-resolution they truncate instead, and take the batch's size for the height.

    Raises `PinxitError` for a photo smaller than the coarsest scale.
    """
    short, long = min(height, width), max(height, width)
    shrink = min(network.max_size / long, 1)
    if math.ceil(short * shrink) < network.smallest:
        after = f" once the longer is {network.max_size}" if shrink < 1 else ""
        raise expected(
            "the photo's shorter side",
            f"{math.ceil(short * shrink)} px{after}",
            f"{network.smallest} or more",
            "take a larger or less narrow picture, or enlarge it first",
        )
    kept = min(network.max_size, long)
    if network.task == "super_resolution":
        initial = 1 / enlarging_steps(network.enlarge)[0]
        scales = int(math.log(network.smallest / short, initial)) + 1
        dropped = int(math.log(kept / max(1, width), initial))
    else:
        initial = network.scale_factor
        scales = math.ceil(math.log(math.pow(network.smallest / short, 1), initial)) + 1
        dropped = math.ceil(math.log(kept / long, initial))
    finest = max(scales - dropped, 1)
    return scales_of(math.ceil(height * shrink), math.ceil(width * shrink), network.smallest, finest, shrink)


def scales_of(height: int, width: int, smallest: int, finest: int, shrink: float = 1) -> Pyramid:
    """`finest` + 1 scales: the last has this height and width, the first a shorter side of about `smallest`.

    About: float noise in `pow`, then `ceil`, often makes it one more.
    """
    factor = math.pow(smallest / min(height, width), 1 / finest)
    scales = [math.pow(factor, finest - i) for i in range(finest + 1)]
    return Pyramid(tuple((math.ceil(height * s), math.ceil(width * s)) for s in scales), factor, shrink)


def enlarging_steps(enlarge: float) -> tuple[float, int]:
    """(ratio, number) of equal steps that enlarge by `enlarge`, each near the cube root of 2 (Rott Shaham et al. 2019,
    sec. 4.1)."""
    steps = max(round(math.log(1 / enlarge, math.pow(1 / 2, 1 / 3))), 1)
    return pow(enlarge, 1 / steps), steps


def resize(x: Tensor, scale: float | None = None, size: tuple[int, int] | None = None) -> Tensor:
    """Bicubic, antialiased where it shrinks; [N, 3, H, W] in [-1, 1] -> the same at `scale`, or of `size`.

    What goes in is cut to 8 bits, so that even a resize by 1 changes it, if it is not already (uint8); what comes out
    is not. No gradient passes.
    """
    levels = (x if x.dtype == torch.uint8 else cut(x)).double()
    if size is None:
        assert scale is not None
        ratios = (scale, scale)
        size = (math.ceil(x.shape[-2] * scale), math.ceil(x.shape[-1] * scale))
    else:
        ratios = (size[0] / x.shape[-2], size[1] / x.shape[-1])
    antialias = ratios[0] < 1  # by the rows alone
    if ratios[0] != 1:
        levels = _weights(x.shape[-2], size[0], ratios[0], antialias).to(x.device) @ levels
    if ratios[1] != 1:
        levels = levels @ _weights(x.shape[-1], size[1], ratios[1], antialias).to(x.device).T
    return ((levels / 255).float() - 0.5).mul(2).clamp(-1, 1)


def cut(x: Tensor) -> Tensor:
    """[-1, 1] -> 0..255, uint8; cut off, not rounded."""
    return (x.detach().float().add(1) / 2).clamp(0, 1).mul(255).to(torch.uint8)


def enlarge(x: Tensor, pyramid: Pyramid, size: tuple[int, int]) -> Tensor:
    """A picture of one scale brought to the next, whose `size` the result is cropped to from the top left."""
    return resize(x, 1 / pyramid.factor)[..., : size[0], : size[1]]


@lru_cache(maxsize=512)
def _weights(length: int, out: int, scale: float, antialias: bool) -> Tensor:
    """float64 [out, length]: what each pixel of a row contributes to each pixel of the resized one."""
    stretch = scale if antialias else 1.0
    support = 4.0 / stretch
    centre = torch.arange(1, out + 1, dtype=torch.float64) / scale + 0.5 * (1 - 1.0 / scale)  # in pixels from 1 on
    first = torch.floor(centre - support / 2)
    place = (first[:, None] + torch.arange(math.ceil(support) + 2, dtype=torch.float64) - 1).long()  # from 0 on
    weight = stretch * _cubic(stretch * (centre[:, None] - place - 1))
    # Left of the border there is nothing, and the other weights make up for it; beyond the right one the picture is
    # mirrored. So the authors' code, where a negative index is cast to an unsigned one, and lands far away.
    weight = torch.where(place >= 0, weight, 0.0)
    weight = weight / weight.sum(1, keepdim=True)
    place = place.clamp(min=0) % (2 * length)
    place = torch.where(place < length, place, 2 * length - 1 - place)
    return torch.zeros(out, length, dtype=torch.float64).scatter_add_(1, place, weight)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic kernel, a = -1/2."""
    x = x.abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, 0.0))
