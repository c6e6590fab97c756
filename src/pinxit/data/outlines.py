"""Fruits drawn for this project, as outlines in the manner of edges2fruits: a black line on white."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from pinxit.errors import expected

Point = tuple[float, float]
"""(x, y) in fractions of the frame; what lies beyond 0..1 is cut off, and no line is where a fruit meets the frame."""

GRID = 100
"""Side in pixels that outlines are drawn at, one pixel wide and not anti-aliased, before they are scaled: so were those
of the training data, and a model expects lines of that weight."""


@dataclass(frozen=True)
class Shape:
    """A closed figure through points."""

    points: tuple[Point, ...]
    smooth: bool = False
    """Whether it is a curve; else it has a corner at each point."""
    hole: bool = False
    """Whether it is cut out of the shapes before it; else it is added to them."""

    def corners(self) -> list[tuple[int, int]]:
        """On the grid, in pixels."""
        points = _curve(self.points) if self.smooth else self.points
        return [(round(x * (GRID - 1)), round(y * (GRID - 1))) for x, y in points]


@dataclass(frozen=True)
class Outline:
    """A fruit, as shapes of which the outer edge is drawn."""

    name: str
    """What people call it, and its file."""
    shapes: tuple[Shape, ...]

    def draw(self, side: int) -> Image.Image:
        """The outline as an RGB picture of `side` x `side` pixels.

        Raises `PinxitError` for a side below 1.
        """
        if side < 1:
            raise expected("outline size", side, "1 or more pixels", "give a larger size")
        fruit = Image.new("L", (GRID, GRID))
        for shape in self.shapes:
            ImageDraw.Draw(fruit).polygon(shape.corners(), fill=0 if shape.hole else 255)
        edge = ImageChops.subtract(fruit, fruit.filter(ImageFilter.MinFilter(3)))
        return ImageChops.invert(edge).resize((side, side), Image.Resampling.BICUBIC).convert("RGB")


def _curve(points: Sequence[Point], parts: int = 8) -> Iterator[Point]:
    """A closed Catmull-Rom spline through the points."""
    for i in range(len(points)):
        near = [points[(i + k) % len(points)] for k in (-1, 0, 1, 2)]
        for t in (part / parts for part in range(parts)):
            x, y = (
                b + (c - a) * t / 2 + (2 * a - 5 * b + 4 * c - d) * t**2 / 2 + (3 * b - a - 3 * c + d) * t**3 / 2
                for a, b, c, d in zip(*near, strict=True)
            )
            yield x, y


def _around(x: float, y: float, radii: Iterable[Point]) -> tuple[Point, ...]:
    """Points at (turns clockwise from the top, radius) around a centre."""
    return tuple((x + r * math.sin(math.tau * turn), y - r * math.cos(math.tau * turn)) for turn, r in radii)


def _bumps(number: int, radius: float, depth: float) -> Iterator[Point]:
    """(turn, radius) of a disk whose rim goes in and out."""
    return ((i / (2 * number), radius - depth * (i % 2)) for i in range(2 * number))


def _star(arms: int, outer: float, inner: float) -> Iterator[Point]:
    """(turn, radius) of a star with blunt tips."""
    for arm in range(arms):
        yield from (((arm - 0.09) / arms, outer), ((arm + 0.07) / arms, outer), ((arm + 0.5) / arms, inner))


# fmt: off
OUTLINES: tuple[Outline, ...] = (
    Outline("pear", (
        Shape((
            (0.53, 0.08), (0.41, 0.11), (0.33, 0.20), (0.26, 0.34), (0.16, 0.50), (0.11, 0.67), (0.15, 0.83),
            (0.28, 0.95), (0.46, 0.99), (0.64, 0.98), (0.80, 0.90), (0.88, 0.74), (0.86, 0.58), (0.77, 0.42),
            (0.71, 0.28), (0.66, 0.16),
        ), smooth=True),
        Shape(((0.48, -0.02), (0.53, -0.02), (0.56, 0.12), (0.51, 0.12))),
    )),
    Outline("strawberry", (
        Shape((
            (0.15, 0.87), (0.12, 0.72), (0.15, 0.52), (0.22, 0.28), (0.30, 0.09), (0.42, -0.01), (0.55, 0.02),
            (0.65, 0.15), (0.76, 0.38), (0.86, 0.60), (0.89, 0.76), (0.82, 0.88), (0.60, 0.93), (0.35, 0.93),
        ), smooth=True),
        Shape((
            (0.82, 0.86), (0.87, 0.97), (0.73, 0.93), (0.66, 1.01), (0.57, 0.94), (0.47, 1.01), (0.41, 0.94),
            (0.29, 0.99), (0.27, 0.91), (0.15, 0.87),
        )),
    )),
    Outline("cherry", (
        Shape((
            (0.50, 0.07), (0.36, 0.02), (0.18, 0.09), (0.04, 0.28), (0.00, 0.49), (0.09, 0.74), (0.28, 0.93),
            (0.50, 1.01), (0.73, 0.93), (0.91, 0.74), (0.99, 0.49), (0.95, 0.27), (0.82, 0.08), (0.64, 0.02),
        ), smooth=True),
        Shape(((0.28, 0.40), (0.30, 0.40), (0.30, 0.43), (0.28, 0.43)), hole=True),
    )),
    Outline("lychee", (Shape(_around(0.50, 0.50, _bumps(26, 0.49, 0.025))),)),
    Outline("carambola", (
        Shape(_around(0.50, 0.51, _star(5, 0.51, 0.25))),
        Shape(((0.46, 0.70), (0.54, 0.70), (0.55, 1.01), (0.45, 1.01))),
    )),
    Outline("huckleberry", (
        Shape((
            (0.77, 0.15), (0.92, 0.30), (1.00, 0.53), (0.93, 0.78), (0.75, 0.95), (0.50, 1.01), (0.25, 0.95),
            (0.07, 0.78), (0.00, 0.53), (0.08, 0.30), (0.23, 0.15), (0.50, 0.10),
        ), smooth=True),
        Shape((
            (0.22, 0.18), (0.27, 0.03), (0.38, 0.08), (0.49, 0.03), (0.60, 0.08), (0.73, 0.03), (0.78, 0.18),
        )),
    )),
    Outline("date", (
        Shape((
            (0.47, -0.01), (0.35, 0.06), (0.29, 0.22), (0.30, 0.38), (0.27, 0.55), (0.29, 0.74), (0.36, 0.92),
            (0.50, 1.01), (0.63, 0.95), (0.70, 0.79), (0.72, 0.60), (0.70, 0.44), (0.71, 0.26), (0.64, 0.07),
        ), smooth=True),
    )),
    Outline("salak", (
        Shape((
            (0.49, -0.02), (0.46, 0.09), (0.34, 0.22), (0.25, 0.38), (0.24, 0.55), (0.31, 0.75), (0.42, 0.92),
            (0.46, 1.02), (0.56, 1.02), (0.60, 0.91), (0.70, 0.74), (0.77, 0.54), (0.75, 0.37), (0.67, 0.21),
            (0.55, 0.09), (0.52, -0.02),
        ), smooth=True),
    )),
)
"""In the order they are shown."""
