"""Edges as sketches: of shapes whose edges are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pinxit.data.edges import edges_of
from pinxit.errors import PinxitError


def lines(photo: Image.Image, **options: float) -> np.ndarray:
    return np.asarray(edges_of(photo, **options)) == 0  # pyright: ignore[reportArgumentType]


def test_a_step_has_one_line_along_it() -> None:
    pixels = np.full((24, 24), 60, np.uint8)
    pixels[:, 12:] = 180
    for turned in (pixels, pixels.T):
        found = lines(Image.fromarray(turned))
        found = found if turned is pixels else found.T
        assert (found.sum(axis=1) == 1).all()
        assert found[:, 11:13].any(axis=1).all()


def test_a_disc_has_a_closed_line_near_its_rim() -> None:
    photo = Image.new("RGB", (64, 48), (90, 120, 90))
    ImageDraw.Draw(photo).ellipse((20, 12, 44, 36), fill=(220, 200, 180))
    found = lines(photo)
    y, x = np.nonzero(found)
    radius = np.hypot(y - 24, x - 32)
    assert 60 <= found.sum() <= 100  # 2 pi 12 is 75
    assert abs(radius - 12).max() < 1.6
    assert len({round(a) for a in np.degrees(np.arctan2(y - 24, x - 32)) // 15 % 24}) == 24


def test_faint_and_short_edges_are_left_out() -> None:
    pixels = np.full((32, 32), 100, np.uint8)
    pixels[:, 16:] = 104
    pixels[4:7, 4:7] = 250
    photo = Image.fromarray(pixels)
    assert not lines(photo, shortest=20).any()
    found = lines(photo, shortest=4)
    assert found[2:9, 2:9].any()
    assert not found[:, 12:].any()


def test_what_is_faint_is_kept_where_it_goes_on_from_what_is_strong() -> None:
    pixels = np.full((100, 32), 100, np.uint8)
    pixels[:, 16:] = np.linspace(200, 104, 100).round()[:, None]  # from a slope of 0.1 a pixel to one of 0.004
    whole = lines(Image.fromarray(pixels))
    assert whole[:60].any(axis=1).all()
    assert not whole[85:].any()
    # Alone, the part below HIGH is no line.
    assert lines(Image.fromarray(pixels))[45:60].any(axis=1).all()
    assert not lines(Image.fromarray(pixels[45:]))[:, 12:20].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_plain_and_tiny_pictures_are_blank_paper(size: tuple[int, int]) -> None:
    found = edges_of(Image.new("RGB", size, "grey"))
    assert found.size == size
    assert found.mode == "L"
    assert found.getextrema() == (255, 255)


@pytest.mark.parametrize("options", [{"low": 0.2, "high": 0.1}, {"sigma": 0}, {"low": float("nan")}])
def test_numbers_that_make_no_sense(options: dict[str, float]) -> None:
    with pytest.raises(PinxitError, match="the edge detector is sigma"):
        lines(Image.new("RGB", (8, 8)), **options)
