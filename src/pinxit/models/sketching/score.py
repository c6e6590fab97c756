"""How near the outlines of pictures are to sketches, and how far pictures differ among themselves."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 64
"""Pixels that drawings are reduced to, where they are larger, before lines are compared."""
FAINT = 0.1
"""Ink, of 1, below which a drawing's darkest place is no line."""


class Measured(NamedTuple):
    """What is measured of a set of pictures, scalars each.

    `outlines`: the distance (`line_distances`) of a picture's contours to the nearest sketch's, averaged over pictures.
    `covered`: that of a sketch to the nearest picture's contours, averaged over sketches.
    `spread`: the standard deviation over pictures of a pixel in [-1, 1], averaged over pixels and channels.
    """

    outlines: Tensor
    covered: Tensor
    spread: Tensor

    def score(self, before: Measured) -> Tensor:
        """The lower the better: `outlines`, times by how much the spread is smaller than it was."""
        return self.outlines * (before.spread / self.spread.clamp_min(1e-6)).clamp_min(1)


def measured(pictures: Tensor, drawings: Tensor, sketches: Tensor) -> Measured:
    """pictures [N, 3, H, W] and their drawings [N, 1, h, w]; sketches [M, 1, h', w']: all in [-1, 1]."""
    distances = line_distances(drawings, sketches)
    spread = pictures.double().std(dim=0, correction=0).mean().float()
    return Measured(distances.amin(dim=1).mean(), distances.amin(dim=0).mean(), spread)


def line_distances(a: Tensor, b: Tensor) -> Tensor:
    """How far the lines of each of some drawings are from each of others: [N, 1, h, w], [M, 1, h', w'] -> [N, M].

    Dark lines on paper that is 1. The mean way, weighted by ink, from a place on one drawing's lines to the nearest on
    the other's, averaged over both directions (the chamfer distance), as a share of the side; a drawing without lines
    is a side away from all.
    """
    a, b = reduced(a), reduced(b)
    there = weights(a) @ ways(b).t()
    back = ways(a) @ weights(b).t()
    distances = (there + back) / 2
    blank = ~lined(a)[:, None] | ~lined(b)[None]
    return torch.where(blank, torch.ones_like(distances), distances)


def reduced(drawings: Tensor) -> Tensor:
    """Ink [N, SIDE, SIDE] at most, from 0 to 1: of places that come together the darkest, so that no line is lost."""
    ink = ((1 - drawings[:, 0].float()) / 2).clamp(0, 1)
    return F.adaptive_max_pool2d(ink[:, None], min(SIDE, *ink.shape[1:]))[:, 0]


def lined(ink: Tensor) -> Tensor:
    """Which drawings have lines at all, [N]."""
    return ink.amax(dim=(1, 2)) >= FAINT


def weights(ink: Tensor) -> Tensor:
    """The ink of lines, those at least half as dark as the darkest, to sum 1: [N, places]."""
    lines = (ink * on_line(ink)).flatten(1)
    return lines / lines.sum(dim=1, keepdim=True).clamp_min(1e-6)


def on_line(ink: Tensor) -> Tensor:
    return ink >= 0.5 * ink.amax(dim=(1, 2), keepdim=True).clamp_min(FAINT)


def ways(ink: Tensor) -> Tensor:
    """From each place to the nearest line, as a share of the side, at most 1: [N, places]."""
    _, height, width = ink.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([rows, columns], dim=-1).reshape(-1, 2).to(ink) / max(height, width)
    found = []
    for lines in on_line(ink).flatten(1):
        found.append(_distances(places, places[lines]) if lines.any() else torch.ones_like(places[:, 0]))
    return torch.stack(found).clamp_max(1)


def _distances(places: Tensor, lines: Tensor) -> Tensor:
    # By products of matrices, as it would be computed for so many, small distances are lost to rounding.
    return torch.cdist(places, lines, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
