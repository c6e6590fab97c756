"""The drawn outlines look as those of edges2fruits, which a model was trained on: thin, black on white, large."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pinxit.data.outlines import OUTLINES, Outline, Shape
from pinxit.errors import PinxitError

each = pytest.mark.parametrize("outline", OUTLINES, ids=lambda outline: outline.name)


def ink(picture: Image.Image) -> np.ndarray:
    """Which pixels are dark."""
    return np.asarray(picture.convert("L")) < 128


def test_each_has_a_name_and_a_form_of_its_own() -> None:
    assert len({outline.name for outline in OUTLINES}) == len(OUTLINES) >= 6
    assert len({outline.draw(128).tobytes() for outline in OUTLINES}) == len(OUTLINES)


@each
def test_a_thin_black_line_on_white(outline: Outline) -> None:
    """Shares are the extremes of the 420 outlines of the training data, a little widened."""
    picture = outline.draw(128)
    assert (picture.mode, picture.size) == ("RGB", (128, 128))
    pixels = np.asarray(picture)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (pixels == pixels[..., :1]).all()
    assert 0.02 < ink(picture).mean() < 0.08


@each
def test_it_fills_the_frame(outline: Outline) -> None:
    rows, columns = (np.flatnonzero(ink(outline.draw(128)).any(axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) > 120
    assert abs(columns.mean() - 63.5) < 8


def test_only_the_outer_edge_is_drawn_and_none_at_the_frame() -> None:
    left, right = (Shape(((x, 0.2), (x + 0.4, 0.2), (x + 0.4, 0.8), (x, 0.8))) for x in (0.1, 0.3))
    dark = ink(Outline("two", (left, right)).draw(100))
    assert dark[20, 10:70].all()
    assert not dark[21:78, 12:68].any()
    whole = Shape(((-0.1, -0.1), (1.1, -0.1), (1.1, 1.1), (-0.1, 1.1)))
    assert not ink(Outline("all", (whole,)).draw(100)).any()
    hole = Shape(((0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6)), hole=True)
    rows, columns = np.nonzero(ink(Outline("ring", (whole, hole)).draw(100)))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (39, 60, 39, 60)


def test_a_curve_goes_through_its_points() -> None:
    points = ((0.5, 0.1), (0.9, 0.5), (0.5, 0.9), (0.1, 0.5))
    corners = Shape(points, smooth=True).corners()
    assert {(round(x * 99), round(y * 99)) for x, y in points} <= set(corners)
    assert len(corners) > 4 * len(points)


@each
@pytest.mark.parametrize("side", [1, 64, 256])
def test_any_size(outline: Outline, side: int) -> None:
    assert outline.draw(side).size == (side, side)


def test_an_empty_size_is_refused() -> None:
    with pytest.raises(PinxitError, match="outline size is 0, expected 1 or more"):
        OUTLINES[0].draw(0)
