"""Networks of GAWWN (Reed et al. 2016, sec. 4.1 and 4.2), one pair told places by a box, one by points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.gawwn.config import GRID, POINTS, Network
from pinxit.nn.conditioning import (
    SLOPE,
    Bottleneck,
    Projection,
    begin,
    beside,
    convolved,
    doubled,
    halved,
    unfolded,
)

LEAST = 1 / GRID
"""Side of the smallest box that features are put into or taken from."""


def cropped(features: Tensor, box: Tensor) -> Tensor:
    """What of features [N, C, S, S] is in a box [N, 4] (x, y, width, height, 0..1), enlarged to all of [N, C, S, S]."""
    start, side = box[:, :2], box[:, 2:].clamp(min=LEAST)
    return resampled(features, side, 2 * start + side - 1)


def pasted(features: Tensor, box: Tensor) -> Tensor:
    """Features [N, C, S, S] scaled into a box [N, 4], around which is 0: what `cropped` takes out again."""
    start, side = box[:, :2], box[:, 2:].clamp(min=LEAST)
    return resampled(features, 1 / side, (1 - 2 * start - side) / side)


def resampled(features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """A spatial transformer of scales and shifts (Jaderberg et al. 2015, eq. 3), bilinear, with 0 around the features.

    features [N, C, S, S]; the place x, of -1..1 from the first place to the last, shows what was at scale x + shift;
    both [N, 2] of x and y. As the two axes do not mix it is a product with a matrix for each, of the same numbers on
    every run.
    """
    side = features.shape[-1]
    places = torch.linspace(-1, 1, side, device=features.device)
    sources = (scale.float()[..., None] * places + shift.float()[..., None] + 1) * (side - 1) / 2
    weights = F.relu(1 - (sources[..., None] - torch.arange(side, device=features.device)).abs())  # [N, 2, S, S]
    with torch.autocast(features.device.type, enabled=False):
        return weights[:, None, 1] @ features.float() @ weights[:, None, 0].mT


def drawn(points: Tensor) -> Tensor:
    """Points [N, 15, 3] (x and y of 0..1, and 1 where there is one) as maps [N, 15, 16, 16] with a 1 in its place."""
    column, row = ((points[..., axis] * GRID).long().clamp(0, GRID - 1) for axis in (0, 1))
    return F.one_hot(row * GRID + column, GRID * GRID).unflatten(-1, (GRID, GRID)) * points[..., 2, None, None]


class BoxGenerator(nn.Module):
    """The object is made in the box and all else around it, then both are joined."""

    def __init__(self, options: Network) -> None:
        super().__init__()
        width = options.g_width
        self.noise, self.text = nn.Linear(options.z_dim, 4 * width), nn.Linear(options.text_dim, 4 * width)
        self.noise_around = nn.Linear(options.z_dim, 4 * width)
        self.text_around = nn.Sequential(
            halved(4 * width, 4 * width, 0),
            halved(4 * width, 4 * width, 0),
            convolved(4 * width, 4 * width, 4, 0),
        )
        self.around = nn.Sequential(
            unfolded(8 * width, 8 * width),
            doubled(8 * width, 4 * width),
            doubled(4 * width, 2 * width),
        )
        self.within = nn.Sequential(
            unfolded(8 * width, 8 * width, None),
            Bottleneck(8 * width, 2 * width),
            doubled(8 * width, 4 * width, None),
            Bottleneck(4 * width, width),
            doubled(4 * width, 2 * width, None),
        )
        self.joined = nn.Sequential(
            convolved(4 * width, 2 * width, 3, 0),
            doubled(2 * width, width),
            doubled(width, 32),
            nn.ConvTranspose2d(32, 3, 4, stride=2, padding=1),
        )
        begin(self)

    def forward(self, z: Tensor, text: Tensor, box: Tensor) -> Tensor:
        """z [N, z_dim], text [N, text_dim], box [N, 4] -> [N, 3, 128, 128] in [-1, 1]."""
        noise, words = self.noise(z), self.text(text)
        everywhere = words[:, :, None, None].expand(-1, -1, GRID, GRID)
        placed = self.text_around(pasted(everywhere, box)).flatten(1)
        around = self.around(torch.cat([self.noise_around(z), placed], dim=1).relu()[:, :, None, None])
        within = self.within(torch.cat([noise, words], dim=1).relu()[:, :, None, None])
        within = pasted(within, box).relu()
        return torch.tanh(self.joined(torch.cat([around, within.to(around.dtype)], dim=1)).float())


class PointsGenerator(nn.Module):
    """Text and noise stand where points are; beside them is what they and the points make of the whole."""

    def __init__(self, options: Network) -> None:
        super().__init__()
        width = options.g_width
        self.noise, self.text = nn.Linear(options.z_dim, 4 * width), nn.Linear(options.text_dim, 4 * width)
        self.at_points = Projection(8 * width, 4 * width, norm=True, slope=0)
        self.at_all = Projection(8 * width, 4 * width, norm=True, slope=0)
        self.within = convolved(4 * width, 4 * width, 3, 0)
        self.layout = nn.Sequential(
            halved(POINTS, width, 0),
            halved(width, 2 * width, 0),
            convolved(2 * width, 4 * width, 4, 0),
        )
        self.around = nn.Sequential(
            unfolded(8 * width, 4 * width),
            doubled(4 * width, 2 * width),
            doubled(2 * width, width),
        )
        self.joined = nn.Sequential(
            convolved(5 * width + POINTS, 4 * width, 3, 0),
            convolved(4 * width, 4 * width, 3, None),
            Bottleneck(4 * width, width),
            doubled(4 * width, 2 * width),
            doubled(2 * width, width),
            nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1),
        )
        begin(self)

    def forward(self, z: Tensor, text: Tensor, points: Tensor) -> Tensor:
        """z [N, z_dim], text [N, text_dim], points [N, 15, 3] -> [N, 3, 128, 128] in [-1, 1]."""
        maps = drawn(points)
        both = torch.cat([self.noise(z), self.text(text)], dim=1).relu()
        anywhere = maps.sum(dim=1, keepdim=True).clamp(max=1)
        within = self.within(self.at_points(both)[:, :, None, None] * anywhere)
        around = self.around(torch.cat([self.at_all(both)[:, :, None, None], self.layout(maps)], dim=1))
        return torch.tanh(self.joined(torch.cat([around, within, maps.to(within.dtype)], dim=1)).float())


class Discriminator(nn.Module):
    """How real a picture is as one of its sentence at its place, by what is there and by all of it."""

    def __init__(self, options: Network) -> None:
        super().__init__()
        width, condition = options.d_width, options.condition_dim
        self.where = options.where
        self.text = Projection(options.text_dim, condition)
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            halved(width, 2 * width),
            convolved(2 * width, 2 * width),
        )
        self.with_text = convolved(2 * width + condition, 2 * width)
        parts = POINTS if options.where == "points" else 0
        self.within = nn.Sequential(convolved(2 * width + parts, 2 * width, 1), nn.Conv2d(2 * width, width, 1))
        self.around = nn.Sequential(halved(2 * width, 4 * width), halved(4 * width, 8 * width))
        # Text stands at the 4x4 places as it is; with boxes convolutions bring it there from 16x16.
        boxed = options.where == "box"
        self.text_around = (
            nn.Sequential(halved(condition, 4 * width, 0), halved(4 * width, width, 0)) if boxed else None
        )
        self.joined = nn.Sequential(
            convolved(8 * width + (width if boxed else condition), 4 * width, 1),
            convolved(4 * width, width, 4),
        )
        self.both = Projection(2 * width, width, norm=True)
        self.verdict = nn.Linear(width, 1)
        begin(self)

    def forward(self, picture: Tensor, text: Tensor, place: Tensor) -> Tensor:
        """picture [N, 3, 128, 128], text [N, text_dim], place [N, 4] or [N, 15, 3] -> logits [N]."""
        features, words = self.features(picture), self.text(text)
        within = self.with_text(beside(features, words))
        if self.where == "box":
            within = cropped(within, place)
        else:
            maps = drawn(place)
            within = torch.cat([within * maps.sum(dim=1, keepdim=True).clamp(max=1), maps.to(within.dtype)], dim=1)
        within = F.leaky_relu(self.within(within).mean(dim=(2, 3)), SLOPE)
        around = self.around(features)
        if self.text_around is None:
            around = beside(around, words)
        else:
            everywhere = words[:, :, None, None].expand(-1, -1, GRID, GRID)
            around = torch.cat([around, self.text_around(everywhere)], dim=1)
        both = self.both(torch.cat([within, self.joined(around).flatten(1)], dim=1))
        return self.verdict(both).flatten().float()


def generator(options: Network) -> BoxGenerator | PointsGenerator:
    return BoxGenerator(options) if options.where == "box" else PointsGenerator(options)
