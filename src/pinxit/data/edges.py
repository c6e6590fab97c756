"""The edges of a photo as a sketch, without a network: Canny's detector, and short lines left out.

Canny 1986, "A Computational Approach to Edge Detection": a Gaussian, the gradient, its maxima across the edge, and of
these what hangs together with a strong one.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from pinxit.errors import expected

SIGMA = 1.4
"""Deviation of the Gaussian in pixels."""

LOW, HIGH = 0.02, 0.06
"""Slopes, in lightness 0..1 a pixel, that a line has throughout, and somewhere."""

SHORTEST = 12
"""Pixels of the shortest line that is kept: a twig's leaves are no help to who paints by them."""


def edges_of(
    photo: Image.Image, *, sigma: float = SIGMA, low: float = LOW, high: float = HIGH, shortest: int = SHORTEST
) -> Image.Image:
    """The edges of a photo as an L picture of its size: lines black and a pixel wide, paper white.

    Raises:
        PinxitError: `low` is above `high`, or one of the numbers is not positive.
    """
    if not (0 < low <= high and sigma > 0 and shortest > 0):
        got = f"sigma {sigma}, low {low}, high {high}, shortest {shortest}"
        raise expected("the edge detector", got, "numbers above 0, low at most high", "correct them")
    lightness = np.asarray(photo.convert("L")).astype(np.float32) / 255
    rows, columns = np.gradient(_blurred(lightness, sigma)) if min(lightness.shape) > 1 else [lightness * 0] * 2
    slope = np.hypot(rows, columns)
    thin = slope * _highest_across(slope, rows, columns)
    lines = np.zeros(slope.shape, np.uint8)
    for line in _connected(thin >= low):
        places = tuple(np.array(line).T)
        if len(line) >= shortest and thin[places].max() >= high:
            lines[places] = 255
    return Image.fromarray(255 - lines)


def _blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian mean; the border is repeated outwards."""
    reach = int(np.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    for axis in (0, 1):
        padded = np.pad(values, [(reach, reach) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
        length = values.shape[axis]
        values = sum(
            (weight * padded.take(range(i, i + length), axis) for i, weight in enumerate(weights)),
            start=np.zeros_like(values),
        )
    return values


def _highest_across(slope: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Where no neighbour in the gradient's direction, rounded to 45 degrees, is steeper: bool [H, W]. Of two equally
    steep ones the first is taken."""
    padded = np.pad(slope, 1)
    height, width = slope.shape
    turn = np.round(np.arctan2(rows, columns) / (np.pi / 4)).astype(int) % 4
    highest = np.zeros(slope.shape, bool)
    for which, (down, right) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        after = padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        before = padded[1 - down : 1 - down + height, 1 - right : 1 - right + width]
        highest |= (turn == which) & (slope > before) & (slope >= after)
    return highest


def _connected(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """The places of a mask, those that touch, corners included, together."""
    left = set(zip(*(axis.tolist() for axis in np.nonzero(mask)), strict=True))
    found = []
    while left:
        line, ends = [], [left.pop()]
        while ends:
            y, x = ends.pop()
            line.append((y, x))
            for near in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if near in left:
                    left.remove(near)
                    ends.append(near)
        found.append(line)
    return found
