"""Pictures with sentences: wrapped, cut, and of whatever letters."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFont

from pinxit.apps.cli.figure import figure, wrapped

FONT = ImageFont.load_default(size=12)


def test_lines_keep_within_their_width() -> None:
    text = "a small yellow bird with black wings and a short pointed beak sits on a branch"
    lines = wrapped(text, 100, 20, FONT)
    assert " ".join(lines) == text
    assert len(lines) > 3
    assert all(FONT.getlength(line) <= 100 for line in lines)
    short = wrapped(text, 100, 2, FONT)
    assert len(short) == 2
    assert short[0] == lines[0]
    assert short[1].endswith(" …")
    assert FONT.getlength(short[1]) <= 100


@pytest.mark.parametrize("text", ["", "word" * 2500, "黄色い小鳥が枝に止まっている" * 30, "🐦" * 40, "a " * 5000])
def test_any_text_has_a_form(text: str) -> None:
    lines = wrapped(text, 80, 5, FONT)
    assert len(lines) <= 5
    assert all(FONT.getlength(line) <= 80 for line in lines)
    page = figure([[Image.new("RGB", (64, 64))]], [text], [text])
    assert page.width < 400


def test_pictures_stand_beside_and_below_their_texts() -> None:
    red, blue = (Image.new("RGB", (128, 128), colour) for colour in ("red", "blue"))
    page = np.asarray(figure([[red, blue], [blue, blue]], ["first", "second"], ["one", "two"]))
    pure = [(page == colour).all(axis=2) for colour in ((255, 0, 0), (0, 0, 255))]
    assert [int(where.sum()) for where in pure] == [128**2, 3 * 128**2]
    rows, columns = np.nonzero(pure[0])
    assert (page[: rows.min()] < 128).any()  # titles above
    assert (page[:, : columns.min()] < 128).any()  # and texts beside
    small = figure([[Image.new("RGB", (16, 16))]])
    assert small.size == (128, 128)
